"""The endpoints of subscriptions and their items."""

from __future__ import annotations

import stripe.params as p

from . import lifecycle, subscription_changes, subscription_creation
from .errors import invalid, no_such
from .lookup import find, find_customer
from .parameters import Params
from .routes import Page, in_range, page, route, unset_empty
from .subscription_items import MAX_ITEMS
from .tables import Json
from .world import World


@route("POST", "/v1/subscriptions", p.SubscriptionCreateParams, "subscription")
def create_subscription(world: World, params: Params) -> Json:
    if "customer" not in params:
        raise invalid("Missing required param: customer.", "customer", "parameter_missing")
    if not params.get("items"):
        raise invalid("Missing required param: items.", "items", "parameter_missing")
    if len(params["items"]) > MAX_ITEMS:
        raise invalid(f"You may only have up to {MAX_ITEMS} subscription items.", "items")
    customer = find_customer(world, params["customer"], "customer")
    with world.changing():
        return subscription_creation.create(world, params, customer)


@route("GET", "/v1/subscriptions/{id}", p.SubscriptionRetrieveParams, "subscription")
def retrieve_subscription(world: World, params: Params, id: str) -> Json:
    return find(world, "subscription", id, "subscription")


def running(world: World, id: str, param: str = "id") -> Json:
    """Return the subscription. Raises Stripe's error if it has ended."""
    subscription = find(world, "subscription", id, "subscription", param)
    if subscription["status"] in lifecycle.ENDED:
        raise no_such("subscription", id, param)
    return subscription


@route("POST", "/v1/subscriptions/{id}", p.SubscriptionUpdateParams, "subscription")
def update_subscription(world: World, params: Params, id: str) -> Json:
    subscription = find(world, "subscription", id, "subscription")
    if subscription["status"] in lifecycle.ENDED:
        if set(params) <= {"metadata", "cancellation_details", "expand"}:
            return subscription_changes.update_ended(world, subscription, params)
        raise invalid(
            "A canceled subscription can only update its cancellation_details and metadata.", "id"
        )
    with world.changing():
        return subscription_changes.update(world, subscription, params)


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
    """List subscriptions. Without `status`, ended ones are left out.

    Without a customer, those on a test clock are left out unless that clock is named.
    """
    where: dict[str, str | None] = {}
    if "customer" not in params or "test_clock" in params:
        where["test_clock"] = params.get("test_clock")
    if "customer" in params:
        find(world, "customer", params["customer"], "customer", "customer")
        where["customer"] = params["customer"]
    return page(_listed(world, params, where), params, "/v1/subscriptions")


@route(
    "GET",
    "/v1/customers/{customer}/subscriptions",
    p.SubscriptionListParams,
    "subscription",
    listing=True,
)
def list_customer_subscriptions(world: World, params: Params, customer: str) -> Page:
    """List what the customer embeds. Stripe documents no such endpoint any more, but serves it."""
    find_customer(world, customer)
    found = _listed(world, params, {"customer": customer})
    return page(found, params, f"/v1/customers/{customer}/subscriptions")


def _listed(world: World, params: Params, where: dict[str, str | None]) -> list[Json]:
    status = params.get("status")
    return [
        subscription
        for subscription in world.tables.all("subscription", **where)
        if _wanted(subscription["status"], status)
        and in_range(subscription["created"], params.get("created"))
        and any(
            params.get("price", item["price"]) == item["price"] for item in subscription["items"]
        )
        and in_range(lifecycle.period_end(subscription), params.get("current_period_end"))
    ]


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
    """List items in the order in which a subscription embeds them."""
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
        return subscription_changes.update(world, subscription, {**options, "items": [change]})


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
