"""Older API versions: what basil and clover moved is where it was before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import Receiver, Shop, client_at

ACACIA = "2025-02-24.acacia"


@pytest.fixture
def acacia(control: Control) -> Any:
    return client_at(control.base_url, stripe_version=ACACIA).v1


def test_before_basil_a_subscription_has_the_period_and_its_first_discount(
    api: Any, acacia: Any, shop: Shop
) -> None:
    coupon = api.coupons.create({"percent_off": 20, "duration": "forever"})
    made = shop.subscription(discounts=[{"coupon": coupon.id}])
    seen = acacia.subscriptions.retrieve(made.id).to_dict(for_json=True)
    (item,) = made["items"].data
    assert seen["current_period_start"] == item.current_period_start
    assert seen["current_period_end"] == item.current_period_end
    assert "current_period_end" not in seen["items"]["data"][0]
    assert seen["discount"]["coupon"]["id"] == coupon.id
    assert "source" not in seen["discount"]
    plain = acacia.subscriptions.retrieve(shop.subscription().id)
    assert plain.to_dict()["discount"] is None


def test_before_basil_an_invoice_names_its_subscription_and_its_payment(
    api: Any, acacia: Any, shop: Shop
) -> None:
    made = shop.subscription(metadata={"seat": "1"})
    new = api.invoices.retrieve(made.latest_invoice, {"expand": ["payments"]})
    seen = acacia.invoices.retrieve(made.latest_invoice).to_dict(for_json=True)
    assert seen["subscription"] == made.id
    assert seen["subscription_details"] == {"metadata": {"seat": "1"}}
    assert (seen["paid"], seen["paid_out_of_band"]) == (True, False)
    assert seen["payment_intent"] == new.payments.data[0].payment.payment_intent
    assert seen["charge"].startswith("ch_")
    assert (seen["discount"], seen["tax"], seen["total_tax_amounts"]) == (None, None, [])
    assert seen.keys() & {"parent", "payments", "confirmation_secret", "total_taxes"} == set()
    assert "subscription" not in new.to_dict()


def test_before_basil_an_invoice_says_how_it_was_paid(api: Any, acacia: Any, shop: Shop) -> None:
    unpaid = shop.subscription(payment_behavior="default_incomplete").latest_invoice
    seen = acacia.invoices.retrieve(unpaid).to_dict()
    assert (seen["paid"], seen["charge"]) == (False, None)
    assert seen["payment_intent"].startswith("pi_")
    api.invoices.pay(unpaid, {"paid_out_of_band": True})
    seen = acacia.invoices.retrieve(unpaid).to_dict()
    assert (seen["paid"], seen["paid_out_of_band"], seen["charge"]) == (True, True, None)
    trial = shop.subscription(trial_period_days=7).latest_invoice
    seen = acacia.invoices.retrieve(trial).to_dict()
    assert (seen["paid"], seen["paid_out_of_band"], seen["payment_intent"]) == (True, False, None)


def test_before_basil_a_line_has_its_price_and_its_item(api: Any, acacia: Any, shop: Shop) -> None:
    made = shop.subscription()
    (item,) = made["items"].data
    api.subscriptions.update(
        made.id,
        {
            "items": [{"id": item.id, "price": shop.pro_price.id}],
            "proration_behavior": "always_invoice",
        },
    )
    invoice = acacia.subscriptions.retrieve(made.id).latest_invoice
    lines = acacia.invoices.line_items.list(invoice).to_dict(for_json=True)["data"]
    assert [(line["price"]["id"], line["plan"]["id"]) for line in lines] == [
        (shop.basic_price.id, shop.basic_price.id),
        (shop.pro_price.id, shop.pro_price.id),
    ]
    for line in lines:
        assert (line["type"], line["proration"]) == ("subscription", True)
        assert (line["subscription"], line["subscription_item"]) == (made.id, item.id)
        assert line.keys() & {"parent", "pricing", "taxes"} == set()
    assert lines[0]["proration_details"]["credited_items"]["invoice"] == made.latest_invoice
    embedded = acacia.invoices.retrieve(invoice).to_dict(for_json=True)["lines"]["data"]
    assert embedded == lines


@pytest.mark.parametrize("version", [ACACIA, "2025-08-27.basil"])
def test_before_clover_a_discount_and_a_promotion_code_have_their_coupon(
    api: Any, control: Control, shop: Shop, version: str
) -> None:
    coupon = api.coupons.create({"percent_off": 20, "duration": "forever"})
    code = api.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})
    made = shop.subscription(discounts=[{"promotion_code": code.id}])
    old = client_at(control.base_url, stripe_version=version).v1
    seen = old.subscriptions.retrieve(made.id, {"expand": ["discounts"]}).to_dict(for_json=True)
    (discount,) = seen["discounts"]
    assert (discount["coupon"]["percent_off"], "source" in discount) == (20, False)
    assert ("discount" in seen) is (version == ACACIA)
    found = old.promotion_codes.retrieve(code.id).to_dict(for_json=True)
    assert (found["coupon"]["id"], "promotion" in found) == (coupon.id, False)


def test_an_endpoint_of_an_older_version_receives_the_older_shape(
    api: Any, control: Control, shop: Shop, receiver: Receiver
) -> None:
    api.webhook_endpoints.create(
        {"url": receiver.url, "enabled_events": ["invoice.paid"], "api_version": ACACIA}
    )
    made = shop.subscription()
    assert control.wait_until_quiet()
    ((_, body),) = receiver.received
    event = json.loads(body)
    assert event["api_version"] == ACACIA
    assert event["data"]["object"]["subscription"] == made.id
    assert event["data"]["object"]["lines"]["data"][0]["price"]["id"] == shop.basic_price.id
    (listed,) = api.events.list({"type": "invoice.paid"}).data
    assert listed.data.object["parent"]["subscription_details"]["subscription"] == made.id
