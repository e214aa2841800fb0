"""The permissions that the README lists are those that the service's adapters need."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
import stripe

from billing.adapters.stripe_account import StripeAccount
from billing.adapters.stripe_api import StripeApi
from billing.errors import PortcullisError, StripeRefused
from docs.write_contract import stripe_permissions
from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import client_at

KEY = "rk_test_service"
FORBIDDEN = 403

Call = Callable[[Any], object]

RUN: dict[str, Call] = {
    "retrieve_customer": lambda api: api.retrieve_customer("cus_1"),
    "list_subscriptions": lambda api: api.list_subscriptions("cus_1", None),
    "list_subscription_items": lambda api: api.list_subscription_items("sub_1", None),
    "list_tax_ids": lambda api: api.list_tax_ids("cus_1", None),
    "list_active_entitlements": lambda api: api.list_active_entitlements("cus_1", None),
    "list_invoices": lambda api: api.list_invoices("sub_1", None),
    "list_invoice_lines": lambda api: api.list_invoice_lines("in_1", None),
    "list_product_features": lambda api: api.list_product_features("prod_1", None),
    "retrieve_ended_subscription": lambda api: api.retrieve_ended_subscription("sub_1"),
    "retrieve_price": lambda api: api.retrieve_price("price_1"),
    "retrieve_portal_configuration": lambda api: api.retrieve_portal_configuration("bpc_1"),
    "list_prices": lambda api: api.list_prices(["price_1"]),
    "find_price": lambda api: api.find_price("price_1"),
    "create_customer": lambda api: api.create_customer({}, "key"),
    "newest_checkout_sessions": lambda api: api.newest_checkout_sessions("cus_1"),
    "list_open_checkout_sessions": lambda api: api.list_open_checkout_sessions("cus_1"),
    "retrieve_checkout_session": lambda api: api.retrieve_checkout_session("cs_1"),
    "expire_checkout_session": lambda api: api.expire_checkout_session("cs_1"),
    "list_all_subscriptions": lambda api: api.list_all_subscriptions("cus_1"),
    "create_checkout_session": lambda api: api.create_checkout_session({}, "key"),
    "retrieve_subscription": lambda api: api.retrieve_subscription("sub_1"),
    "find_price_id": lambda api: api.find_price_id("team"),
    "create_portal_session": lambda api: api.create_portal_session({}),
}

DEPLOY: dict[str, Call] = {
    "list_webhook_endpoints": lambda account: account.list_webhook_endpoints(),
    "create_webhook_endpoint": lambda account: account.create_webhook_endpoint({}),
    "update_webhook_endpoint": lambda account: account.update_webhook_endpoint("we_1", {}),
    "delete_webhook_endpoint": lambda account: account.delete_webhook_endpoint("we_1"),
    "list_portal_configurations": lambda account: account.list_portal_configurations(),
    "create_portal_configuration": lambda account: account.create_portal_configuration({}),
    "update_portal_configuration": lambda account: account.update_portal_configuration("bpc_1", {}),
}


#: A deploy also looks up the prices that the portal offers.
OF_A_DEPLOY = [
    *((StripeAccount, each) for each in DEPLOY.values()),
    (StripeApi, RUN["list_prices"]),
]
OF_THE_SERVICE = [(StripeApi, each) for each in RUN.values()]


def used_by(control: Control, adapter: Callable[..., Any], call: Call) -> set[str]:
    """Return the permissions that a call needs. The objects that it names need not exist."""
    client = client_at(control.base_url, KEY)
    with suppress(PortcullisError):
        call(adapter(lambda: client))
    used = set(control.used_permissions(KEY))
    assert used
    return used


@pytest.mark.parametrize(("adapter", "calls"), [(StripeApi, RUN), (StripeAccount, DEPLOY)])
def test_every_method_of_an_adapter_is_called(adapter: type, calls: Mapping[str, Call]) -> None:
    methods = {name for name, _ in inspect.getmembers(adapter, inspect.isfunction)}
    assert {name for name in methods if not name.startswith("_")} == calls.keys()


@pytest.mark.parametrize(
    ("when", "calls"), [("run", OF_THE_SERVICE), ("deploy", OF_A_DEPLOY)], ids=["run", "deploy"]
)
def test_the_listed_permissions_are_exactly_those_that_the_adapters_use(
    control: Control, when: str, calls: list[tuple[Callable[..., Any], Call]]
) -> None:
    used = {name for adapter, call in calls for name in used_by(control, adapter, call)}
    reading = {name.removesuffix("_write") + "_read" for name in used if name.endswith("_write")}
    assert sorted(used - reading) == stripe_permissions()[when]


@pytest.mark.parametrize("missing", sorted(set().union(*stripe_permissions().values())))
def test_without_one_of_them_stripe_refuses_a_call(control: Control, missing: str) -> None:
    listed: set[str] = set().union(*stripe_permissions().values())
    client = client_at(control.base_url, KEY)
    control.restrict_key(KEY, listed)
    assert refused(client) == []
    control.restrict_key(KEY, listed - {missing})
    assert refused(client) != []


def refused(client: stripe.StripeClient) -> list[int]:
    """Return the 403s of all calls."""
    found = []
    for adapter, call in [*OF_A_DEPLOY, *OF_THE_SERVICE]:
        try:
            call(adapter(lambda: client))
        except StripeRefused as error:
            found += [error.status] * (error.status == FORBIDDEN)
        except PortcullisError:
            pass
    return found
