"""Subscriptions and their items: create, change, cancel, pause, resume, list."""

from __future__ import annotations

from typing import Any

import stripe.params as p

from . import customers, invoices, lifecycle, payment_methods
from .catalog import create_price, find
from .errors import invalid, no_such
from .parameters import Params
from .rendering import CLOVER
from .routes import Page, in_range, merge_metadata, page, route, unset_empty
from .world import Json, World

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


def _new_item(world: World, subscription: str, wanted: Params, param: str) -> Json:
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


@route("POST", "/v1/subscriptions", p.SubscriptionCreateParams, "subscription")
def create_subscription(world: World, params: Params) -> Json:
    if "customer" not in params:
        raise invalid("Missing required param: customer.", "customer", "parameter_missing")
    if not params.get("items"):
        raise invalid("Missing required param: items.", "items", "parameter_missing")
    if len(params["items"]) > MAX_ITEMS:
        raise invalid(f"You may only have up to {MAX_ITEMS} subscription items.", "items")
    customer = customers.living(world, params["customer"], "customer")
    with world.changing():
        return _create(world, params, customer)


def _create(world: World, params: Params, customer: Json) -> Json:
    now, id = world.now(), world.id("subscription")
    items = [
        _new_item(world, id, wanted, f"items[{index}]")
        for index, wanted in enumerate(params["items"])
    ]
    method = params.get("default_payment_method")
    if method is not None:
        _check_method(world, customer["id"], method)
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
    subscription: Json = {
        "id": id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_cycle_anchor_config": None,
        "billing_mode": mode,
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {
            "comment": None,
            "feedback": None,
            "reason": None,
        },
        "collection_method": params.get("collection_method", "charge_automatically"),
        "created": now,
        "currency": params.get("currency", first["currency"]),
        "customer": customer["id"],
        "days_until_due": params.get("days_until_due"),
        "default_payment_method": method,
        "default_source": None,
        "default_tax_rates": [],
        "description": params.get("description"),
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": items,
        "latest_invoice": None,
        "livemode": world.livemode,
        "metadata": merge_metadata(None, params.get("metadata")),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now,
        "status": "active",
        "status_details": None,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }
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
    _set_cancellation(world, subscription, params)
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
    """The first period ends at an anchor in the future; full periods follow from there."""
    if anchor <= world.now():
        raise invalid("Invalid timestamp: must be in the future", "billing_cycle_anchor")
    subscription["billing_cycle_anchor"] = anchor
    for item in subscription["items"]:
        item["current_period_start"], item["current_period_end"] = world.now(), anchor


def _bill_first(
    world: World, subscription: Json, customer: Json, lines: list[Json], params: Params
) -> None:
    """The first invoice decides whether the subscription is active or incomplete."""
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


def _check_method(world: World, customer: str, method: str) -> None:
    found = find(world, "payment_method", method, "PaymentMethod", "default_payment_method")
    if found["customer"] != customer:
        raise invalid(
            f"The customer does not have a payment method with the ID {method}.",
            "default_payment_method",
            "resource_missing",
        )


def add_discount(world: World, subscription: Json, wanted: Params) -> str:
    """Redeems a coupon or a promotion code; gives the discount's id."""
    promotion = wanted.get("promotion_code")
    coupon = wanted.get("coupon")
    if promotion is not None:
        code = find(world, "promotion_code", promotion, "promotion code", "discounts")
        coupon = code["promotion"]["coupon"]
        world.save({**code, "times_redeemed": code["times_redeemed"] + 1})
    if coupon is None:
        raise invalid("You must pass a coupon or a promotion code.", "discounts")
    redeemed = find(world, "coupon", coupon, "coupon", "discounts")
    world.save({**redeemed, "times_redeemed": redeemed["times_redeemed"] + 1})
    end = None
    if redeemed["duration"] == "repeating":
        end = lifecycle.boundary(world.now(), "month", redeemed["duration_in_months"] or 1, 1)
    discount = world.save(
        {
            "id": world.id("discount"),
            "object": "discount",
            "checkout_session": None,
            "customer": subscription["customer"],
            "end": end,
            "invoice": None,
            "invoice_item": None,
            "promotion_code": promotion,
            "source": {"coupon": coupon, "type": "coupon"},
            "start": world.now(),
            "subscription": subscription["id"],
            "subscription_item": None,
        },
        "customer.discount.created",
    )
    return str(discount["id"])


@route("GET", "/v1/subscriptions/{id}", p.SubscriptionRetrieveParams, "subscription")
def retrieve_subscription(world: World, params: Params, id: str) -> Json:
    return find(world, "subscription", id, "subscription")


def running(world: World, id: str, param: str = "id") -> Json:
    """The subscription, if it has not ended."""
    subscription = find(world, "subscription", id, "subscription", param)
    if subscription["status"] in lifecycle.ENDED:
        raise no_such("subscription", id, param)
    return subscription


@route("POST", "/v1/subscriptions/{id}", p.SubscriptionUpdateParams, "subscription")
def update_subscription(world: World, params: Params, id: str) -> Json:
    subscription = find(world, "subscription", id, "subscription")
    if subscription["status"] in lifecycle.ENDED:
        if set(params) <= {"metadata", "cancellation_details", "expand"}:
            return _update_ended(world, subscription, params)
        raise invalid(
            "A canceled subscription can only update its cancellation_details and metadata.", "id"
        )
    with world.changing():
        return _update(world, subscription, params)


def _update_ended(world: World, subscription: Json, params: Params) -> Json:
    subscription["metadata"] = merge_metadata(subscription["metadata"], params.get("metadata"))
    _set_details(subscription, params.get("cancellation_details", {}))
    return world.save(subscription, "customer.subscription.updated")


def _set_details(subscription: Json, details: Params) -> None:
    for name in ("comment", "feedback"):
        if name in details:
            subscription["cancellation_details"][name] = unset_empty(details[name])


def _update(world: World, subscription: Json, params: Params) -> Json:
    _set_plain(world, subscription, params)
    lines = _change_items(world, subscription, params) if "items" in params else []
    _set_cancellation(world, subscription, params)
    trial_end = params.get("trial_end")
    if trial_end == "now":
        if subscription["status"] == "trialing":
            return lifecycle.end_trial_now(world, subscription, world.now())
    elif trial_end is not None:
        _move_trial(world, subscription, trial_end)
    if params.get("billing_cycle_anchor", {}).get("type") == "now":
        lifecycle.start_period(world, subscription, world.now())
        lines = lifecycle.period_lines(world, subscription)
    if lines:
        _bill_change(world, subscription, lines, params)
    return world.save(subscription, "customer.subscription.updated")


def _set_plain(world: World, subscription: Json, params: Params) -> None:
    """What is stored as it is sent."""
    subscription["metadata"] = merge_metadata(subscription["metadata"], params.get("metadata"))
    if "default_payment_method" in params:
        _check_method(world, subscription["customer"], params["default_payment_method"])
    plain = ("description", "collection_method", "days_until_due", "default_payment_method")
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


def _bill_change(world: World, subscription: Json, lines: list[Json], params: Params) -> None:
    outcome = lifecycle.bill(world, subscription, "subscription_update", lines)
    if outcome == payment_methods.SUCCEED:
        return
    if params.get("payment_behavior") == "error_if_incomplete":
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


def _set_cancellation(world: World, subscription: Json, params: Params) -> None:
    """`cancel_at` and `cancel_at_period_end`: Stripe shows the former whichever was asked for."""
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


def _change_items(world: World, subscription: Json, params: Params) -> list[Json]:
    """Applies `items`; gives the lines to invoice now (a new interval, or `always_invoice`)."""
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
        added = _new_item(world, subscription["id"], wanted, param)
        if any(item["price"] == added["price"] for item in items):
            raise invalid(
                f"Cannot add multiple subscription items with the same price: {added['price']}",
                f"{param}[price]",
            )
        if subscription["status"] == "trialing":
            start, end = world.now(), subscription["trial_end"]
        else:
            _, end = lifecycle.period_after(
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


@route("DELETE", "/v1/subscriptions/{id}", p.SubscriptionCancelParams, "subscription")
def cancel_subscription(world: World, params: Params, id: str) -> Json:
    running(world, id)
    details = {
        name: unset_empty(value)
        for name, value in params.get("cancellation_details", {}).items()
        if name in ("comment", "feedback")
    }
    with world.changing():
        return lifecycle.cancel(world, id, details, reason="cancellation_requested")


@route("POST", "/v1/subscriptions/{id}/pause", p.SubscriptionPauseParams, "subscription")
def pause_subscription(world: World, params: Params, id: str) -> Json:
    subscription = running(world, id)
    if subscription["status"] not in ("active", "trialing", "past_due"):
        raise invalid(f"A subscription that is {subscription['status']} cannot be paused.", "id")
    with world.changing():
        return lifecycle.pause(world, id, "pause_requested")


@route("POST", "/v1/subscriptions/{id}/resume", p.SubscriptionResumeParams, "subscription")
def resume_subscription(world: World, params: Params, id: str) -> Json:
    if running(world, id)["status"] != "paused":
        raise invalid("The subscription is not paused, so it cannot be resumed.", "id")
    with world.changing():
        anchor = params.get("billing_cycle_anchor", {}).get("type", "now")
        return lifecycle.resume(world, id, anchor=anchor)


@route("GET", "/v1/subscriptions", p.SubscriptionListParams, "subscription", listing=True)
def list_subscriptions(world: World, params: Params) -> Page:
    """Without `status`, the canceled ones are left out."""
    where: dict[str, str] = {}
    if "customer" in params:
        find(world, "customer", params["customer"], "customer", "customer")
        where["customer"] = params["customer"]
    status = params.get("status")
    found = [
        subscription
        for subscription in world.tables.all("subscription", **where)
        if _wanted(subscription["status"], status)
        and in_range(subscription["created"], params.get("created"))
        and any(
            params.get("price", item["price"]) == item["price"] for item in subscription["items"]
        )
        and in_range(lifecycle.period_end(subscription), params.get("current_period_end"))
    ]
    return page(found, params, "/v1/subscriptions")


def _wanted(status: str, asked: str | None) -> bool:
    if asked == "all":
        return True
    if asked is None:
        return status not in lifecycle.ENDED
    if asked == "ended":
        return status in lifecycle.ENDED
    return status == asked


# Subscription items


def _owner(world: World, id: str) -> tuple[Json, Json]:
    for subscription in world.tables.all("subscription"):
        for item in subscription["items"]:
            if item["id"] == id:
                return lifecycle.load(world, subscription["id"]), item
    raise no_such("subscription item", id)


@route(
    "GET",
    "/v1/subscription_items",
    p.SubscriptionItemListParams,
    "subscription_item",
    listing=True,
)
def list_subscription_items(world: World, params: Params) -> Page:
    """In the order in which a subscription embeds them, so that its first page can be continued."""
    id = params["subscription"]
    subscription = find(world, "subscription", id, "subscription", "subscription")
    return page(subscription["items"], params, "/v1/subscription_items")


@route("GET", "/v1/subscription_items/{id}", p.SubscriptionItemRetrieveParams, "subscription_item")
def retrieve_subscription_item(world: World, params: Params, id: str) -> Json:
    return _owner(world, id)[1]


def _change_one(world: World, subscription: Json, change: Params, params: Params) -> Json:
    keep = ("payment_behavior", "proration_behavior", "proration_date")
    options = {name: params[name] for name in keep if name in params}
    with world.changing():
        return _update(world, subscription, {**options, "items": [change]})


_ITEM = ("price", "plan", "price_data", "quantity", "metadata")


@route("POST", "/v1/subscription_items", p.SubscriptionItemCreateParams, "subscription_item")
def create_subscription_item(world: World, params: Params) -> Json:
    subscription = running(world, params["subscription"], "subscription")
    change = {name: params[name] for name in _ITEM if name in params}
    item: Json = _change_one(world, subscription, change, params)["items"][-1]
    return item


@route("POST", "/v1/subscription_items/{id}", p.SubscriptionItemUpdateParams, "subscription_item")
def update_subscription_item(world: World, params: Params, id: str) -> Json:
    subscription, _ = _owner(world, id)
    change = {name: params[name] for name in _ITEM if name in params}
    _change_one(world, subscription, {**change, "id": id}, params)
    return _owner(world, id)[1]


@route("DELETE", "/v1/subscription_items/{id}", p.SubscriptionItemDeleteParams, "subscription_item")
def delete_subscription_item(world: World, params: Params, id: str) -> Json:
    subscription, _ = _owner(world, id)
    _change_one(world, subscription, {"id": id, "deleted": True}, params)
    return {"id": id, "object": "subscription_item", "deleted": True}
