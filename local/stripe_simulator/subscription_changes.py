"""Updates of a subscription, with the cancellation that an update can schedule."""

from __future__ import annotations

from typing import Any

from . import invoices, lifecycle, payment_methods
from .coupons import add_discount
from .errors import invalid
from .lookup import find
from .parameters import Params
from .routes import merge_metadata, unset_empty
from .sources import owned
from .subscription_items import change_items
from .tables import Json
from .world import World


def update(world: World, subscription: Json, params: Params) -> Json:
    _set_plain(world, subscription, params)
    lines = change_items(world, subscription, params) if "items" in params else []
    set_cancellation(world, subscription, params)
    trial_end = params.get("trial_end")
    if trial_end == "now":
        if subscription["status"] == "trialing":
            return lifecycle.end_trial(world, subscription, world.now())
    elif trial_end is not None:
        _move_trial(world, subscription, trial_end)
    if params.get("billing_cycle_anchor", {}).get("type") == "now":
        lifecycle.start_period(world, subscription, world.now())
        lines = lifecycle.period_lines(world, subscription)
    if lines:
        _bill_change(world, subscription, lines, params)
    return world.save(subscription, "customer.subscription.updated")


def _set_plain(world: World, subscription: Json, params: Params) -> None:
    """Set the fields that are stored as they are sent."""
    subscription["metadata"] = merge_metadata(subscription["metadata"], params.get("metadata"))
    if "default_payment_method" in params:
        check_method(world, subscription["customer"], params["default_payment_method"])
    if params.get("default_source"):
        owned(world, subscription["customer"], params["default_source"], "default_source")
    plain = (
        "description",
        "collection_method",
        "days_until_due",
        "default_payment_method",
        "default_source",
    )
    for name in plain:
        if name in params:
            subscription[name] = unset_empty(params[name])
    if "pause_collection" in params:
        wanted = unset_empty(params["pause_collection"])
        subscription["pause_collection"] = wanted and {
            "behavior": wanted["behavior"],
            "resumes_at": wanted.get("resumes_at"),
        }
    if "trial_settings" in params:
        subscription["trial_settings"]["end_behavior"].update(
            params["trial_settings"]["end_behavior"]
        )
    if "discounts" in params:
        subscription["discounts"] = [
            wanted.get("discount") or add_discount(world, subscription, wanted)
            for wanted in (params["discounts"] or [])
        ]
    _set_details(subscription, params.get("cancellation_details", {}))


def _set_details(subscription: Json, details: Params) -> None:
    for name in ("comment", "feedback"):
        if name in details:
            subscription["cancellation_details"][name] = unset_empty(details[name])


def check_method(world: World, customer: str, method: str) -> None:
    found = find(world, "payment_method", method, "PaymentMethod", "default_payment_method")
    if found["customer"] != customer:
        raise invalid(
            f"The customer does not have a payment method with the ID {method}.",
            "default_payment_method",
            "resource_missing",
        )


def _bill_change(world: World, subscription: Json, lines: list[Json], params: Params) -> None:
    """Invoice a change. Unless it is paid, the change stays and the subscription is past due."""
    behavior = params.get("payment_behavior", "allow_incomplete")
    automatic = subscription["collection_method"] == "charge_automatically"
    if behavior == "default_incomplete" and automatic:
        invoice = invoices.draft(world, subscription, lines, "subscription_update")
        subscription["latest_invoice"] = invoice["id"]
        outcome = payment_methods.REQUIRES_ACTION
        if invoices.finalize(world, invoice["id"])["status"] == "paid":
            outcome = payment_methods.SUCCEED
    else:
        outcome = lifecycle.bill(world, subscription, "subscription_update", lines)
    if outcome == payment_methods.SUCCEED:
        return
    if behavior == "error_if_incomplete":
        error = invoices.declined(outcome)
        error.commits = False
        raise error
    if subscription["status"] == "active":
        subscription["status"] = "past_due"


def _move_trial(world: World, subscription: Json, trial_end: int) -> None:
    if trial_end <= world.now():
        raise invalid("Invalid timestamp: must be an integer in the future", "trial_end")
    subscription["status"] = "trialing"
    subscription["trial_start"] = subscription["trial_start"] or world.now()
    subscription["trial_end"] = subscription["billing_cycle_anchor"] = trial_end
    subscription.pop("_reminded", None)
    for item in subscription["items"]:
        item["current_period_end"] = trial_end


def set_cancellation(world: World, subscription: Json, params: Params) -> None:
    """Set `cancel_at` or `cancel_at_period_end`. Stripe shows `cancel_at` for both."""
    if "cancel_at" in params and "cancel_at_period_end" in params:
        raise invalid(
            "Only one of cancel_at and cancel_at_period_end can be set at a time.", "cancel_at"
        )
    if "cancel_at_period_end" in params:
        at_end = params["cancel_at_period_end"]
        if not at_end and not subscription["cancel_at_period_end"]:
            return
        subscription["cancel_at_period_end"] = at_end
        _schedule_cancel(
            world, subscription, lifecycle.period_end(subscription) if at_end else None
        )
    elif "cancel_at" in params:
        at: Any = unset_empty(params["cancel_at"])
        if at in ("min_period_end", "max_period_end", "max_billed_until"):
            at = lifecycle.period_end(subscription, min if at == "min_period_end" else max)
        if at is not None and at <= world.now():
            raise invalid("Invalid timestamp: must be an integer in the future", "cancel_at")
        subscription["cancel_at_period_end"] = False
        _schedule_cancel(world, subscription, at)


def _schedule_cancel(world: World, subscription: Json, at: int | None) -> None:
    subscription["cancel_at"] = at
    subscription["canceled_at"] = None if at is None else world.now()
    details = subscription["cancellation_details"]
    details["reason"] = None if at is None else "cancellation_requested"
    if at is None:
        details["comment"] = details["feedback"] = None


def update_ended(world: World, subscription: Json, params: Params) -> Json:
    subscription["metadata"] = merge_metadata(subscription["metadata"], params.get("metadata"))
    _set_details(subscription, params.get("cancellation_details", {}))
    return world.save(subscription, "customer.subscription.updated")
