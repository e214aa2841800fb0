"""Objects have exactly the fields and types that stripe-python declares."""

from __future__ import annotations

import typing
from typing import Any, Literal

import httpx
import pytest
import stripe
from stripe._stripe_object import StripeObject, UntypedStripeObject

from local.stripe_simulator import library, routes
from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import KEY, Shop


def problems(value: Any, annotation: Any, path: str) -> list[str]:
    """Return the places where `value` does not match the annotation."""
    parts = library.members(annotation)
    # The library widens its literals with `str`. Here a value must be one of the literals.
    if any(typing.get_origin(part) is Literal for part in parts):
        parts = tuple(part for part in parts if part is not str)
    candidates = [_mismatch(value, part, path) for part in parts]
    if any(not found for found in candidates):
        return []
    # The longest list comes from the object's own class, which says more than "is no string".
    return max(candidates, key=len)


def _mismatch(value: Any, part: Any, path: str) -> list[str]:
    origin = typing.get_origin(part)
    if part is Any:
        return []
    if origin is Literal:
        return [] if value in typing.get_args(part) else [f"{path}: {value!r} is not in {part}"]
    if origin is list:
        if not isinstance(value, list):
            return [f"{path}: no list"]
        (element,) = typing.get_args(part)
        return [p for i, each in enumerate(value) for p in problems(each, element, f"{path}[{i}]")]
    if library.is_list_object(part):
        return _list_problems(value, typing.get_args(part)[0], path)
    if UntypedStripeObject in (origin, part):
        return [] if isinstance(value, dict) else [f"{path}: no object"]
    if part is type(None):
        return [] if value is None else [f"{path}: {value!r} is not null"]
    if isinstance(part, type) and issubclass(part, StripeObject):
        return object_problems(value, part, path)
    if part.__name__ == "Decimal":
        return [] if isinstance(value, str) else [f"{path}: {value!r} is no decimal string"]
    if part is float and isinstance(value, int):
        return []
    good = isinstance(value, part) and not (part is int and isinstance(value, bool))
    return [] if good else [f"{path}: {value!r} is no {part.__name__}"]


def _list_problems(value: Any, element: Any, path: str) -> list[str]:
    if not isinstance(value, dict) or value.get("object") != "list":
        return [f"{path}: no list object"]
    found = [f"{path}.{name}" for name in value.keys() ^ {"object", "data", "has_more", "url"}]
    for index, each in enumerate(value["data"]):
        found += problems(each, element, f"{path}.data[{index}]")
    return found


def object_problems(value: Any, cls: type, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: {value!r} is no object"]
    declared = library.fields(cls)
    found = [f"{path}.{name}: not declared" for name in value if name not in declared]
    if value.get("deleted"):
        return found
    for name, annotation in declared.items():
        if name in value:
            found += problems(value[name], annotation, f"{path}.{name}")
        elif type(None) not in library.members(annotation):
            found.append(f"{path}.{name}: missing")
    return found


def check(shape: dict[str, Any]) -> list[str]:
    if shape["object"] == "list":
        return [p for each in shape["data"] for p in check(each)]
    if shape["object"] == "event":
        return [*_check_one(shape), *check(shape["data"]["object"])]
    return _check_one(shape)


def _check_one(shape: dict[str, Any]) -> list[str]:
    kind = shape["object"]
    cls = library.object_class(kind)
    assert cls is not None, kind
    return object_problems(shape, cls, kind)


@pytest.fixture
def http(control: Control) -> typing.Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=control.base_url, headers=headers, trust_env=False) as http:
        yield http


def test_every_object_has_the_fields_that_the_library_declares(
    shop: Shop, api: Any, http: httpx.Client, control: Control
) -> None:
    coupon = api.coupons.create({"percent_off": 20, "duration": "once"})
    api.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})
    customer = shop.customer(
        name="Ada", tax_id_data=[{"type": "eu_vat", "value": "DE123456789"}], metadata={"a": "b"}
    )
    subscription = shop.subscription(
        customer, discounts=[{"coupon": coupon.id}], metadata={"seat": "1"}
    )
    shop.subscription(shop.customer(), trial_period_days=14)
    paused = shop.subscription()
    api.subscriptions.pause(paused.id)
    api.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
    ended = shop.subscription()
    api.subscriptions.cancel(ended.id, {"cancellation_details": {"feedback": "unused"}})
    api.webhook_endpoints.create(
        {"url": "http://127.0.0.1:9/x", "enabled_events": ["coupon.created"]}
    )
    configuration = shop.portal_configuration(subscription_pause={"enabled": True})
    sessions = [
        shop.portal(customer.id, configuration=configuration.id, **params)
        for params in (
            {},
            {"flow_data": {"type": "payment_method_update"}},
            {
                "flow_data": {
                    "type": "subscription_cancel",
                    "subscription_cancel": {
                        "subscription": subscription.id,
                        "retention": {
                            "type": "coupon_offer",
                            "coupon_offer": {"coupon": coupon.id},
                        },
                    },
                    "after_completion": {
                        "type": "redirect",
                        "redirect": {"return_url": "https://a.b/"},
                    },
                }
            },
        )
    ]
    checkout = api.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price": shop.pro_price.id, "quantity": 2}],
            "success_url": "https://app.example.com/done",
        }
    )
    # Events are listed for 30 days, so check those of the calls before the clock moves on.
    found = check(http.get("/v1/events?limit=100").json())
    control.advance(days=40)
    for path in (
        "/v1/account",
        "/v1/coupons",
        "/v1/customers?expand[]=data.tax_ids&expand[]=data.subscriptions",
        f"/v1/customers/{customer.id}?expand[]=subscriptions.data.latest_invoice",
        f"/v1/customers/{customer.id}?expand[]=invoice_settings.default_payment_method",
        f"/v1/customers/{customer.id}/tax_ids",
        f"/v1/payment_methods?customer={customer.id}",
        "/v1/subscriptions?status=all&limit=100&expand[]=data.customer&expand[]=data.discounts",
        f"/v1/subscription_items?subscription={subscription.id}&expand[]=data.price.product",
        "/v1/invoices?limit=100",
        f"/v1/entitlements/active_entitlements?customer={customer.id}&expand[]=data.feature",
        "/v1/entitlements/features",
        "/v1/products?expand[]=data.default_price",
        f"/v1/products/{shop.pro.id}/features",
        "/v1/prices?expand[]=data.product",
        "/v1/webhook_endpoints",
        "/v1/billing_portal/configurations",
        f"/v1/checkout/sessions/{checkout.id}?expand[]=line_items",
        "/v1/events?limit=100",
    ):
        response = http.get(path)
        assert response.status_code == 200, (path, response.text)
        shape = response.json()
        assert shape.get("data") != [], path
        found += check(shape)
    for session in sessions:
        found += check(session.to_dict(for_json=True))
    assert found == []


def test_the_check_finds_a_wrong_field() -> None:
    shape = {"id": "feat_1", "object": "entitlements.feature", "active": 1, "extra": None}
    found = check(shape)
    assert "entitlements.feature.extra: not declared" in found
    assert "entitlements.feature.active: 1 is no bool" in found
    assert "entitlements.feature.lookup_key: missing" in found


def test_every_endpoint_returns_an_object_that_the_library_knows() -> None:
    unknown = [route.path for route in routes.ROUTES if library.object_class(route.returns) is None]
    assert unknown == []


def test_the_newest_version_is_the_librarys() -> None:
    assert stripe.api_version == library.CURRENT_VERSION
