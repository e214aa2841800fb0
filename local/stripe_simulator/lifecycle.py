"""What happens to a subscription: it is billed, paid, paused, resumed or canceled.

`billing_steps` says when. https://docs.stripe.com/billing/subscriptions/overview
"""

from __future__ import annotations

from collections.abc import Callable

from . import invoices, payment_methods
from .periods import period_after
from .rendering import render
from .tables import Json
from .world import World

DAY = 86_400
ENDED = ("canceled", "incomplete_expired")


def recurring_of(world: World, item: Json) -> Json:
    price = world.tables.peek("price", item["price"])
    assert price is not None
    return dict(price["recurring"])


def amount_of(world: World, item: Json) -> int:
    price = world.tables.peek("price", item["price"])
    assert price is not None
    return int((price["unit_amount"] or 0) * (item.get("quantity") or 0))


def period_end(subscription: Json, choose: Callable[..., int] = min) -> int:
    return choose(item["current_period_end"] for item in subscription["items"])


def load(world: World, id: str) -> Json:
    subscription = world.tables.draft("subscription", id)
    assert subscription is not None
    return subscription


def cancel(world: World, id: str, details: Json | None = None, reason: str | None = None) -> Json:
    """End the subscription now."""
    subscription = load(world, id)
    was_incomplete = subscription["status"] == "incomplete"
    subscription["status"] = "canceled"
    subscription["canceled_at"] = subscription["canceled_at"] or world.now()
    subscription["ended_at"] = world.now()
    subscription.pop("status_details", None)
    recorded = subscription["cancellation_details"]
    recorded["reason"] = reason or recorded["reason"] or "cancellation_requested"
    recorded.update(details or {})
    subscription = world.save(subscription)
    world.emit("customer.subscription.deleted", render(world.tables, subscription))
    latest = world.tables.peek("invoice", subscription["latest_invoice"] or "")
    if latest is not None and latest["status"] in ("open", "draft"):
        if was_incomplete:
            invoices.void(world, latest["id"])
        else:
            world.save({**latest, "auto_advance": False, "next_payment_attempt": None})
    return subscription


def bill(world: World, subscription: Json, reason: str, lines: list[Json]) -> str:
    """Invoice `lines` and charge at once. Sets `latest_invoice`, but does not save `subscription`.

    Returns `succeed`, `fail` or `requires_action`. An invoice that is sent to the customer counts
    as `succeed`.
    """
    invoice = invoices.draft(world, subscription, lines, reason)
    subscription["latest_invoice"] = invoice["id"]
    return collect(world, subscription, invoice["id"])


def collect(world: World, subscription: Json, invoice_id: str) -> str:
    invoice = invoices.finalize(world, invoice_id)
    if invoice["status"] == "paid" or subscription["collection_method"] == "send_invoice":
        return payment_methods.SUCCEED
    if subscription["pause_collection"] is not None:
        _skip_collection(world, invoice, subscription["pause_collection"]["behavior"])
        return payment_methods.SUCCEED
    return invoices.attempt(world, invoice_id, subscription)


def _skip_collection(world: World, invoice: Json, behavior: str) -> None:
    """Apply `pause_collection` to an invoice: nobody is charged."""
    if behavior == "void":
        invoices.void(world, invoice["id"])
    elif behavior == "mark_uncollectible":
        invoices.mark_uncollectible(world, invoice["id"])
    else:
        world.save({**invoice, "status": "draft", "auto_advance": False})


def period_lines(world: World, subscription: Json, items: list[Json] | None = None) -> list[Json]:
    return [
        invoices.line(world, subscription, item, amount_of(world, item))
        for item in (subscription["items"] if items is None else items)
    ]


def invoice_paid(world: World, subscription_id: str, invoice_id: str) -> None:
    """Make an incomplete, past_due, unpaid or paused subscription active: its invoice is paid."""
    subscription = load(world, subscription_id)
    if subscription["latest_invoice"] != invoice_id:
        return
    if subscription["status"] in ("incomplete", "past_due", "unpaid"):
        subscription["status"] = "active"
        world.save(subscription, "customer.subscription.updated")
    elif subscription["status"] == "paused":
        _resumed(world, subscription)


def invoice_unpaid(world: World, subscription_id: str) -> None:
    """Make an active subscription past_due: a charge failed."""
    subscription = load(world, subscription_id)
    if subscription["status"] in ("active", "trialing"):
        subscription["status"] = "past_due"
        world.save(subscription, "customer.subscription.updated")


def pause(world: World, id: str, why: str) -> Json:
    subscription = load(world, id)
    subscription["status"] = "paused"
    subscription["status_details"] = {
        "paused": {
            "subscription": {"type": why},
            "transitioned_at": world.now(),
            "type": "subscription",
        }
    }
    subscription = world.save(subscription, "customer.subscription.updated")
    world.emit("customer.subscription.paused", render(world.tables, subscription))
    return subscription


def resume(world: World, id: str, *, anchor: str = "now") -> Json:
    """Resume in a new period from now, or in the current one if `anchor` is `unchanged`."""
    subscription = load(world, id)
    if anchor == "unchanged" and period_end(subscription) > world.now():
        return _resumed(world, subscription)
    start_period(world, subscription, world.now())
    lines = period_lines(world, subscription)
    outcome = bill(world, subscription, "subscription_update", lines)
    if outcome != payment_methods.SUCCEED:
        return world.save(subscription, "customer.subscription.updated")
    return _resumed(world, subscription)


def _resumed(world: World, subscription: Json) -> Json:
    subscription["status"] = "active"
    subscription.pop("status_details", None)
    subscription = world.save(subscription, "customer.subscription.updated")
    world.emit("customer.subscription.resumed", render(world.tables, subscription))
    return subscription


def start_period(world: World, subscription: Json, anchor: int) -> None:
    """Move every item to its first period after a new anchor."""
    subscription["billing_cycle_anchor"] = anchor
    for item in subscription["items"]:
        start, end = period_after(anchor, recurring_of(world, item), anchor)
        item["current_period_start"], item["current_period_end"] = start, end


def end_trial(world: World, subscription: Json, moment: int) -> Json:
    """Begin the first paid period at `moment`, or do what the trial's settings say without a card.

    The caller may have changed `subscription` and not saved it.
    """
    customer = world.tables.peek("customer", subscription["customer"])
    assert customer is not None
    subscription["trial_end"] = moment
    missing = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if payment_methods.charge(world, customer, subscription) is None:
        if missing == "pause":
            world.save(subscription)
            return pause(world, subscription["id"], "trial_end_without_payment_method")
        if missing == "cancel":
            world.save(subscription)
            return cancel(world, subscription["id"])
    subscription["status"] = "active"
    start_period(world, subscription, moment)
    return cycle(world, subscription)


def cycle(world: World, subscription: Json, items: list[Json] | None = None) -> Json:
    """Draft the invoice of a new period, and collect it now or after the finalization delay."""
    lines = period_lines(world, subscription, items)
    invoice = invoices.draft(world, subscription, lines, "subscription_cycle")
    subscription["latest_invoice"] = invoice["id"]
    subscription = world.save(subscription, "customer.subscription.updated")
    if subscription["status"] == "unpaid":
        # Stripe drafts invoices for an unpaid subscription but does not collect them.
        world.save({**invoice, "auto_advance": False, "automatically_finalizes_at": None})
        return subscription
    if world.settings.invoice_finalization_delay == 0:
        collect_cycle(world, subscription["id"])
    return load(world, subscription["id"])


def collect_cycle(world: World, id: str) -> None:
    """Collect the invoice of a new period. The subscription becomes active or past due."""
    subscription = load(world, id)
    outcome = collect(world, subscription, subscription["latest_invoice"])
    if outcome == payment_methods.SUCCEED:
        invoice = world.tables.peek("invoice", subscription["latest_invoice"])
        if invoice is not None and invoice["status"] == "paid":
            invoice_paid(world, id, invoice["id"])
    else:
        invoice_unpaid(world, id)
