"""The billing engine: the steps that are due, in the order of time, each as its own change.

They are trial reminders, scheduled cancellations, trial ends, renewals, payment retries and
expiries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import invoices, lifecycle, payment_methods
from .periods import period_after
from .rendering import render
from .tables import Json
from .world import World

INCOMPLETE_SECONDS = 23 * 3600
RENEWING = ("active", "past_due", "unpaid")

Step = tuple[int, int, str, str]  # due at, rank at the same time, name, subscription


def _steps(world: World, subscription: Json) -> list[Step]:
    id, status = subscription["id"], subscription["status"]
    if status in lifecycle.ENDED:
        return []
    found: list[Step] = []
    if subscription["cancel_at"] is not None and status != "incomplete":
        found.append((subscription["cancel_at"], 0, "cancel", id))
    if status == "incomplete":
        found.append((subscription["created"] + INCOMPLETE_SECONDS, 1, "expire", id))
    elif status == "trialing":
        if not subscription.get("_reminded"):
            early = world.settings.trial_will_end_days * lifecycle.DAY
            found.append((subscription["trial_end"] - early, 2, "remind", id))
        found.append((subscription["trial_end"], 3, "end_trial", id))
    elif status in RENEWING:
        found.append((lifecycle.period_end(subscription), 5, "renew", id))
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


def run_due(world: World, until: int, clock: str | None = None) -> list[Json]:
    """Run the steps due up to `until` (Unix seconds), oldest first. Returns the steps that ran.

    They are those of the subscriptions on that test clock, or of those on none.
    """
    ran: list[Json] = []
    while (due := _next(world, clock)) is not None and due[0] <= until:
        moment, _, name, id = due
        with world.clock.pinned_at(moment, events=clock is None), world.changing():
            _RUN[name](world, id)
        ran.append({"at": moment, "step": name, "subscription": id})
    return ran


def _next(world: World, clock: str | None) -> Step | None:
    """Return the step that is due first. That of no test clock is cached until a change."""
    if clock is not None:
        return _first(world, clock)
    if world.next_step is None or world.next_step[0] != world.tables.change:
        world.next_step = (world.tables.change, _first(world, None))
    return world.next_step[1]


def _first(world: World, clock: str | None) -> Step | None:
    steps = (
        step
        for subscription in world.tables.all("subscription", test_clock=clock)
        if subscription["customer"] not in world.frozen
        for step in _steps(world, subscription)
    )
    return min(steps, default=None)


def _remind(world: World, id: str) -> None:
    subscription = world.save({**lifecycle.load(world, id), "_reminded": True})
    world.emit("customer.subscription.trial_will_end", render(world.tables, subscription))


def _end_trial(world: World, id: str) -> None:
    subscription = lifecycle.load(world, id)
    lifecycle.end_trial(world, subscription, subscription["trial_end"])


def _renew(world: World, id: str) -> None:
    subscription = lifecycle.load(world, id)
    now = world.now()
    renewed = []
    for item in subscription["items"]:
        if item["current_period_end"] <= now:
            start, end = period_after(
                subscription["billing_cycle_anchor"], lifecycle.recurring_of(world, item), now
            )
            item["current_period_start"], item["current_period_end"] = start, end
            renewed.append(item)
    lifecycle.cycle(world, subscription, renewed)


def _retry(world: World, id: str) -> None:
    subscription = lifecycle.load(world, id)
    invoice_id = subscription["latest_invoice"]
    if invoices.attempt(world, invoice_id, subscription) == payment_methods.SUCCEED:
        lifecycle.invoice_paid(world, id, invoice_id)
        return
    invoice = world.tables.peek("invoice", invoice_id)
    assert invoice is not None
    if invoice["next_payment_attempt"] is not None:
        return
    outcome = world.settings.after_retries
    if outcome == "canceled":
        lifecycle.cancel(world, id, reason="payment_failed")
    elif outcome == "unpaid":
        world.save(
            {**lifecycle.load(world, id), "status": "unpaid"}, "customer.subscription.updated"
        )


def _expire(world: World, id: str) -> None:
    subscription = lifecycle.load(world, id)
    subscription["status"] = "incomplete_expired"
    subscription["ended_at"] = world.now()
    subscription["canceled_at"] = world.now()
    world.save(subscription, "customer.subscription.updated")
    latest = world.tables.peek("invoice", subscription["latest_invoice"] or "")
    if latest is not None and latest["status"] == "open":
        invoices.void(world, latest["id"])


def _resume_collection(world: World, id: str) -> None:
    world.save(
        {**lifecycle.load(world, id), "pause_collection": None}, "customer.subscription.updated"
    )


def _cancel(world: World, id: str) -> None:
    lifecycle.cancel(world, id)


_RUN: dict[str, Callable[[World, str], Any]] = {
    "cancel": _cancel,
    "expire": _expire,
    "remind": _remind,
    "end_trial": _end_trial,
    "resume_collection": _resume_collection,
    "renew": _renew,
    "finalize": lifecycle.collect_cycle,
    "retry": _retry,
}
