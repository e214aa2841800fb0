"""The portal's pages about one subscription: cancel, accept an offer, update, pause."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from . import lifecycle, subscriptions
from .errors import StripeError
from .pages import go, show, text_of
from .portal_visit import NotAllowed, Visit, act, done, frame
from .tables import Json
from .world import World


def _product_name(world: World, price: Json) -> str:
    product = world.tables.peek("product", price["product"])
    return str((product or {}).get("name", price["product"]))


def _price(world: World, id: str) -> Json:
    price = world.tables.peek("price", id)
    assert price is not None
    return {**price, "name": _product_name(world, price)}


def described(visit: Visit, subscription: Json) -> Json:
    """Return a subscription as the page shows it, with the actions that it offers."""
    world, features = visit.world, visit.features
    lines = [
        {"price": _price(world, item["price"]), "quantity": item.get("quantity")}
        for item in subscription["items"]
    ]
    ending = subscription["cancel_at"]
    status = subscription["status"]
    running = status in ("active", "trialing", "past_due")
    single = len(subscription["items"]) == 1
    return {
        "id": subscription["id"],
        "status": status,
        "lines": lines,
        "currency": subscription["currency"],
        "total": sum(lifecycle.amount_of(world, item) for item in subscription["items"]),
        "ending": ending,
        "renews": lifecycle.period_end(subscription),
        "last_day": lifecycle.period_end(subscription, max),
        "trial_end": subscription["trial_end"] if status == "trialing" else None,
        "can_cancel": features["subscription_cancel"]["enabled"] and ending is None,
        "can_reactivate": features["subscription_cancel"]["enabled"] and ending is not None,
        # Stripe's portal does not change subscriptions with several products.
        "can_update": features["subscription_update"]["enabled"]
        and running
        and single
        and ending is None,
        "can_pause": features["subscription_pause"]["enabled"] and running and ending is None,
        "can_resume": features["subscription_pause"]["enabled"] and status == "paused",
    }


def show_cancel(visit: Visit, subscription: Json) -> Response:
    world = visit.world
    coupon = None
    flow = visit.flow
    if flow is not None and flow["type"] == "subscription_cancel":
        retention = flow["subscription_cancel"]["retention"]
        if retention is not None:
            coupon = world.tables.peek("coupon", retention["coupon_offer"]["coupon"])
    cancel = visit.features["subscription_cancel"]
    reasons = cancel["cancellation_reason"]
    return show(
        "cancel.html",
        subscription=described(visit, subscription),
        at_period_end=cancel["mode"] == "at_period_end",
        reasons=reasons["options"] if reasons["enabled"] else [],
        coupon=coupon,
        **frame(visit),
    )


async def cancel_form(visit: Visit, request: Request) -> Response:
    visit.need("subscription_cancel")
    return show_cancel(visit, visit.subscription(request.path_params["id"]))


async def cancel(visit: Visit, request: Request) -> Response:
    visit.need("subscription_cancel")
    id = request.path_params["id"]
    subscription = visit.subscription(id)
    form = await request.form()
    details = {}
    if feedback := text_of(form, "feedback"):
        if feedback not in visit.features["subscription_cancel"]["cancellation_reason"]["options"]:
            raise NotAllowed
        details["feedback"] = feedback
    if comment := text_of(form, "comment"):
        details["comment"] = comment
    options = {"cancellation_details": details} if details else {}
    if visit.features["subscription_cancel"]["mode"] == "immediately":
        act(visit, lambda world: subscriptions.cancel_subscription(world, options, id))
    else:
        # Flexible billing sets `cancel_at`, classic billing sets a flag: readers must support both.
        # Items can have different periods: the subscription lasts until the latest ends.
        when: Json = {"cancel_at": "max_period_end"}
        if subscription["billing_mode"]["type"] == "classic":
            when = {"cancel_at_period_end": True}
        act(
            visit,
            lambda world: subscriptions.update_subscription(world, {**when, **options}, id),
        )
    return done(visit, "subscription_cancel", subscription=id)


async def accept_coupon(visit: Visit, request: Request) -> Response:
    id = request.path_params["id"]
    flow = visit.flow
    if flow is None or flow["type"] != "subscription_cancel":
        raise NotAllowed
    retention = flow["subscription_cancel"]["retention"]
    if retention is None or flow["subscription_cancel"]["subscription"] != id:
        raise NotAllowed
    kept = [{"discount": each} for each in visit.subscription(id)["discounts"]]
    wanted = [*kept, {"coupon": retention["coupon_offer"]["coupon"]}]
    act(
        visit,
        lambda world: subscriptions.update_subscription(world, {"discounts": wanted}, id),
    )
    return done(visit, "subscription_cancel", subscription=id)


async def reactivate(visit: Visit, request: Request) -> Response:
    visit.need("subscription_cancel")
    id = request.path_params["id"]
    subscription = visit.subscription(id)
    undo: Json = {"cancel_at": ""}
    if subscription["cancel_at_period_end"]:
        undo = {"cancel_at_period_end": False}
    act(visit, lambda world: subscriptions.update_subscription(world, undo, id))
    return go(visit.base)


def _offers(visit: Visit, current: Json) -> list[Json]:
    """Return the prices that the page offers, with the current price and the quantity limits."""
    update = visit.features["subscription_update"]
    found = []
    for product in update.get("products") or []:
        for id in product["prices"]:
            price = _price(visit.world, id)
            if price["active"] and price["currency"] == current["currency"]:
                found.append({**price, "quantity": product["adjustable_quantity"]})
    if "price" not in update["default_allowed_updates"]:
        found = [offer for offer in found if offer["id"] == current["id"]]
    return sorted(found, key=lambda offer: offer["unit_amount"] or 0)


def show_update(visit: Visit, subscription: Json, confirm: Json | None = None) -> Response:
    (item,) = subscription["items"]
    current = _price(visit.world, item["price"])
    target = confirm["items"][0] if confirm else None
    chosen = current
    quantity = item.get("quantity")
    if target is not None:
        chosen = _price(visit.world, target["price"] or item["price"])
        quantity = target.get("quantity") or quantity
    return show(
        "update.html",
        subscription=described(visit, subscription),
        offers=_offers(visit, current),
        current=current,
        chosen=chosen,
        quantity=quantity,
        confirming=confirm is not None,
        can_change_quantity="quantity"
        in visit.features["subscription_update"]["default_allowed_updates"],
        **frame(visit),
    )


async def update_form(visit: Visit, request: Request) -> Response:
    visit.need("subscription_update")
    subscription = visit.subscription(request.path_params["id"])
    if not described(visit, subscription)["can_update"]:
        raise NotAllowed
    return show_update(visit, subscription)


async def update(visit: Visit, request: Request) -> Response:
    visit.need("subscription_update")
    id = request.path_params["id"]
    subscription = visit.subscription(id)
    if not described(visit, subscription)["can_update"]:
        raise NotAllowed
    form = await request.form()
    (item,) = subscription["items"]
    price = text_of(form, "price") or item["price"]
    quantity = text_of(form, "quantity") or str(item.get("quantity") or 1)
    change = {"id": item["id"], **_checked(visit, item, price, quantity)}
    update = visit.features["subscription_update"]
    params: Json = {"items": [change], "proration_behavior": update["proration_behavior"]}
    if (
        subscription["status"] == "trialing"
        and price != item["price"]
        and update["trial_update_behavior"] == "end_trial"
    ):
        params["trial_end"] = "now"
    flow = visit.flow
    if text_of(form, "confirmed") and flow and flow["type"] == "subscription_update_confirm":
        discounts = flow["subscription_update_confirm"]["discounts"]
        if discounts:
            params["discounts"] = [
                {name: value for name, value in each.items() if value} for each in discounts
            ]
    act(visit, lambda world: subscriptions.update_subscription(world, params, id))
    return done(visit, "subscription_update", "subscription_update_confirm", subscription=id)


def _checked(visit: Visit, item: Json, price: str, quantity: str) -> Json:
    """Return the change. Raises NotAllowed if the configuration does not offer it."""
    current = _price(visit.world, item["price"])
    offer = next((each for each in _offers(visit, current) if each["id"] == price), None)
    if offer is None or not quantity.isdecimal():
        raise NotAllowed
    wanted = int(quantity)
    change: Json = {"price": price} if price != item["price"] else {}
    if wanted != item.get("quantity"):
        limits = offer["quantity"]
        allowed = visit.features["subscription_update"]["default_allowed_updates"]
        if "quantity" not in allowed or not limits["enabled"]:
            raise NotAllowed
        if wanted < limits["minimum"] or wanted > (limits["maximum"] or wanted):
            raise StripeError(400, f"The quantity must be at least {limits['minimum']}.")
        change["quantity"] = wanted
    return change


async def pause_form(visit: Visit, request: Request) -> Response:
    visit.need("subscription_pause")
    subscription = visit.subscription(request.path_params["id"])
    return show("pause.html", subscription=described(visit, subscription), **frame(visit))


async def pause(visit: Visit, request: Request) -> Response:
    visit.need("subscription_pause")
    id = request.path_params["id"]
    visit.subscription(id)
    act(visit, lambda world: subscriptions.pause_subscription(world, {}, id))
    return done(visit, "subscription_pause", subscription=id)


async def resume(visit: Visit, request: Request) -> Response:
    visit.need("subscription_pause")
    id = request.path_params["id"]
    visit.subscription(id)
    act(visit, lambda world: subscriptions.resume_subscription(world, {}, id))
    return go(visit.base)
