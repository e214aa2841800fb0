"""Checkout sessions that sell a subscription (`checkout_page` serves their URL).

https://docs.stripe.com/api/checkout/sessions
"""

from __future__ import annotations

import stripe.params.checkout as pc

from . import customers, payment_methods, subscriptions
from .errors import invalid
from .fields import completed
from .lookup import find, find_customer
from .parameters import Params
from .routes import Page, in_range, merge_metadata, page, route
from .tables import Json
from .world import World

DAY = 86_400


@route("POST", "/v1/checkout/sessions", pc.SessionCreateParams, "checkout.session")
def create_checkout_session(world: World, params: Params) -> Json:
    if params.get("mode") != "subscription":
        raise invalid("The simulator supports subscriptions only: pass mode=subscription.", "mode")
    if not params.get("line_items"):
        raise invalid("Missing required param: line_items.", "line_items", "parameter_missing")
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise invalid(
            "The simulator supports hosted pages only: pass ui_mode=hosted_page.", "ui_mode"
        )
    if "success_url" not in params:
        raise invalid("Missing required param: success_url.", "success_url", "parameter_missing")
    if "customer" in params and "customer_email" in params:
        raise invalid("You may only specify one of these parameters: customer, customer_email.")
    customer = params.get("customer")
    if customer is not None:
        find_customer(world, customer, "customer")
    lines = [_line(world, each, index) for index, each in enumerate(params["line_items"])]
    total = sum(line["amount_total"] for line in lines)
    with world.changing():
        id = world.id("checkout.session", 58)
        secret = world.token(40)
        return world.save(
            {
                "id": id,
                "object": "checkout.session",
                "_line_items": lines,
                "_secret": secret,
                "_subscription_data": params.get("subscription_data", {}),
                "adaptive_pricing": {"enabled": False},
                "allow_promotion_codes": params.get("allow_promotion_codes"),
                "amount_subtotal": total,
                "amount_total": total,
                "automatic_tax": {"enabled": False},
                "billing_address_collection": params.get("billing_address_collection"),
                "cancel_url": params.get("cancel_url"),
                "client_reference_id": params.get("client_reference_id"),
                "created": world.now(),
                "currency": lines[0]["currency"],
                "custom_fields": [],
                "custom_text": {},
                "customer": customer,
                "customer_creation": None if customer else "always",
                "customer_email": params.get("customer_email"),
                "discounts": [],
                "expires_at": params.get("expires_at", world.now() + DAY),
                "livemode": world.livemode,
                "locale": params.get("locale"),
                "metadata": merge_metadata(None, params.get("metadata")),
                "mode": "subscription",
                "payment_method_collection": params.get("payment_method_collection", "always"),
                "payment_method_types": ["card"],
                "payment_status": "unpaid",
                "phone_number_collection": {"enabled": False},
                "shipping_options": [],
                "status": "open",
                "success_url": params["success_url"],
                "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
                "ui_mode": "hosted_page",
                "url": f"{world.caller.base_url}/c/pay/{secret}",
            }
        )


def _line(world: World, wanted: Params, index: int) -> Json:
    param = f"line_items[{index}][price]"
    if "price" not in wanted:
        raise invalid(f"Missing required param: {param}.", param, "parameter_missing")
    price = find(world, "price", wanted["price"], "price", param)
    product = world.tables.peek("product", price["product"])
    quantity = wanted.get("quantity", 1)
    amount = (price["unit_amount"] or 0) * quantity
    return completed(
        {
            "id": world.id("item"),
            "object": "item",
            "amount_discount": 0,
            "amount_subtotal": amount,
            "amount_tax": 0,
            "amount_total": amount,
            "currency": price["currency"],
            "description": (product or {}).get("name"),
            "price": price,
            "quantity": quantity,
        }
    )


def complete(world: World, id: str, card: Params, email: str | None) -> Json:
    """Complete a session as the hosted page does: create the customer, card and subscription.

    Raises the 402 of a refused card and leaves the session open.
    """
    session = find(world, "checkout.session", id, "checkout session")
    if session["status"] != "open":
        raise invalid(f"This session is {session['status']}.")
    with world.changing():
        if session["customer"] is None:
            made = customers.create_customer(
                world, {"email": email or session["customer_email"] or "customer@example.com"}
            )
            session["customer"] = made["id"]
        customer = find_customer(world, session["customer"])
        method = payment_methods.new_card(
            world, card["number"], card["exp_month"], card["exp_year"]
        )
        world.save({**method, "customer": customer["id"]}, "payment_method.attached")
        data = session["_subscription_data"]
        subscription: Json = subscriptions.create_subscription(
            world,
            {
                "customer": customer["id"],
                "items": [
                    {"price": line["price"]["id"], "quantity": line["quantity"]}
                    for line in session["_line_items"]
                ],
                "default_payment_method": method["id"],
                "payment_behavior": "error_if_incomplete",
                **{
                    name: data[name]
                    for name in ("metadata", "trial_period_days", "trial_end", "description")
                    if name in data
                },
            },
        )
        session["status"] = "complete"
        session["subscription"] = subscription["id"]
        session["invoice"] = subscription["latest_invoice"]
        trialing = subscription["status"] == "trialing"
        session["payment_status"] = "no_payment_required" if trialing else "paid"
        session["customer_details"] = {
            "address": None,
            "business_name": None,
            "email": customer["email"],
            "individual_name": None,
            "name": customer["name"],
            "phone": customer["phone"],
            "tax_exempt": "none",
            "tax_ids": [],
        }
        session["url"] = None
        # Stripe sends the completed event only, not an update.
        return world.save(session, "checkout.session.completed")


@route("GET", "/v1/checkout/sessions/{id}", pc.SessionRetrieveParams, "checkout.session")
def retrieve_checkout_session(world: World, params: Params, id: str) -> Json:
    return find(world, "checkout.session", id, "checkout session")


@route("POST", "/v1/checkout/sessions/{id}/expire", pc.SessionExpireParams, "checkout.session")
def expire_checkout_session(world: World, params: Params, id: str) -> Json:
    session = find(world, "checkout.session", id, "checkout session")
    if session["status"] != "open":
        raise invalid(f'Only Checkout Sessions with a status in ["open"] can be expired: {id}')
    return world.save({**session, "status": "expired", "url": None}, "checkout.session.expired")


@route("GET", "/v1/checkout/sessions", pc.SessionListParams, "checkout.session", listing=True)
def list_checkout_sessions(world: World, params: Params) -> Page:
    found = [
        session
        for session in world.tables.all("checkout.session")
        if params.get("customer", session["customer"]) == session["customer"]
        and params.get("subscription", session["subscription"]) == session["subscription"]
        and params.get("status", session["status"]) == session["status"]
        and in_range(session["created"], params.get("created"))
    ]
    return page(found, params, "/v1/checkout/sessions")


@route(
    "GET",
    "/v1/checkout/sessions/{id}/line_items",
    pc.SessionLineItemListParams,
    "item",
    listing=True,
)
def list_line_items(world: World, params: Params, id: str) -> Page:
    session = find(world, "checkout.session", id, "checkout session")
    return page(session["_line_items"], params, f"/v1/checkout/sessions/{id}/line_items")
