"""Customers and their tax ids."""

from __future__ import annotations

import stripe.params as p

from . import lifecycle, payment_methods, sources
from .errors import invalid, no_such
from .fields import completed
from .lookup import find, find_customer
from .parameters import Params
from .routes import Page, SearchResult, in_range, merge_metadata, page, route, unset_empty
from .search import search
from .tables import Json
from .world import World

_PLAIN = (
    "address",
    "business_name",
    "description",
    "email",
    "individual_name",
    "name",
    "phone",
    "tax_exempt",
)
_COUNTRY_OF = {"eu_vat": lambda value: value[:2].upper()}


@route("POST", "/v1/customers", p.CustomerCreateParams, "customer")
def create_customer(world: World, params: Params) -> Json:
    id = world.id("customer")
    clock = params.get("test_clock")
    if clock is not None:
        find(world, "test_helpers.test_clock", clock, "test clock", "test_clock")
    customer: Json = completed(
        {
            "id": id,
            "object": "customer",
            "address": None,
            "balance": params.get("balance", 0),
            "created": world.now(),
            "currency": None,
            "delinquent": False,
            "discount": None,
            "invoice_prefix": params.get("invoice_prefix") or world.token(8).upper(),
            "invoice_settings": {},
            "livemode": world.livemode,
            "metadata": merge_metadata(None, params.get("metadata")),
            "name": None,
            "next_invoice_sequence": params.get("next_invoice_sequence", 1),
            "phone": None,
            "preferred_locales": params.get("preferred_locales", []),
            "shipping": unset_empty(params.get("shipping")),
            "tax_exempt": "none",
            "test_clock": clock,
        }
    )
    with world.changing():
        _set_plain(customer, params)
        world.save(customer, "customer.created")
        if "payment_method" in params:
            payment_methods.attach_to(world, params["payment_method"], id, "payment_method")
        if "source" in params:
            customer["default_source"] = sources.attach(world, params["source"], id)["id"]
        _set_invoice_settings(world, customer, params)
        for wanted in params.get("tax_id_data", []):
            _add_tax_id(world, id, wanted)
        return world.save(customer)


def _set_plain(customer: Json, params: Params) -> None:
    for name in _PLAIN:
        if name in params:
            customer[name] = unset_empty(params[name])
    if customer.get("address"):
        empty = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
        customer["address"] = {**empty, **customer["address"]}
    customer["tax_exempt"] = customer["tax_exempt"] or "none"


def _set_invoice_settings(world: World, customer: Json, params: Params) -> None:
    settings = params.get("invoice_settings", {})
    if "default_payment_method" in settings:
        wanted = unset_empty(settings["default_payment_method"])
        own = payment_methods.attached(world, customer["id"], wanted) if wanted else None
        if wanted and own is None:
            raise no_such("PaymentMethod", wanted, "invoice_settings[default_payment_method]")
        customer["invoice_settings"]["default_payment_method"] = own
    if "footer" in settings:
        customer["invoice_settings"]["footer"] = settings["footer"]


@route("GET", "/v1/customers/search", p.CustomerSearchParams, "customer", listing=True)
def search_customers(world: World, params: Params) -> SearchResult:
    there = [each for each in world.tables.all("customer") if not each.get("deleted")]
    return search(there, params, ("email", "name", "phone"), "/v1/customers/search")


@route("GET", "/v1/customers/{id}", p.CustomerRetrieveParams, "customer")
def retrieve_customer(world: World, params: Params, id: str) -> Json:
    return find(world, "customer", id, "customer")


@route("POST", "/v1/customers/{id}", p.CustomerUpdateParams, "customer")
def update_customer(world: World, params: Params, id: str) -> Json:
    customer = find_customer(world, id)
    with world.changing():
        _set_plain(customer, params)
        if "source" in params:
            customer["default_source"] = sources.attach(world, params["source"], id)["id"]
        elif "default_source" in params:
            sources.owned(world, id, params["default_source"], "default_source")
            customer["default_source"] = params["default_source"]
        _set_invoice_settings(world, customer, params)
        for name in ("balance", "preferred_locales", "invoice_prefix", "next_invoice_sequence"):
            if name in params:
                customer[name] = params[name]
        if "shipping" in params:
            customer["shipping"] = unset_empty(params["shipping"])
        customer["metadata"] = merge_metadata(customer["metadata"], params.get("metadata"))
        return world.save(customer, "customer.updated")


@route("DELETE", "/v1/customers/{id}", p.CustomerDeleteParams, "customer")
def delete_customer(world: World, params: Params, id: str) -> Json:
    """Cancel the subscriptions at once. A later `retrieve` returns the deleted stub with a 200."""
    customer = find_customer(world, id)
    with world.changing():
        for subscription in world.tables.all("subscription", customer=id):
            if subscription["status"] not in lifecycle.ENDED:
                lifecycle.cancel(world, subscription["id"])
        for tax_id in world.tables.all("tax_id", customer=id):
            world.remove("tax_id", tax_id["id"])
        for method in world.tables.all("payment_method", customer=id):
            world.save({**method, "customer": None})
        for source in sources.of_customer(world, id):
            world.remove(source["object"], source["id"])
        stub = {"id": id, "object": "customer", "deleted": True}
        world.save(stub)
        world.emit(
            "customer.deleted",
            {key: part for key, part in customer.items() if not key.startswith("_")},
        )
    return stub


@route("GET", "/v1/customers", p.CustomerListParams, "customer", listing=True)
def list_customers(world: World, params: Params) -> Page:
    email = params.get("email")
    found = [
        customer
        for customer in world.tables.all("customer")
        if not customer.get("deleted")
        and customer["test_clock"] == params.get("test_clock")
        and (email is None or customer["email"] == email)
        and in_range(customer["created"], params.get("created"))
    ]
    return page(found, params, "/v1/customers")


# Tax ids


def _add_tax_id(world: World, customer: str, params: Params) -> Json:
    kind, value = params["type"], params["value"]
    country = _COUNTRY_OF[kind](value) if kind in _COUNTRY_OF else kind[:2].upper()
    if not value.strip() or (kind == "eu_vat" and len(value) < 8):
        raise invalid(f"Invalid value for {kind}.", "value", "tax_id_invalid")
    return world.save(
        {
            "id": world.id("tax_id"),
            "object": "tax_id",
            "country": country,
            "created": world.now(),
            "customer": customer,
            "livemode": world.livemode,
            "owner": {"customer": customer, "type": "customer"},
            "type": kind,
            "value": value,
            "verification": {"status": "pending"},
        },
        "customer.tax_id.created",
    )


def _tax_id(world: World, customer: str, id: str) -> Json:
    found = find(world, "tax_id", id, "tax ID")
    if found["customer"] != customer:
        raise no_such("tax ID", id)
    return found


@route("POST", "/v1/customers/{customer}/tax_ids", p.CustomerTaxIdCreateParams, "tax_id")
def create_tax_id(world: World, params: Params, customer: str) -> Json:
    find_customer(world, customer)
    return _add_tax_id(world, customer, params)


@route("GET", "/v1/customers/{customer}/tax_ids/{id}", p.CustomerTaxIdRetrieveParams, "tax_id")
def retrieve_tax_id(world: World, params: Params, customer: str, id: str) -> Json:
    return _tax_id(world, customer, id)


@route("DELETE", "/v1/customers/{customer}/tax_ids/{id}", p.CustomerTaxIdDeleteParams, "tax_id")
def delete_tax_id(world: World, params: Params, customer: str, id: str) -> Json:
    _tax_id(world, customer, id)
    return world.remove("tax_id", id, "customer.tax_id.deleted")


@route(
    "GET",
    "/v1/customers/{customer}/tax_ids",
    p.CustomerTaxIdListParams,
    "tax_id",
    listing=True,
)
def list_tax_ids(world: World, params: Params, customer: str) -> Page:
    find_customer(world, customer)
    found = world.tables.all("tax_id", customer=customer)
    return page(found, params, f"/v1/customers/{customer}/tax_ids")
