"""The hosted customer portal, at a session's URL: plain HTML forms over the same code as the API.

Below `/p/session/<secret>` (every POST answers 303 when it worked, 400, 402 or 403 when not):

    GET  /                              the homepage, or the step of the session's flow
    GET  /subscriptions/<sub>/cancel    POST: feedback?, comment?
    POST /subscriptions/<sub>/retention (accepts the coupon that a cancel flow offers)
    POST /subscriptions/<sub>/reactivate
    GET  /subscriptions/<sub>/update    POST: price?, quantity?, confirmed? (takes up the flow's discounts)
    GET  /subscriptions/<sub>/pause     POST
    POST /subscriptions/<sub>/resume
    GET  /payment-method                POST: number, exp_month, exp_year, cvc
    GET  /customer                      POST: name?, email?, phone?, as the configuration allows
    POST /tax-ids                       type, value
    GET  /confirmation                  where a flow with `hosted_confirmation` ends
"""  # noqa: E501

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import customers, lifecycle, payment_methods, subscriptions
from .errors import StripeError
from .pages import card_of, go, show, text_of
from .simulator import Simulator
from .world import Json, World

TAX_ID_TYPES = ("eu_vat", "gb_vat", "us_ein", "ch_vat", "au_abn", "ca_bn", "in_gst", "jp_cn")


class Expired(Exception):
    """The session's URL is no longer (or never was) good."""


class NotAllowed(Exception):
    """The configuration does not let the customer do this."""


@dataclass(frozen=True)
class Visit:
    """One request to the page of a session that is alive."""

    simulator: Simulator
    world: World
    session: Json
    configuration: Json
    customer: Json

    @property
    def base(self) -> str:
        return f"/p/session/{self.session['_secret']}"

    @property
    def features(self) -> Json:
        features: Json = self.configuration["features"]
        return features

    @property
    def flow(self) -> Json | None:
        """The flow, until it is completed."""
        return None if self.session.get("_completed") else self.session["flow"]

    def need(self, feature: str) -> None:
        if not self.features[feature]["enabled"]:
            raise NotAllowed

    def subscription(self, id: str) -> Json:
        found = self.world.tables.draft("subscription", id)
        if found is None or found["customer"] != self.customer["id"]:
            raise NotAllowed
        return found


Page = Callable[[Visit, Request], Awaitable[Response]]


def routes(simulator: Simulator) -> list[Route]:
    found = []
    for path, (read, write) in _PAGES.items():
        for method, page in (("GET", read), ("POST", write)):
            if page is not None:
                endpoint = _guarded(simulator, page)
                found.append(Route("/p/session/{secret}" + path, endpoint, methods=[method]))
    return found


def _guarded(simulator: Simulator, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        simulator.run_due()
        try:
            visit = _visit(simulator, request.path_params["secret"])
        except Expired:
            return show("expired.html", 410)
        try:
            return await page(visit, request)
        except NotAllowed:
            return show("refused.html", 403, **_frame(visit))
        except StripeError as error:
            # The same page again, with the reason: the visitor can mend it.
            return show("refused.html", error.status, message=error.message, **_frame(visit))

    return endpoint


def _visit(simulator: Simulator, secret: str) -> Visit:
    for world in simulator.worlds.values():
        for session in world.tables.all("billing_portal.session", _secret=secret):
            if _is_over(world, session):
                raise Expired
            customer = world.tables.peek("customer", session["customer"])
            configuration = world.tables.peek(
                "billing_portal.configuration", session["configuration"]
            )
            if customer is None or customer.get("deleted") or configuration is None:
                raise Expired
            used = world.save({**session, "_used_at": time.time()})
            return Visit(simulator, world, used, configuration, customer)
    raise Expired


def _is_over(world: World, session: Json) -> bool:
    """Unused for five minutes, or an hour after the last use, by the real time."""
    now = time.time()
    if session["_used_at"] is None:
        return bool(now - session["_wall_created"] > world.settings.portal_unused_seconds)
    return bool(now - session["_used_at"] > world.settings.portal_idle_seconds)


def _act(visit: Visit, do: Callable[[World], Any]) -> None:
    with visit.world.changing(visit.simulator.caller(api_version=visit.world.api_version)):
        do(visit.world)


def _done(visit: Visit, *flow_types: str, subscription: str | None = None) -> Response:
    """Where the visitor goes after an act: home, unless the act completed the session's flow."""
    flow = visit.flow
    if flow is None or flow["type"] not in flow_types:
        return go(visit.base)
    if subscription is not None and flow[flow["type"]]["subscription"] != subscription:
        return go(visit.base)
    visit.world.save({**visit.session, "_completed": True})
    after = flow["after_completion"]
    if after["type"] == "redirect":
        return go(after["redirect"]["return_url"])
    if after["type"] == "hosted_confirmation":
        return go(f"{visit.base}/confirmation")
    return go(visit.base)


# What the pages show


def _frame(visit: Visit) -> Json:
    return {
        "base": visit.base,
        "headline": visit.configuration["business_profile"]["headline"],
        "profile": visit.configuration["business_profile"],
        "return_url": visit.session["return_url"],
        "test_mode": not visit.world.livemode,
    }


def _product_name(world: World, price: Json) -> str:
    product = world.tables.peek("product", price["product"])
    return str((product or {}).get("name", price["product"]))


def _price(world: World, id: str) -> Json:
    price = world.tables.peek("price", id)
    assert price is not None
    return {**price, "name": _product_name(world, price)}


def _described(visit: Visit, subscription: Json) -> Json:
    """A subscription as the page shows it, with what may be done to it."""
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


async def _home(visit: Visit, request: Request) -> Response:
    flow = visit.flow
    if flow is not None:
        return _step(visit, flow)
    world, customer = visit.world, visit.customer
    current = [
        _described(visit, subscription)
        for subscription in world.tables.all("subscription", customer=customer["id"])
        if subscription["status"] not in lifecycle.ENDED
    ]
    invoices = [
        invoice
        for invoice in world.tables.all("invoice", customer=customer["id"])
        if invoice["status"] != "draft"
    ]
    return show(
        "home.html",
        subscriptions=current,
        invoices=invoices[:10],
        card=_card(visit),
        customer=customer,
        tax_ids=world.tables.all("tax_id", customer=customer["id"]),
        tax_id_types=TAX_ID_TYPES,
        features=visit.features,
        **_frame(visit),
    )


def _card(visit: Visit) -> Json | None:
    id = visit.customer["invoice_settings"]["default_payment_method"]
    method = visit.world.tables.peek("payment_method", id) if id else None
    return method["card"] if method is not None else None


def _step(visit: Visit, flow: Json) -> Response:
    type = flow["type"]
    if type == "payment_method_update":
        return _show_card_form(visit)
    if type == "customer_update":
        return _show_customer_form(visit)
    subscription = visit.subscription(flow[type]["subscription"])
    if subscription["status"] in lifecycle.ENDED:
        raise NotAllowed
    if type == "subscription_cancel":
        return _show_cancel(visit, subscription)
    if type == "subscription_pause":
        return show("pause.html", subscription=_described(visit, subscription), **_frame(visit))
    confirm = flow[type] if type == "subscription_update_confirm" else None
    return _show_update(visit, subscription, confirm)


# Cancel, keep, reactivate


def _show_cancel(visit: Visit, subscription: Json) -> Response:
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
        subscription=_described(visit, subscription),
        at_period_end=cancel["mode"] == "at_period_end",
        reasons=reasons["options"] if reasons["enabled"] else [],
        coupon=coupon,
        **_frame(visit),
    )


async def _cancel_form(visit: Visit, request: Request) -> Response:
    visit.need("subscription_cancel")
    return _show_cancel(visit, visit.subscription(request.path_params["id"]))


async def _cancel(visit: Visit, request: Request) -> Response:
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
        _act(visit, lambda world: subscriptions.cancel_subscription(world, options, id))
    else:
        # Flexible billing schedules a moment, classic billing a flag: readers must know both.
        when: Json = {"cancel_at": "min_period_end"}
        if subscription["billing_mode"]["type"] == "classic":
            when = {"cancel_at_period_end": True}
        _act(
            visit,
            lambda world: subscriptions.update_subscription(world, {**when, **options}, id),
        )
    return _done(visit, "subscription_cancel", subscription=id)


async def _accept_coupon(visit: Visit, request: Request) -> Response:
    id = request.path_params["id"]
    flow = visit.flow
    if flow is None or flow["type"] != "subscription_cancel":
        raise NotAllowed
    retention = flow["subscription_cancel"]["retention"]
    if retention is None or flow["subscription_cancel"]["subscription"] != id:
        raise NotAllowed
    kept = [{"discount": each} for each in visit.subscription(id)["discounts"]]
    wanted = [*kept, {"coupon": retention["coupon_offer"]["coupon"]}]
    _act(
        visit,
        lambda world: subscriptions.update_subscription(world, {"discounts": wanted}, id),
    )
    return _done(visit, "subscription_cancel", subscription=id)


async def _reactivate(visit: Visit, request: Request) -> Response:
    visit.need("subscription_cancel")
    id = request.path_params["id"]
    subscription = visit.subscription(id)
    undo: Json = {"cancel_at": ""}
    if subscription["cancel_at_period_end"]:
        undo = {"cancel_at_period_end": False}
    _act(visit, lambda world: subscriptions.update_subscription(world, undo, id))
    return go(visit.base)


# Upgrade, downgrade, quantity


def _offers(visit: Visit, current: Json) -> list[Json]:
    """The prices one may change to, the current one among them, each with its quantity's limits."""
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


def _show_update(visit: Visit, subscription: Json, confirm: Json | None = None) -> Response:
    (item,) = subscription["items"]
    current = _price(visit.world, item["price"])
    target = confirm["items"][0] if confirm else None
    chosen = current
    quantity = item.get("quantity")
    if target is not None:
        chosen = _price(visit.world, target["price"] or item["price"])
        quantity = target["quantity"] or quantity
    return show(
        "update.html",
        subscription=_described(visit, subscription),
        offers=_offers(visit, current),
        current=current,
        chosen=chosen,
        quantity=quantity,
        confirming=confirm is not None,
        can_change_quantity="quantity"
        in visit.features["subscription_update"]["default_allowed_updates"],
        **_frame(visit),
    )


async def _update_form(visit: Visit, request: Request) -> Response:
    visit.need("subscription_update")
    subscription = visit.subscription(request.path_params["id"])
    if not _described(visit, subscription)["can_update"]:
        raise NotAllowed
    return _show_update(visit, subscription)


async def _update(visit: Visit, request: Request) -> Response:
    visit.need("subscription_update")
    id = request.path_params["id"]
    subscription = visit.subscription(id)
    if not _described(visit, subscription)["can_update"]:
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
    _act(visit, lambda world: subscriptions.update_subscription(world, params, id))
    return _done(visit, "subscription_update", "subscription_update_confirm", subscription=id)


def _checked(visit: Visit, item: Json, price: str, quantity: str) -> Json:
    """The change, if the configuration offers it."""
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


# Pause and resume


async def _pause_form(visit: Visit, request: Request) -> Response:
    visit.need("subscription_pause")
    subscription = visit.subscription(request.path_params["id"])
    return show("pause.html", subscription=_described(visit, subscription), **_frame(visit))


async def _pause(visit: Visit, request: Request) -> Response:
    visit.need("subscription_pause")
    id = request.path_params["id"]
    visit.subscription(id)
    _act(visit, lambda world: subscriptions.pause_subscription(world, {}, id))
    return _done(visit, "subscription_pause", subscription=id)


async def _resume(visit: Visit, request: Request) -> Response:
    visit.need("subscription_pause")
    id = request.path_params["id"]
    visit.subscription(id)
    _act(visit, lambda world: subscriptions.resume_subscription(world, {}, id))
    return go(visit.base)


# Card, customer, tax ids


def _show_card_form(visit: Visit, status: int = 200, message: str | None = None) -> Response:
    return show("card.html", status, card=_card(visit), message=message, **_frame(visit))


async def _card_form(visit: Visit, request: Request) -> Response:
    visit.need("payment_method_update")
    return _show_card_form(visit)


async def _update_card(visit: Visit, request: Request) -> Response:
    visit.need("payment_method_update")
    card = card_of(await request.form())
    customer = visit.customer["id"]

    def replace(world: World) -> None:
        made = payment_methods.new_card(world, card["number"], card["exp_month"], card["exp_year"])
        method = world.save({**made, "customer": customer}, "payment_method.attached")
        settings = {"default_payment_method": method["id"]}
        customers.update_customer(world, {"invoice_settings": settings}, customer)
        # A subscription with a card of its own would go on charging that one.
        for subscription in world.tables.all("subscription", customer=customer):
            own = subscription["default_payment_method"]
            if own is not None and subscription["status"] not in lifecycle.ENDED:
                world.save(
                    {**subscription, "default_payment_method": method["id"]},
                    "customer.subscription.updated",
                )

    try:
        _act(visit, replace)
    except StripeError as error:
        return _show_card_form(visit, error.status, error.message)
    return _done(visit, "payment_method_update")


def _show_customer_form(visit: Visit) -> Response:
    return show(
        "customer.html",
        customer=visit.customer,
        allowed=visit.features["customer_update"]["allowed_updates"],
        tax_ids=visit.world.tables.all("tax_id", customer=visit.customer["id"]),
        tax_id_types=TAX_ID_TYPES,
        **_frame(visit),
    )


async def _customer_form(visit: Visit, request: Request) -> Response:
    visit.need("customer_update")
    return _show_customer_form(visit)


async def _update_customer(visit: Visit, request: Request) -> Response:
    visit.need("customer_update")
    form = await request.form()
    allowed = visit.features["customer_update"]["allowed_updates"]
    sent = [name for name in ("name", "email", "phone") if name in form]
    if not set(sent) <= set(allowed):
        raise NotAllowed
    changes = {name: text_of(form, name) for name in sent}
    id = visit.customer["id"]
    _act(visit, lambda world: customers.update_customer(world, changes, id))
    return _done(visit, "customer_update")


async def _add_tax_id(visit: Visit, request: Request) -> Response:
    visit.need("customer_update")
    if "tax_id" not in visit.features["customer_update"]["allowed_updates"]:
        raise NotAllowed
    form = await request.form()
    wanted = {"type": text_of(form, "type"), "value": text_of(form, "value")}
    if wanted["type"] not in TAX_ID_TYPES:
        raise NotAllowed
    id = visit.customer["id"]
    _act(visit, lambda world: customers.create_tax_id(world, wanted, id))
    return _done(visit, "customer_update")


async def _confirmation(visit: Visit, request: Request) -> Response:
    flow = visit.session["flow"]
    if flow is None or not visit.session.get("_completed"):
        return go(visit.base)
    hosted = flow["after_completion"]["hosted_confirmation"] or {}
    return show("confirmation.html", message=hosted.get("custom_message"), **_frame(visit))


_PAGES: dict[str, tuple[Page | None, Page | None]] = {
    "": (_home, None),
    "/subscriptions/{id}/cancel": (_cancel_form, _cancel),
    "/subscriptions/{id}/retention": (None, _accept_coupon),
    "/subscriptions/{id}/reactivate": (None, _reactivate),
    "/subscriptions/{id}/update": (_update_form, _update),
    "/subscriptions/{id}/pause": (_pause_form, _pause),
    "/subscriptions/{id}/resume": (None, _resume),
    "/payment-method": (_card_form, _update_card),
    "/customer": (_customer_form, _update_customer),
    "/tax-ids": (None, _add_tax_id),
    "/confirmation": (_confirmation, None),
}
