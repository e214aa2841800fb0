"""Payment methods: create, attach, detach, update and charge.

https://docs.stripe.com/testing lists the numbers and the `pm_card_…` tokens.
"""

from __future__ import annotations

import hashlib

import stripe.params as p

from . import bank_debits
from .errors import StripeError, invalid, no_such
from .fields import completed
from .lookup import find, find_customer
from .parameters import Params
from .routes import Page, merge_metadata, page, route, unset_empty
from .tables import Json
from .world import World

# The objects that can be a legacy source.
SOURCES = ("card", "bank_account", "source")

SUCCEED, FAIL, REQUIRES_ACTION = "succeed", "fail", "requires_action"

# The brand of a number, and the outcome of a charge.
CARDS = {
    "4242424242424242": ("visa", SUCCEED),
    "5555555555554444": ("mastercard", SUCCEED),
    "378282246310005": ("amex", SUCCEED),
    "4000000000000341": ("visa", FAIL),
    "4000002760003184": ("visa", REQUIRES_ACTION),
    "4000002500003155": ("visa", REQUIRES_ACTION),
}

# Numbers that cannot be saved.
REFUSED = {"4000000000000002": "Your card was declined."}

TOKENS = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_amex": "378282246310005",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_authenticationRequired": "4000002760003184",
}


def charge(world: World, customer: Json, subscription: Json | None = None) -> str | None:
    """Return the outcome of a charge now, or None without a payment method."""
    method = charged(world, customer, subscription)
    if method is None:
        return None
    return world.payments.get(customer["id"]) or str(method["_outcome"])


def charged(world: World, customer: Json, subscription: Json | None = None) -> Json | None:
    """Return the payment method or legacy source that Stripe charges, in Stripe's order."""
    own = subscription or {}
    for id in (
        own.get("default_payment_method"),
        own.get("default_source"),
        customer["invoice_settings"]["default_payment_method"],
        customer["default_source"],
    ):
        for kind in ("payment_method", *SOURCES):
            if id is not None and (found := world.tables.peek(kind, id)):
                return found
    return None


def new_card(world: World, number: str, exp_month: int, exp_year: int) -> Json:
    """Return a payment method without a customer. Raises the 402 of a refused number."""
    digits = number.replace(" ", "")
    if digits in REFUSED:
        raise StripeError(402, REFUSED[digits], type="card_error", code="card_declined")
    if digits not in CARDS:
        raise StripeError(
            402,
            "Your card number is incorrect.",
            type="card_error",
            code="incorrect_number",
            param="number",
        )
    if not 1 <= exp_month <= 12:
        raise StripeError(
            402,
            "Your card's expiration month is invalid.",
            type="card_error",
            code="invalid_expiry_month",
            param="exp_month",
        )
    brand, outcome = CARDS[digits]
    details = {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}
    return completed(
        {
            "id": world.id("payment_method"),
            "object": "payment_method",
            "_outcome": outcome,
            "allow_redisplay": "unspecified",
            "billing_details": details,
            "card": {
                "brand": brand,
                "checks": {
                    "address_line1_check": None,
                    "address_postal_code_check": None,
                    "cvc_check": "pass",
                },
                "country": "US",
                "display_brand": brand,
                "exp_month": exp_month,
                "exp_year": exp_year if exp_year > 99 else 2000 + exp_year,
                "fingerprint": hashlib.sha256(digits.encode()).hexdigest()[:16],
                "funding": "credit",
                "last4": digits[-4:],
                "networks": {"available": [brand], "preferred": None},
                "regulated_status": "unregulated",
                "three_d_secure_usage": {"supported": True},
            },
            "created": world.now(),
            "livemode": world.livemode,
            "metadata": {},
            "type": "card",
        }
    )


def _find(world: World, id: str, param: str = "id") -> Json:
    """Return the payment method. A test token stands for a new one each time."""
    made = None if world.livemode else _from_token(world, id)
    return made or find(world, "payment_method", id, "PaymentMethod", param)


def _from_token(world: World, token: str) -> Json | None:
    if token in bank_debits.TOKENS:
        type, numbers = bank_debits.TOKENS[token]
        return bank_debits.unsaved(world, type, numbers[type])
    return new_card(world, TOKENS[token], 12, 2034) if token in TOKENS else None


def attached(world: World, customer: str, wanted: str) -> str | None:
    """Return the id of the customer's own payment method, or None.

    A test token names the newest one of the same account or card.
    """
    methods = world.tables.all("payment_method", customer=customer)
    like = None if world.livemode else _from_token(world, wanted)
    for method in methods:
        if method["id"] == wanted or (like and _account(method) == _account(like)):
            return str(method["id"])
    return None


def _account(method: Json) -> tuple[str, str]:
    return method["type"], method[method["type"]]["fingerprint"]


def attach_to(world: World, id: str, customer: str, param: str = "id") -> Json:
    """Attach the payment method to the customer and return it."""
    method = _find(world, id, param)
    if method["customer"] == customer:
        return method
    if method["customer"] is not None:
        raise invalid("The payment method you provided has already been attached to a customer.")
    method["customer"] = customer
    return world.save(method, "payment_method.attached")


@route("POST", "/v1/payment_methods", p.PaymentMethodCreateParams, "payment_method")
def create_payment_method(world: World, params: Params) -> Json:
    type = params.get("type")
    if type not in ("card", *bank_debits.GOOD) or type not in params:
        known = ", ".join(("card", *bank_debits.GOOD))
        raise invalid(f"Pass the type, one of {known}, and its details.", "type")
    billing = {key: unset_empty(part) for key, part in params.get("billing_details", {}).items()}
    if type == "card":
        made = _card(world, params["card"])
    else:
        made = bank_debits.unsaved(world, type, bank_debits.number_of(type, params[type]))
    made["billing_details"].update(billing)
    made["metadata"] = merge_metadata(None, params.get("metadata"))
    return world.save(made)


def _card(world: World, card: Params) -> Json:
    if "token" in card:
        number = {"tok_visa": "4242424242424242"}.get(card["token"])
        if number is None:
            raise no_such("token", card["token"], "card[token]")
        card = {"number": number, "exp_month": 12, "exp_year": 2034}
    for name in ("number", "exp_month", "exp_year"):
        if name not in card:
            raise invalid(f"Missing required param: card[{name}].", f"card[{name}]")
    return new_card(world, card["number"], card["exp_month"], card["exp_year"])


@route("GET", "/v1/payment_methods/{id}", p.PaymentMethodRetrieveParams, "payment_method")
def retrieve_payment_method(world: World, params: Params, id: str) -> Json:
    return _find(world, id)


@route("POST", "/v1/payment_methods/{id}", p.PaymentMethodUpdateParams, "payment_method")
def update_payment_method(world: World, params: Params, id: str) -> Json:
    method = _find(world, id)
    if "card" in params and method["type"] != "card":
        raise invalid("You cannot update the card of another type of payment method.", "card")
    for name in ("exp_month", "exp_year"):
        if name in params.get("card", {}):
            method["card"][name] = params["card"][name]
    for name, value in params.get("billing_details", {}).items():
        method["billing_details"][name] = unset_empty(value)
    method["metadata"] = merge_metadata(method["metadata"], params.get("metadata"))
    return world.save(method, "payment_method.updated")


@route("POST", "/v1/payment_methods/{id}/attach", p.PaymentMethodAttachParams, "payment_method")
def attach_payment_method(world: World, params: Params, id: str) -> Json:
    if "customer" not in params:
        raise invalid("Missing required param: customer.", "customer", "parameter_missing")
    find_customer(world, params["customer"], "customer")
    return attach_to(world, id, params["customer"])


@route("POST", "/v1/payment_methods/{id}/detach", p.PaymentMethodDetachParams, "payment_method")
def detach_payment_method(world: World, params: Params, id: str) -> Json:
    method = _find(world, id)
    if method["customer"] is None:
        raise invalid(
            "The payment method you provided is not attached to a customer so detachment is "
            "impossible."
        )
    with world.changing():
        owner = world.tables.draft("customer", method["customer"])
        detached = world.save({**method, "customer": None})
        world.emit(
            "payment_method.detached",
            {key: part for key, part in detached.items() if not key.startswith("_")},
            {"customer": method["customer"]},
        )
        settings = (owner or {}).get("invoice_settings", {})
        if owner is not None and settings.get("default_payment_method") == id:
            settings["default_payment_method"] = None
            world.save(owner, "customer.updated")
    return detached


def _of_customer(world: World, customer: str, params: Params, url: str) -> Page:
    found = [
        method
        for method in world.tables.all("payment_method", customer=customer)
        if params.get("type", method["type"]) == method["type"]
    ]
    return page(found, params, url)


@route("GET", "/v1/payment_methods", p.PaymentMethodListParams, "payment_method", listing=True)
def list_payment_methods(world: World, params: Params) -> Page:
    if "customer" not in params:
        return page([], params, "/v1/payment_methods")
    find(world, "customer", params["customer"], "customer", "customer")
    return _of_customer(world, params["customer"], params, "/v1/payment_methods")


@route(
    "GET",
    "/v1/customers/{customer}/payment_methods",
    p.CustomerPaymentMethodListParams,
    "payment_method",
    listing=True,
)
def list_customer_payment_methods(world: World, params: Params, customer: str) -> Page:
    find(world, "customer", customer, "customer")
    return _of_customer(world, customer, params, f"/v1/customers/{customer}/payment_methods")
