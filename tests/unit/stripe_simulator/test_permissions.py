"""Restricted keys: Stripe's 403 names the permissions that are missing."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from local.stripe_simulator.control import Control
from local.stripe_simulator.permissions import needed
from local.stripe_simulator.routes import ROUTES, Route
from tests.unit.stripe_simulator.conftest import Shop, client_at

RESTRICTED = "rk_test_51restrictedkey9876"


@pytest.fixture
def restricted(control: Control) -> Any:
    return client_at(control.base_url, RESTRICTED).v1


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_endpoint_needs_a_permission_of_stripes(route: Route) -> None:
    (name,) = needed(route, [])
    assert name.startswith("rak_")
    assert name.endswith("_read" if route.method == "GET" else "_write")


def test_a_missing_permission_is_a_403_that_names_it(
    control: Control, api: Any, restricted: Any
) -> None:
    control.restrict_key(RESTRICTED, ["rak_product_read"])
    assert restricted.products.list().data == []
    with pytest.raises(stripe.PermissionError) as refused:
        restricted.customers.create({})
    error = refused.value
    assert error.http_status == 403
    body: Any = error.json_body
    assert body["error"]["type"] == "invalid_request_error"
    assert error.user_message == (
        "The provided key 'rk_test_***************9876' does not have the required permissions "
        f"for this endpoint on account '{control.state()['account']}'. Having the "
        "'rak_customer_write' permission would allow this request to continue."
    )
    assert api.customers.list().data == []


def test_every_expanded_object_needs_a_permission_of_its_own(
    control: Control, shop: Shop, restricted: Any
) -> None:
    customer = shop.customer().id
    expand = ["invoice_settings.default_payment_method", "subscriptions", "tax_ids"]
    control.restrict_key(RESTRICTED, ["rak_customer_read"])
    assert restricted.customers.retrieve(customer).id == customer
    with pytest.raises(stripe.PermissionError, match="Having the 'rak_payment_method_read', "):
        restricted.customers.retrieve(customer, {"expand": expand})
    more = ["rak_customer_read", "rak_payment_method_read", "rak_subscription_read"]
    control.restrict_key(RESTRICTED, more)
    assert restricted.customers.retrieve(customer, {"expand": expand}).id == customer


def test_writing_includes_reading(control: Control, restricted: Any) -> None:
    control.restrict_key(RESTRICTED, ["rak_customer_write"])
    assert restricted.customers.retrieve(restricted.customers.create({}).id)
    control.restrict_key(RESTRICTED, ["rak_customer_read"])
    with pytest.raises(stripe.PermissionError, match="rak_customer_write"):
        restricted.customers.create({})
    control.restrict_key(RESTRICTED, None)
    assert restricted.customers.create({}).id


def test_the_permissions_that_a_key_used_are_counted_once(
    control: Control, api: Any, restricted: Any
) -> None:
    made = restricted.customers.create({})
    restricted.customers.retrieve(made.id, {"expand": ["test_clock"]})
    api.products.list()
    assert control.used_permissions(RESTRICTED) == [
        "rak_billing_clock_read",
        "rak_customer_read",
        "rak_customer_write",
    ]
    assert control.used_permissions(RESTRICTED) == []
