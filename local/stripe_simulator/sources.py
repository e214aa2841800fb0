"""Legacy sources of a customer: cards, bank accounts and Source objects.

Payment methods have replaced them, but old customers still have them. Here a Source is chargeable
as soon as it is created. https://docs.stripe.com/api/sources
"""

from __future__ import annotations

import hashlib

import stripe.params as p

from .errors import invalid, no_such
from .lookup import find, find_customer
from .parameters import Params
from .payment_methods import CARDS, SOURCES, SUCCEED
from .routes import Page, merge_metadata, page, route
from .tables import Json
from .world import World

# The card number of each test token. `btok_us_verified` is a verified bank account.
CARD_TOKENS = {
    "tok_visa": "4242424242424242",
    "tok_mastercard": "5555555555554444",
    "tok_chargeCustomerFail": "4000000000000341",
}
BANK_TOKEN = "btok_us_verified"

_DETAILS: dict[str, Json] = {
    "sepa_debit": {
        "bank_code": "19043",
        "branch_code": "",
        "country": "AT",
        "fingerprint": "jZ6Cz7XtIJWhtYLM",
        "last4": "3201",
        "mandate_reference": "NXDSYREGC9PSMKWY",
        "mandate_url": "https://hooks.stripe.com/adapter/sepa_debit/file/src_1/mandate",
    },
    "ach_credit_transfer": {
        "account_number": "test_52796e3294dc",
        "bank_name": "TEST BANK",
        "fingerprint": "ecpwEzmBOSMOqQTL",
        "refund_account_holder_name": None,
        "refund_account_holder_type": None,
        "refund_routing_number": None,
        "routing_number": "110000000",
        "swift_code": "TSTEZ122",
    },
    "ach_debit": {
        "bank_name": "STRIPE TEST BANK",
        "country": "US",
        "fingerprint": "1JWtPxqbdX5Gamtc",
        "last4": "6789",
        "routing_number": "110000000",
        "type": "individual",
    },
}


def _card(world: World, number: str, customer: str) -> Json:
    brand, outcome = CARDS[number]
    return {
        "id": world.id("card"),
        "object": "card",
        "_outcome": outcome,
        "allow_redisplay": "unspecified",
        "brand": {"visa": "Visa", "mastercard": "MasterCard"}[brand],
        "country": "US",
        "customer": customer,
        "cvc_check": "pass",
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": hashlib.sha256(number.encode()).hexdigest()[:16],
        "funding": "credit",
        "last4": number[-4:],
        "metadata": {},
        "regulated_status": "unregulated",
    }


def _bank_account(world: World, customer: str) -> Json:
    return {
        "id": world.id("bank_account"),
        "object": "bank_account",
        "_outcome": SUCCEED,
        "account_holder_name": "Ada",
        "account_holder_type": "individual",
        "bank_name": "STRIPE TEST BANK",
        "country": "US",
        "currency": "usd",
        "customer": customer,
        "fingerprint": "1JWtPxqbdX5Gamtc",
        "last4": "6789",
        "metadata": {},
        "routing_number": "110000000",
        "status": "verified",
    }


@route("POST", "/v1/sources", p.SourceCreateParams, "source")
def create_source(world: World, params: Params) -> Json:
    type = params.get("type")
    if type not in _DETAILS:
        raise invalid(f"The simulator has sources of the types {', '.join(_DETAILS)}.", "type")
    owner = dict.fromkeys(("address", "email", "name", "phone"))
    return world.save(
        {
            "id": world.id("source"),
            "object": "source",
            "_outcome": SUCCEED,
            "allow_redisplay": "unspecified",
            "amount": params.get("amount"),
            "client_secret": f"src_client_secret_{world.token(24)}",
            "created": world.now(),
            "currency": params.get("currency"),
            "flow": "receiver" if type == "ach_credit_transfer" else "none",
            "livemode": world.livemode,
            "metadata": merge_metadata(None, params.get("metadata")),
            "owner": {
                **owner,
                **{f"verified_{name}": None for name in owner},
                **params.get("owner", {}),
            },
            "statement_descriptor": params.get("statement_descriptor"),
            "status": "chargeable",
            "type": type,
            "usage": params.get("usage", "reusable"),
            type: dict(_DETAILS[type]),
        }
    )


@route("GET", "/v1/sources/{id}", p.SourceRetrieveParams, "source")
def retrieve_source(world: World, params: Params, id: str) -> Json:
    return find(world, "source", id, "source")


def attach(world: World, token: str, customer: str) -> Json:
    """Attach the source that a token or the id of a Source names. Returns it."""
    if token in CARD_TOKENS:
        source = _card(world, CARD_TOKENS[token], customer)
    elif token == BANK_TOKEN:
        source = _bank_account(world, customer)
    else:
        source = {**find(world, "source", token, "source", "source"), "customer": customer}
    return world.save(source, "customer.source.created")


def of_customer(world: World, customer: str) -> list[Json]:
    return [each for kind in SOURCES for each in world.tables.all(kind, customer=customer)]


def owned(world: World, customer: str, id: str, param: str = "id") -> Json:
    """Return the customer's source. Raises Stripe's error if it has none of that id."""
    for source in of_customer(world, customer):
        if source["id"] == id:
            return source
    raise no_such("source", id, param)


@route("POST", "/v1/customers/{customer}/sources", p.CustomerPaymentSourceCreateParams, "source")
def create_customer_source(world: World, params: Params, customer: str) -> Json:
    """Attach a source. A customer's first source becomes its default."""
    owner = find_customer(world, customer)
    with world.changing():
        source = attach(world, params["source"], customer)
        if owner["default_source"] is None:
            world.save({**owner, "default_source": source["id"]}, "customer.updated")
    return source


@route(
    "GET",
    "/v1/customers/{customer}/sources",
    p.CustomerPaymentSourceListParams,
    "source",
    listing=True,
)
def list_customer_sources(world: World, params: Params, customer: str) -> Page:
    find_customer(world, customer)
    kind = params.get("object")
    found = [each for each in of_customer(world, customer) if kind in (None, each["object"])]
    return page(found, params, f"/v1/customers/{customer}/sources")


@route(
    "DELETE",
    "/v1/customers/{customer}/sources/{id}",
    p.CustomerPaymentSourceDeleteParams,
    "source",
)
def delete_customer_source(world: World, params: Params, customer: str, id: str) -> Json:
    """Remove a source. If it was the default, another one becomes the default."""
    owner = find_customer(world, customer)
    source = owned(world, customer, id)
    with world.changing():
        stub = world.remove(source["object"], id, "customer.source.deleted")
        if owner["default_source"] == id:
            left = [each["id"] for each in of_customer(world, customer)]
            world.save({**owner, "default_source": next(iter(left), None)}, "customer.updated")
    return stub
