"""The items of a subscription: create and change them, and invoice a change."""

from __future__ import annotations

import copy

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
    before = copy.deepcopy(subscription["items"])
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
    return _prorations(world, subscription, before)


def _prorations(world: World, subscription: Json, before: list[Json]) -> list[Json]:
    """Return a credit for each item as it was, and a line for each as it is now."""
    was = {item["id"]: item for item in before}
    now = {item["id"]: item for item in subscription["items"]}
    lines: list[Json] = []
    for id in dict.fromkeys([*was, *now]):
        old, new = was.get(id), now.get(id)
        if old and new and _billed(old) == _billed(new):
            continue
        if old and (amount := _remaining(world, subscription, old)):
            credit = invoices.line(world, subscription, old, -amount, proration=True)
            details = credit["parent"]["subscription_item_details"]["proration_details"]
            details["credited_items"] = _credited(world, subscription, old)
            lines.append(credit)
        if new and (amount := _remaining(world, subscription, new)):
            lines.append(invoices.line(world, subscription, new, amount, proration=True))
    for line in lines:
        line["period"]["start"] = world.now()
    return lines


def _billed(item: Json) -> tuple[str, int | None]:
    return item["price"], item.get("quantity")


def _remaining(world: World, subscription: Json, item: Json) -> int:
    """Return the item's amount for the rest of its whole period, of which it may have a part."""
    anchor: int = subscription["billing_cycle_anchor"]
    start: int = item["current_period_start"]
    end: int = item["current_period_end"]
    if anchor <= world.now():
        start, end = period_after(anchor, lifecycle.recurring_of(world, item), world.now())
    return round(lifecycle.amount_of(world, item) * (end - world.now()) / (end - start))


def _credited(world: World, subscription: Json, item: Json) -> Json | None:
    """Return the line that a credit takes back: the newest that billed the item at its price."""
    for invoice in world.tables.all("invoice", _subscription=subscription["id"]):
        for line in invoice["lines"]:
            details = line["parent"]["subscription_item_details"]
            price = line["pricing"]["price_details"]["price"]
            if line["amount"] > 0 and (details["subscription_item"], price) == (
                item["id"],
                item["price"],
            ):
                return {"invoice": invoice["id"], "invoice_line_items": [line["id"]]}
    return None


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
