"""An update that is invoiced at once: its lines, and what a declined payment leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import Shop

UPGRADE = {"proration_behavior": "always_invoice"}


def declining(control: Control, customer: Any) -> None:
    control.payment_outcome(customer.id, "fail")


def upgraded(api: Any, shop: Shop, subscription: Any, **params: Any) -> Any:
    item = subscription["items"].data[0].id
    change = {"items": [{"id": item, "price": shop.pro_price.id}], **UPGRADE, **params}
    return api.subscriptions.update(subscription.id, change)


def state(api: Any, subscription: Any) -> tuple[str, str, int]:
    found = api.subscriptions.retrieve(subscription.id)
    invoices = api.invoices.list({"subscription": subscription.id, "limit": 100}).data
    return found.status, found["items"].data[0].price.id, len(invoices)


def lines_of(api: Any, invoice: str) -> list[tuple[str, int, int, bool]]:
    return [
        (
            line.pricing.price_details.price,
            line.quantity,
            line.amount,
            line.parent.subscription_item_details.proration,
        )
        for line in api.invoices.retrieve(invoice).lines
    ]


def test_an_upgrade_credits_the_old_price_and_bills_the_new_one(
    api: Any, shop: Shop, control: Control
) -> None:
    subscription = shop.subscription()
    first = api.invoices.retrieve(subscription.latest_invoice)
    control.advance(days=10)
    changed = upgraded(api, shop, subscription)
    invoice = api.invoices.retrieve(changed.latest_invoice)
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_update")
    credit, debit = invoice.lines.data
    item = subscription["items"].data[0].id
    for line, price, product in (
        (credit, shop.basic_price, shop.basic),
        (debit, shop.pro_price, shop.pro),
    ):
        details = line.parent.subscription_item_details
        assert (details.subscription_item, details.proration) == (item, True)
        assert line.pricing.price_details.to_dict() == {"price": price.id, "product": product.id}
        assert abs(line.period.start - control.now()) <= 5
        assert line.period.end == subscription["items"].data[0].current_period_end
    assert -1000 < credit.amount < 0 < debit.amount < 3000
    assert invoice.total == credit.amount + debit.amount
    credited = credit.parent.subscription_item_details.proration_details.credited_items
    assert credited.invoice == first.id
    assert credited.invoice_line_items == [first.lines.data[0].id]
    assert debit.parent.subscription_item_details.proration_details.credited_items is None


def test_more_seats_a_new_item_and_a_removed_one_are_prorated(
    api: Any, shop: Shop, control: Control
) -> None:
    subscription = shop.subscription()
    (item,) = subscription["items"].data
    middle = (item.current_period_start + item.current_period_end) // 2
    control.advance(middle - control.now())
    seats = api.subscriptions.update(
        subscription.id, {"items": [{"id": item.id, "quantity": 5}], **UPGRADE}
    )
    basic, pro = shop.basic_price.id, shop.pro_price.id
    assert lines_of(api, seats.latest_invoice) == [(basic, 1, -500, True), (basic, 5, 2500, True)]
    added = api.subscriptions.update(subscription.id, {"items": [{"price": pro}], **UPGRADE})
    assert lines_of(api, added.latest_invoice) == [(pro, 1, 1500, True)]
    removed = api.subscriptions.update(
        subscription.id, {"items": [{"id": item.id, "deleted": True}], **UPGRADE}
    )
    assert lines_of(api, removed.latest_invoice) == [(basic, 5, -2500, True)]
    (credit,) = api.invoices.retrieve(removed.latest_invoice).lines.data
    five_seats = api.invoices.retrieve(seats.latest_invoice).lines.data[1]
    credited = credit.parent.subscription_item_details.proration_details.credited_items
    assert credited.invoice_line_items == [five_seats.id]


def test_a_declined_upgrade_leaves_past_due_the_new_price_and_an_open_invoice(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    declining(control, customer)
    control.advance(days=10)
    changed = upgraded(api, shop, subscription, payment_behavior="allow_incomplete")
    assert changed.status == "past_due"
    assert changed["items"].data[0].price.id == shop.pro_price.id
    invoice = api.invoices.retrieve(changed.latest_invoice)
    assert (invoice.status, invoice.billing_reason) == ("open", "subscription_update")
    assert invoice.status_transitions.finalized_at is not None
    types = {event.type for event in api.events.list({"limit": 10})}
    assert {"invoice.payment_failed", "customer.subscription.updated"} <= types
    control.payment_outcome(customer.id, None)
    api.invoices.pay(invoice.id)
    assert api.subscriptions.retrieve(subscription.id).status == "active"


def test_an_upgrade_that_must_not_be_incomplete_is_a_402_and_changes_nothing(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    declining(control, customer)
    before, events = state(api, subscription), [event.id for event in api.events.list()]
    with pytest.raises(stripe.CardError) as caught:
        upgraded(api, shop, subscription, payment_behavior="error_if_incomplete")
    assert caught.value.http_status == 402
    assert state(api, subscription) == before == ("active", shop.basic_price.id, 1)
    assert [event.id for event in api.events.list()] == events


def test_an_upgrade_that_awaits_confirmation_is_past_due_without_a_charge(
    api: Any, shop: Shop
) -> None:
    subscription = shop.subscription()
    changed = upgraded(api, shop, subscription, payment_behavior="default_incomplete")
    assert changed.status == "past_due"
    invoice = api.invoices.retrieve(changed.latest_invoice)
    assert (invoice.status, invoice.attempt_count) == ("open", 0)
