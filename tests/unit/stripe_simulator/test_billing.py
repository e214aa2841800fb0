"""The billing engine: what time and payments do to a subscription, and the events it sends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from local.stripe_simulator.control import Control
from local.stripe_simulator.periods import boundary
from tests.unit.stripe_simulator.conftest import Shop

DAY = 86_400


def types_since(api: Any, moment: int) -> list[str]:
    found = api.events.list({"created": {"gte": moment}, "limit": 100})
    return [event.type for event in found][::-1]


def period(subscription: Any) -> tuple[int, int]:
    item = subscription["items"].data[0]
    return item.current_period_start, item.current_period_end


def test_month_ends_are_clamped_and_do_not_drift() -> None:
    anchor = int(datetime(2026, 1, 31, tzinfo=UTC).timestamp())
    ends = [boundary(anchor, "month", 1, index) for index in range(1, 4)]
    assert [datetime.fromtimestamp(end, UTC).day for end in ends] == [28, 31, 30]


def test_a_paid_subscription_is_active_and_grants_its_features(api: Any, shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer, shop.pro_price)
    assert subscription.status == "active"
    assert subscription.billing_mode.type == "flexible"
    assert shop.keys(customer.id) == ["export", "priority"]
    assert api.invoices.retrieve(subscription.latest_invoice).amount_paid == 3000


def test_a_renewal_moves_the_items_period_and_pays_a_new_invoice(
    api: Any, shop: Shop, control: Control
) -> None:
    subscription = shop.subscription()
    _, end = period(subscription)
    control.advance(end - control.now() + 1)
    renewed = api.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert renewed.status == "active"
    assert period(renewed)[0] == end
    assert renewed.latest_invoice.id != subscription.latest_invoice
    assert renewed.latest_invoice.billing_reason == "subscription_cycle"
    assert types_since(api, end) == [
        "invoice.created",
        "customer.subscription.updated",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]
    (event,) = api.events.list({"type": "customer.subscription.updated"}).data
    previous = event.data.previous_attributes.to_dict()
    assert previous["latest_invoice"] == subscription.latest_invoice
    assert previous["items"]["data"][0]["current_period_end"] == end


def test_a_failed_renewal_is_past_due_and_retried_until_the_setting_applies(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    _, end = period(subscription)
    control.payment_outcome(customer.id, "fail")
    control.advance(end - control.now() + 1)
    found = api.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert found.status == "past_due"
    assert (found.latest_invoice.status, found.latest_invoice.created) == ("open", end)
    assert period(found)[0] == end
    assert api.customers.retrieve(customer.id).delinquent is True
    assert "invoice.payment_failed" in types_since(api, end)
    assert shop.keys(customer.id) == ["export"]
    control.settings(after_retries="unpaid")
    control.advance(days=16)
    assert api.subscriptions.retrieve(subscription.id).status == "unpaid"
    assert shop.keys(customer.id) == []
    assert api.invoices.retrieve(found.latest_invoice.id).attempt_count == 4
    control.payment_outcome(customer.id, None)
    api.invoices.pay(found.latest_invoice.id)
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    assert api.customers.retrieve(customer.id).delinquent is False


def test_a_subscription_is_cancelled_by_default_when_every_retry_fails(
    api: Any, shop: Shop, control: Control
) -> None:
    subscription = shop.subscription(
        shop.customer("pm_card_chargeCustomerFail"), trial_period_days=1
    )
    control.advance(days=20)
    ended = api.subscriptions.retrieve(subscription.id)
    assert ended.status == "canceled"
    assert ended.cancellation_details.reason == "payment_failed"


def test_a_retry_that_succeeds_makes_the_subscription_active(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    control.payment_outcome(customer.id, "fail")
    control.advance(period(subscription)[1] - control.now() + 1)
    control.payment_outcome(customer.id, None)
    steps = control.advance(days=3)
    assert [step["step"] for step in steps] == ["retry"]
    assert api.subscriptions.retrieve(subscription.id).status == "active"


def test_a_trial_sends_a_reminder_and_then_becomes_active(
    api: Any, shop: Shop, control: Control
) -> None:
    subscription = shop.subscription(trial_period_days=14)
    assert (subscription.status, subscription.trial_end) == ("trialing", period(subscription)[1])
    steps = control.advance(days=15)
    assert [step["step"] for step in steps] == ["remind", "end_trial"]
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    assert "customer.subscription.trial_will_end" in types_since(api, 0)


@pytest.mark.parametrize(
    ("behavior", "status", "event"),
    [
        ("pause", "paused", "customer.subscription.paused"),
        ("cancel", "canceled", "customer.subscription.deleted"),
        ("create_invoice", "past_due", "invoice.payment_failed"),
    ],
)
@pytest.mark.parametrize("by_hand", [False, True], ids=["at its time", "by trial_end=now"])
def test_a_trial_without_a_card_ends_as_its_settings_say(
    api: Any, shop: Shop, control: Control, by_hand: bool, behavior: str, status: str, event: str
) -> None:
    customer = shop.customer(card=None)
    subscription = shop.subscription(
        customer,
        trial_period_days=7,
        trial_settings={"end_behavior": {"missing_payment_method": behavior}},
    )
    assert shop.keys(customer.id) == ["export"]
    if by_hand:
        update = {"trial_end": "now", "metadata": {"why": "by hand"}}
        ended = api.subscriptions.update(subscription.id, update)
    else:
        control.advance(days=7, seconds=1)
        ended = api.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.metadata.to_dict()) == (
        status,
        {"why": "by hand"} if by_hand else {},
    )
    assert abs(ended.trial_end - control.now()) <= 2
    assert event in types_since(api, 0 if by_hand else subscription.trial_end)
    assert ("status_details" in ended) is (status == "paused")


def test_a_trial_with_a_card_that_is_ended_by_hand_is_paid(api: Any, shop: Shop) -> None:
    pause = {"end_behavior": {"missing_payment_method": "pause"}}
    subscription = shop.subscription(trial_period_days=7, trial_settings=pause)
    ended = api.subscriptions.update(subscription.id, {"trial_end": "now"})
    assert ended.status == "active"
    assert api.invoices.retrieve(ended.latest_invoice).status == "paid"


def test_a_paused_subscription_is_resumed_in_a_new_period(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    paused = api.subscriptions.pause(subscription.id)
    assert paused.status == "paused"
    assert paused.status_details.paused.subscription.type == "pause_requested"
    assert shop.keys(customer.id) == []
    control.advance(days=60)
    resumed = api.subscriptions.resume(subscription.id)
    assert resumed.status == "active"
    assert abs(period(resumed)[0] - control.now()) <= 2
    assert shop.keys(customer.id) == ["export"]
    assert "customer.subscription.resumed" in types_since(api, control.now() - 5)


def test_cancel_at_ends_the_subscription_at_that_time_and_not_before(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    at = control.now() + 10 * DAY
    scheduled = api.subscriptions.update(subscription.id, {"cancel_at": at})
    assert (scheduled.cancel_at, scheduled.cancel_at_period_end) == (at, False)
    control.advance(days=9)
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    control.advance(days=1)
    ended = api.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", at)
    assert shop.keys(customer.id) == []
    assert types_since(api, at) == [
        "customer.subscription.deleted",
        "entitlements.active_entitlement_summary.updated",
    ]


def test_cancel_at_period_end_shows_cancel_at_too_and_can_be_undone(api: Any, shop: Shop) -> None:
    subscription = shop.subscription(billing_mode={"type": "classic"})
    ending = api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert ending.cancel_at == period(subscription)[1]
    assert ending.cancellation_details.reason == "cancellation_requested"
    kept = api.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (kept.cancel_at, kept.canceled_at, kept.cancel_at_period_end) == (None, None, False)
    (undone, asked) = api.events.list({"type": "customer.subscription.updated"}).data
    assert asked.data.previous_attributes.to_dict()["cancel_at"] is None
    assert undone.data.previous_attributes.to_dict()["cancel_at_period_end"] is True


def test_a_canceled_subscription_is_hidden_from_the_default_list_and_cannot_change(
    api: Any, shop: Shop
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    api.subscriptions.cancel(subscription.id)
    assert api.subscriptions.list({"customer": customer.id}).data == []
    (found,) = api.subscriptions.list({"customer": customer.id, "status": "all"}).data
    assert found.status == "canceled"
    with pytest.raises(stripe.InvalidRequestError):
        api.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        api.subscriptions.cancel(subscription.id)


def test_without_a_card_a_subscription_needs_default_incomplete(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer(card=None)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        shop.subscription(customer)
    waiting = shop.subscription(customer, payment_behavior="default_incomplete")
    assert waiting.status == "incomplete"
    assert shop.keys(customer.id) == []
    control.advance(hours=23)
    assert api.subscriptions.retrieve(waiting.id).status == "incomplete_expired"
    assert api.invoices.retrieve(waiting.latest_invoice).status == "void"


def test_an_incomplete_subscription_is_active_once_its_invoice_is_paid(
    api: Any, shop: Shop
) -> None:
    customer = shop.customer("pm_card_chargeCustomerFail")
    subscription = shop.subscription(customer)
    assert subscription.status == "incomplete"
    with pytest.raises(stripe.CardError):
        api.invoices.pay(subscription.latest_invoice)
    assert api.invoices.retrieve(subscription.latest_invoice).attempt_count == 2
    card = api.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    api.invoices.pay(subscription.latest_invoice, {"payment_method": card.id})
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    assert shop.keys(customer.id) == ["export"]


def test_an_upgrade_changes_entitlements_and_its_event_has_the_previous_price(
    api: Any, shop: Shop
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    (item,) = subscription["items"].data
    api.subscriptions.update(
        subscription.id, {"items": [{"id": item.id, "price": shop.pro_price.id, "quantity": 3}]}
    )
    (updated,) = api.events.list({"type": "customer.subscription.updated"}).data
    was = updated.data.previous_attributes.to_dict()["items"]["data"][0]
    assert (was["price"]["id"], was["quantity"]) == (shop.basic_price.id, 1)
    assert shop.keys(customer.id) == ["export", "priority"]
    (summary, _) = api.events.list({"type": "entitlements.active_entitlement_summary.updated"}).data
    held = summary.data.object["entitlements"]["data"]
    assert sorted(each["lookup_key"] for each in held) == ["export", "priority"]


def test_another_interval_starts_a_new_period_at_once(api: Any, shop: Shop) -> None:
    subscription = shop.subscription()
    yearly = shop.price(shop.pro.id, 30000, "pro_yearly", "year")
    (item,) = subscription["items"].data
    changed = api.subscriptions.update(
        subscription.id, {"items": [{"id": item.id, "price": yearly.id}]}
    )
    start, end = period(changed)
    assert end - start >= 365 * DAY
    assert api.invoices.retrieve(changed.latest_invoice).amount_paid == 30000


def test_items_are_added_changed_removed_and_listed_by_their_own_endpoints(
    api: Any, shop: Shop
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    added = api.subscription_items.create(
        {"subscription": subscription.id, "price": shop.pro_price.id, "quantity": 2}
    )
    api.subscription_items.update(added.id, {"quantity": 5})
    listed = api.subscription_items.list({"subscription": subscription.id, "limit": 1})
    found = list(listed.auto_paging_iter())
    assert [(each.price.id, each.quantity) for each in found] == [
        (shop.basic_price.id, 1),
        (shop.pro_price.id, 5),
    ]
    api.subscription_items.delete(added.id)
    assert shop.keys(customer.id) == ["export"]
    with pytest.raises(stripe.InvalidRequestError, match="at least one active item"):
        api.subscription_items.delete(found[0].id)


def test_a_subscription_with_more_than_ten_items_embeds_ten_and_has_more(
    api: Any, shop: Shop
) -> None:
    prices = [shop.price(shop.basic.id, 100 + n, f"k{n}").id for n in range(12)]
    subscription = api.subscriptions.create(
        {"customer": shop.customer().id, "items": [{"price": price} for price in prices]}
    )
    assert len(subscription["items"].data) == 10
    assert subscription["items"].has_more is True
    listed = api.subscription_items.list({"subscription": subscription.id, "limit": 100})
    assert [item.price.id for item in listed] == prices


def test_pause_collection_keeps_the_status_and_charges_nobody(
    api: Any, shop: Shop, control: Control
) -> None:
    subscription = shop.subscription()
    resumes = period(subscription)[1] + 5 * DAY
    api.subscriptions.update(
        subscription.id, {"pause_collection": {"behavior": "void", "resumes_at": resumes}}
    )
    control.advance(period(subscription)[1] - control.now() + 1)
    found = api.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert (found.status, found.latest_invoice.status) == ("active", "void")
    control.advance(days=5)
    assert api.subscriptions.retrieve(subscription.id).pause_collection is None


def test_an_invoice_stays_a_draft_during_the_finalization_delay(
    api: Any, shop: Shop, control: Control
) -> None:
    control.settings(invoice_finalization_delay=3600)
    customer = shop.customer()
    subscription = shop.subscription(customer)
    control.payment_outcome(customer.id, "fail")
    control.advance(period(subscription)[1] - control.now() + 1)
    found = api.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert (found.status, found.latest_invoice.status) == ("active", "draft")
    control.advance(hours=1)
    assert api.subscriptions.retrieve(subscription.id).status == "past_due"


def test_a_detached_card_is_no_longer_the_default_and_its_event_names_the_customer(
    api: Any, shop: Shop
) -> None:
    customer = shop.customer()
    card = customer.invoice_settings.default_payment_method
    api.payment_methods.detach(card)
    assert api.customers.retrieve(customer.id).invoice_settings.default_payment_method is None
    (event,) = api.events.list({"type": "payment_method.detached"}).data
    assert event.data.object["customer"] is None
    assert event.data.previous_attributes.to_dict() == {"customer": customer.id}


def test_steps_of_several_subscriptions_run_in_the_order_of_time(
    api: Any, shop: Shop, control: Control
) -> None:
    late = shop.subscription(trial_period_days=9)
    early = shop.subscription(trial_period_days=5)
    ends = [s for s in control.advance(days=10) if s["step"] == "end_trial"]
    assert [step["subscription"] for step in ends] == [early.id, late.id]


def test_two_years_renew_24_times(api: Any, shop: Shop, control: Control) -> None:
    subscription = shop.subscription()
    steps = control.advance(days=731)
    assert [step["step"] for step in steps] == ["renew"] * 24
    invoices = api.invoices.list({"subscription": subscription.id, "limit": 100})
    assert len(invoices.data) == 25
