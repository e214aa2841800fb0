"""The creation of a subscription with its first invoice."""

from __future__ import annotations

from . import invoices, lifecycle, payment_methods
from .coupons import add_discount
from .errors import invalid
from .fields import completed
from .parameters import Params
from .routes import merge_metadata
from .sources import owned
from .subscription_changes import check_method, set_cancellation
from .subscription_items import new_item
from .tables import Json
from .versions import CLOVER
from .world import World


def unsaved(world: World, params: Params, customer: Json, *, named: str | None = None) -> Json:
    """Return an active subscription without periods. `named` is an id that a test chooses."""
    now, id = world.now(), named or world.id("subscription")
    items = [
        new_item(world, id, wanted, f"items[{index}]")
        for index, wanted in enumerate(params["items"])
    ]
    method = params.get("default_payment_method")
    if method is not None:
        check_method(world, customer["id"], method)
    source = params.get("default_source")
    if source is not None:
        owned(world, customer["id"], source, "default_source")
    version = world.caller.api_version or world.api_version
    default_mode = "flexible" if version[:10] >= CLOVER else "classic"
    mode: Json = dict(params.get("billing_mode") or {"type": default_mode})
    if mode["type"] == "flexible":
        mode.setdefault("flexible", {"proration_discounts": "included"})
        mode["updated_at"] = now
    else:
        mode["flexible"] = None
    first = world.tables.peek("price", items[0]["price"])
    assert first is not None
    return completed(
        {
            "id": id,
            "object": "subscription",
            "automatic_tax": {"enabled": False},
            "billing_cycle_anchor": now,
            "billing_mode": mode,
            "billing_schedules": [],
            "cancel_at_period_end": False,
            "cancellation_details": {},
            "collection_method": params.get("collection_method", "charge_automatically"),
            "created": now,
            "currency": params.get("currency", first["currency"]),
            "customer": customer["id"],
            "days_until_due": params.get("days_until_due"),
            "default_payment_method": method,
            "default_source": source,
            "default_tax_rates": [],
            "description": params.get("description"),
            "discounts": [],
            "invoice_settings": {"issuer": {"type": "self"}},
            "items": items,
            "livemode": world.livemode,
            "metadata": merge_metadata(None, params.get("metadata")),
            "payment_settings": {
                "save_default_payment_method": "off",
            },
            "start_date": now,
            "status": "active",
            "test_clock": customer["test_clock"],
            "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        }
    )


def create(world: World, params: Params, customer: Json) -> Json:
    now, subscription = world.now(), unsaved(world, params, customer)
    items = subscription["items"]
    first = world.tables.peek("price", items[0]["price"])
    assert first is not None
    if "save_default_payment_method" in params.get("payment_settings", {}):
        subscription["payment_settings"]["save_default_payment_method"] = params[
            "payment_settings"
        ]["save_default_payment_method"]
    if "trial_settings" in params:
        subscription["trial_settings"]["end_behavior"].update(
            params["trial_settings"]["end_behavior"]
        )
    if params.get("discounts"):
        subscription["discounts"] = [
            add_discount(world, subscription, wanted) for wanted in params["discounts"]
        ]
    trial_end = _trial_end(world, params, first)
    if trial_end is not None:
        subscription["status"] = "trialing"
        subscription["trial_start"], subscription["trial_end"] = now, trial_end
        subscription["billing_cycle_anchor"] = trial_end
        for item in items:
            item["current_period_start"], item["current_period_end"] = now, trial_end
        lines = [invoices.line(world, subscription, item, 0) for item in items]
    else:
        if "billing_cycle_anchor" in params:
            _anchor_later(world, subscription, params["billing_cycle_anchor"])
        else:
            lifecycle.start_period(world, subscription, now)
        lines = lifecycle.period_lines(world, subscription)
    set_cancellation(world, subscription, params)
    _bill_first(world, subscription, customer, lines, params)
    return world.save(subscription)


def _trial_end(world: World, params: Params, price: Json) -> int | None:
    end = params.get("trial_end")
    if end == "now":
        return None
    if end is None and "trial_period_days" in params:
        end = world.now() + params["trial_period_days"] * lifecycle.DAY
    if end is None and params.get("trial_from_plan") and price["recurring"]["trial_period_days"]:
        end = world.now() + price["recurring"]["trial_period_days"] * lifecycle.DAY
    if end is not None and end <= world.now():
        if "trial_period_days" in params:
            return None
        raise invalid("Invalid timestamp: must be an integer in the future", "trial_end")
    return int(end) if end is not None else None


def _anchor_later(world: World, subscription: Json, anchor: int) -> None:
    """End the first period at an anchor in the future. Full periods follow."""
    if anchor <= world.now():
        raise invalid("Invalid timestamp: must be in the future", "billing_cycle_anchor")
    subscription["billing_cycle_anchor"] = anchor
    for item in subscription["items"]:
        item["current_period_start"], item["current_period_end"] = world.now(), anchor


def _bill_first(
    world: World, subscription: Json, customer: Json, lines: list[Json], params: Params
) -> None:
    """Create the first invoice. Its payment decides between active and incomplete."""
    behavior = params.get("payment_behavior", "allow_incomplete")
    due = sum(each["amount"] for each in lines)
    automatic = subscription["collection_method"] == "charge_automatically"
    charged_now = automatic and due > 0 and behavior != "default_incomplete"
    if charged_now and payment_methods.charge(world, customer, subscription) is None:
        raise invoices.no_payment_method("subscription")
    if due > 0 and automatic:
        subscription["status"] = "incomplete"
    if charged_now and payment_methods.charge(world, customer, subscription) == "succeed":
        subscription["status"] = "active"
    invoice = invoices.draft(world, subscription, lines, "subscription_create")
    subscription["latest_invoice"] = invoice["id"]
    world.save(subscription, "customer.subscription.created")
    if due == 0 or charged_now or not automatic:
        outcome = lifecycle.collect(world, subscription, invoice["id"])
        if outcome != payment_methods.SUCCEED and behavior == "error_if_incomplete":
            error = invoices.declined(outcome)
            error.commits = False
            raise error
    else:
        invoices.finalize(world, invoice["id"])
