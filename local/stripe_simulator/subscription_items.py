"""The items of a subscription: create and change them, and invoice a change."""

from __future__ import annotations

from . import invoices, lifecycle
from .catalog import create_price
from .errors import invalid, no_such
from .lookup import find
from .parameters import Params
from .periods import period_after
from .routes import merge_metadata
from .tables import Json
from .world import World

MAX_ITEMS = 20


def _price(world: World, wanted: Params, param: str) -> Json:
    if "price_data" in wanted:
        data = {**wanted["price_data"]}
        id = create_price(world, data)["id"]
    elif wanted.get("price") or wanted.get("plan"):
        id = wanted.get("price") or wanted["plan"]
    else:
        raise invalid(f"Missing required param: {param}[price].", f"{param}[price]")
    price = find(world, "price", id, "price", f"{param}[price]")
    if not price["active"]:
        raise invalid(
            f"The price specified is inactive. This field only accepts active prices: '{id}'.",
            f"{param}[price]",
        )
    if price["recurring"] is None:
        raise invalid(
            "The price specified is set to `type=one_time` but this field only accepts prices "
            "with `type=recurring`.",
            f"{param}[price]",
        )
    return price


def new_item(world: World, subscription: str, wanted: Params, param: str) -> Json:
    price = _price(world, wanted, param)
    item: Json = {
        "id": world.id("subscription_item"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": world.now(),
        "current_period_end": 0,
        "current_period_start": 0,
        "discounts": [],
        "metadata": merge_metadata(None, wanted.get("metadata")),
        "price": price["id"],
        "quantity": wanted.get("quantity", 1),
        "subscription": subscription,
        "tax_rates": [],
    }
    if price["recurring"]["usage_type"] == "metered":
        del item["quantity"]
    return item


def change_items(world: World, subscription: Json, params: Params) -> list[Json]:
    """Apply `items`. Returns the lines to invoice now: for a new interval or `always_invoice`."""
    before = {item["id"]: lifecycle.amount_of(world, item) for item in subscription["items"]}
    intervals = {_interval(world, item) for item in subscription["items"]}
    for index, wanted in enumerate(params["items"]):
        _change_item(world, subscription, wanted, f"items[{index}]")
    if not subscription["items"]:
        raise invalid(
            "A subscription must have at least one active item.", "items", "parameter_missing"
        )
    if len(subscription["items"]) > MAX_ITEMS:
        raise invalid(f"You may only have up to {MAX_ITEMS} subscription items.", "items")
    behavior = params.get("proration_behavior", "create_prorations")
    trialing = subscription["status"] == "trialing"
    if not trialing and any(_interval(world, i) not in intervals for i in subscription["items"]):
        lifecycle.start_period(world, subscription, world.now())
        return lifecycle.period_lines(world, subscription)
    if trialing or behavior != "always_invoice":
        return []
    lines = []
    for item in subscription["items"]:
        change = lifecycle.amount_of(world, item) - before.get(item["id"], 0)
        span = item["current_period_end"] - item["current_period_start"]
        left = item["current_period_end"] - world.now()
        if change:
            amount = round(change * left / span)
            lines.append(invoices.line(world, subscription, item, amount, proration=True))
    return lines


def _interval(world: World, item: Json) -> tuple[str, int]:
    recurring = lifecycle.recurring_of(world, item)
    return recurring["interval"], recurring["interval_count"]


def _change_item(world: World, subscription: Json, wanted: Params, param: str) -> None:
    items: list[Json] = subscription["items"]
    if "id" not in wanted:
        added = new_item(world, subscription["id"], wanted, param)
        if any(item["price"] == added["price"] for item in items):
            raise invalid(
                f"Cannot add multiple subscription items with the same price: {added['price']}",
                f"{param}[price]",
            )
        if subscription["status"] == "trialing":
            start, end = world.now(), subscription["trial_end"]
        else:
            _, end = period_after(
                subscription["billing_cycle_anchor"],
                lifecycle.recurring_of(world, added),
                world.now(),
            )
            start = world.now()
        added["current_period_start"], added["current_period_end"] = start, end
        items.append(added)
        return
    item = next((each for each in items if each["id"] == wanted["id"]), None)
    if item is None:
        raise no_such("subscription item", wanted["id"], f"{param}[id]")
    if wanted.get("deleted"):
        items.remove(item)
        return
    if wanted.get("price") or wanted.get("plan") or "price_data" in wanted:
        item["price"] = _price(world, wanted, param)["id"]
    if "quantity" in wanted:
        item["quantity"] = wanted["quantity"]
    item["metadata"] = merge_metadata(item["metadata"], wanted.get("metadata"))
