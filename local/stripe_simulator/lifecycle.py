"""The billing engine: what time and payments do to a subscription.

`run_due` runs every due step in the order of time, each as its own change: trial reminders,
scheduled cancellations, trial ends, renewals, payment retries and expiries.
https://docs.stripe.com/billing/subscriptions/overview
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import invoices, payment_methods
from .periods import period_after
from .rendering import render
from .tables import Json
from .world import World

DAY = 86_400
INCOMPLETE_SECONDS = 23 * 3600
ENDED = ("canceled", "incomplete_expired")
RENEWING = ("active", "past_due", "unpaid")


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


# Changes of a subscription


def cancel(world: World, id: str, details: Json | None = None, reason: str | None = None) -> Json:
    """End the subscription now."""
    subscription = load(world, id)
    was_incomplete = subscription["status"] == "incomplete"
    subscription["status"] = "canceled"
    subscription["canceled_at"] = subscription["canceled_at"] or world.now()
    subscription["ended_at"] = world.now()
    subscription["status_details"] = None
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
    subscription["status_details"] = None
    subscription = world.save(subscription, "customer.subscription.updated")
    world.emit("customer.subscription.resumed", render(world.tables, subscription))
    return subscription


def start_period(world: World, subscription: Json, anchor: int) -> None:
    """Move every item to its first period after a new anchor."""
    subscription["billing_cycle_anchor"] = anchor
    for item in subscription["items"]:
        start, end = period_after(anchor, recurring_of(world, item), anchor)
        item["current_period_start"], item["current_period_end"] = start, end


# Billing steps


Step = tuple[int, int, str, str]  # due at, rank at the same time, name, subscription


def _steps(world: World, subscription: Json) -> list[Step]:
    id, status = subscription["id"], subscription["status"]
    if status in ENDED:
        return []
    found: list[Step] = []
    if subscription["cancel_at"] is not None and status != "incomplete":
        found.append((subscription["cancel_at"], 0, "cancel", id))
    if status == "incomplete":
        found.append((subscription["created"] + INCOMPLETE_SECONDS, 1, "expire", id))
    elif status == "trialing":
        if not subscription.get("_reminded"):
            early = world.settings.trial_will_end_days * DAY
            found.append((subscription["trial_end"] - early, 2, "remind", id))
        found.append((subscription["trial_end"], 3, "end_trial", id))
    elif status in RENEWING:
        found.append((period_end(subscription), 5, "renew", id))
    collection = subscription["pause_collection"]
    if collection is not None and collection["resumes_at"] is not None:
        found.append((collection["resumes_at"], 4, "resume_collection", id))
    latest = world.tables.peek("invoice", subscription["latest_invoice"] or "")
    if latest is not None and latest["auto_advance"]:
        if latest["status"] == "draft" and latest["automatically_finalizes_at"] is not None:
            found.append((latest["automatically_finalizes_at"], 6, "finalize", id))
        elif latest["status"] == "open" and latest["next_payment_attempt"] is not None:
            found.append((latest["next_payment_attempt"], 7, "retry", id))
    return found


def run_due(world: World, until: int) -> list[Json]:
    """Run the steps due up to `until` (Unix seconds), oldest first. Returns the steps that ran."""
    ran: list[Json] = []
    while (due := _next(world)) is not None and due[0] <= until:
        moment, _, name, id = due
        with world.clock.pinned_at(moment), world.changing():
            _RUN[name](world, id)
        ran.append({"at": moment, "step": name, "subscription": id})
    return ran


def _next(world: World) -> Step | None:
    """Return the step that is due first. It is cached until something changes."""
    if world.next_step is None or world.next_step[0] != world.tables.change:
        steps = (
            step
            for subscription in world.tables.all("subscription")
            if subscription["customer"] not in world.frozen
            for step in _steps(world, subscription)
        )
        world.next_step = (world.tables.change, min(steps, default=None))
    return world.next_step[1]


def _remind(world: World, id: str) -> None:
    subscription = world.save({**load(world, id), "_reminded": True})
    world.emit("customer.subscription.trial_will_end", render(world.tables, subscription))


def _end_trial(world: World, id: str) -> None:
    subscription = load(world, id)
    customer = world.tables.peek("customer", subscription["customer"])
    assert customer is not None
    missing = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if payment_methods.charge(world, customer, subscription) is None:
        if missing == "pause":
            pause(world, id, "trial_end_without_payment_method")
            return
        if missing == "cancel":
            cancel(world, id)
            return
    end_trial_now(world, subscription, subscription["trial_end"])


def end_trial_now(world: World, subscription: Json, moment: int) -> Json:
    """Begin the first paid period at `moment`."""
    subscription["status"] = "active"
    subscription["trial_end"] = moment
    start_period(world, subscription, moment)
    return _cycle(world, subscription)


def _renew(world: World, id: str) -> None:
    subscription = load(world, id)
    now = world.now()
    renewed = []
    for item in subscription["items"]:
        if item["current_period_end"] <= now:
            start, end = period_after(
                subscription["billing_cycle_anchor"], recurring_of(world, item), now
            )
            item["current_period_start"], item["current_period_end"] = start, end
            renewed.append(item)
    _cycle(world, subscription, renewed)


def _cycle(world: World, subscription: Json, items: list[Json] | None = None) -> Json:
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
        _collect_cycle(world, subscription["id"])
    return load(world, subscription["id"])


def _collect_cycle(world: World, id: str) -> None:
    subscription = load(world, id)
    outcome = collect(world, subscription, subscription["latest_invoice"])
    if outcome == payment_methods.SUCCEED:
        invoice = world.tables.peek("invoice", subscription["latest_invoice"])
        if invoice is not None and invoice["status"] == "paid":
            invoice_paid(world, id, invoice["id"])
    else:
        invoice_unpaid(world, id)


def _retry(world: World, id: str) -> None:
    subscription = load(world, id)
    invoice_id = subscription["latest_invoice"]
    if invoices.attempt(world, invoice_id, subscription) == payment_methods.SUCCEED:
        invoice_paid(world, id, invoice_id)
        return
    invoice = world.tables.peek("invoice", invoice_id)
    assert invoice is not None
    if invoice["next_payment_attempt"] is not None:
        return
    outcome = world.settings.after_retries
    if outcome == "canceled":
        cancel(world, id, reason="payment_failed")
    elif outcome == "unpaid":
        world.save({**load(world, id), "status": "unpaid"}, "customer.subscription.updated")


def _expire(world: World, id: str) -> None:
    subscription = load(world, id)
    subscription["status"] = "incomplete_expired"
    subscription["ended_at"] = world.now()
    subscription["canceled_at"] = world.now()
    world.save(subscription, "customer.subscription.updated")
    latest = world.tables.peek("invoice", subscription["latest_invoice"] or "")
    if latest is not None and latest["status"] == "open":
        invoices.void(world, latest["id"])


def _resume_collection(world: World, id: str) -> None:
    world.save({**load(world, id), "pause_collection": None}, "customer.subscription.updated")


def _cancel(world: World, id: str) -> None:
    cancel(world, id)


_RUN: dict[str, Callable[[World, str], Any]] = {
    "cancel": _cancel,
    "expire": _expire,
    "remind": _remind,
    "end_trial": _end_trial,
    "resume_collection": _resume_collection,
    "renew": _renew,
    "finalize": _collect_cycle,
    "retry": _retry,
}
