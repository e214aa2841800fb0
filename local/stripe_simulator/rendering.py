"""Stripe's JSON for stored objects: embedded lists and `expand`.

https://docs.stripe.com/api/expanding_objects
"""

from __future__ import annotations

from typing import Any

from stripe._stripe_object import StripeObject

from . import library
from .errors import invalid
from .fields import completed
from .tables import Json, Tables

MAX_EMBEDDED = 10  # elements of an embedded list
MAX_EXPAND_LEVELS = 4

# What an object has only when `expand` requests it.
INCLUDABLE = {
    ("customer", "subscriptions"),
    ("customer", "tax_ids"),
    ("checkout.session", "line_items"),
    ("invoice", "confirmation_secret"),
    ("invoice", "payments"),
}


def render(tables: Tables, value: Json) -> Json:
    """Return the shape in the newest API version, without expansions."""
    shape = {key: part for key, part in value.items() if not key.startswith("_")}
    if value.get("deleted"):
        return shape
    kind = value.get("object")
    if kind == "subscription":
        items = [_item(tables, item) for item in value["items"]]
        shape["items"] = listed(items, f"/v1/subscription_items?subscription={value['id']}")
    elif kind == "subscription_item":
        shape = _item(tables, value)
    elif kind == "product_feature":
        feature = tables.peek("entitlements.feature", value["entitlement_feature"])
        assert feature is not None
        shape["entitlement_feature"] = render(tables, feature)
    elif kind == "invoice":
        shape["lines"] = listed(value["lines"], f"/v1/invoices/{value['id']}/lines")
    return shape


def listed(values: list[Json], url: str, limit: int = MAX_EMBEDDED) -> Json:
    return {
        "object": "list",
        "data": values[:limit],
        "has_more": len(values) > limit,
        "url": url,
    }


def _item(tables: Tables, item: Json) -> Json:
    price = tables.peek("price", item["price"])
    assert price is not None
    shape = {key: part for key, part in item.items() if not key.startswith("_")}
    shape["price"] = render(tables, price)
    shape["plan"] = plan(price)
    return shape


def plan(price: Json) -> Json:
    """Return a recurring price in the shape that it had before there were prices."""
    recurring = price["recurring"]
    return completed(
        {
            "id": price["id"],
            "object": "plan",
            "active": price["active"],
            "amount": price["unit_amount"],
            "amount_decimal": price["unit_amount_decimal"],
            "billing_scheme": price["billing_scheme"],
            "created": price["created"],
            "currency": price["currency"],
            "interval": recurring["interval"],
            "interval_count": recurring["interval_count"],
            "livemode": price["livemode"],
            "metadata": price["metadata"],
            "meter": recurring["meter"],
            "nickname": price["nickname"],
            "product": price["product"],
            "tiers_mode": price["tiers_mode"],
            "trial_period_days": recurring["trial_period_days"],
            "usage_type": recurring["usage_type"],
        }
    )


def check_expand(returns: str, paths: list[str], *, listing: bool) -> None:
    """Raise a 400 for a path that the object (with `listing`, a list's elements) cannot expand."""
    for path in paths:
        segments = path.split(".")
        if len(segments) > MAX_EXPAND_LEVELS:
            raise invalid(
                f"You cannot expand more than {MAX_EXPAND_LEVELS} levels of a property. "
                f"Property: {path}",
                "expand",
            )
        rest = segments
        if listing:
            if segments[0] != "data" or len(segments) == 1:
                raise _not_expandable(path, ". You may want to try expanding 'data." + path + "'.")
            rest = segments[1:]
        cls = library.object_class(returns)
        if cls is None or not _can_expand([cls], rest):
            raise _not_expandable(path, ".")


def _not_expandable(path: str, tail: str) -> Exception:
    return invalid(f"This property cannot be expanded ({path}){tail}", "expand")


def _can_expand(owners: list[type[StripeObject]], segments: list[str]) -> bool:
    return any(_can_expand_in(owner, segments[0], segments[1:]) for owner in owners)


def _can_expand_in(owner: type[StripeObject], name: str, rest: list[str]) -> bool:
    annotation = library.fields(owner).get(name)
    if annotation is None:
        return False
    if not rest and (getattr(owner, "OBJECT_NAME", ""), name) in INCLUDABLE:
        return True
    element = library.list_element(annotation)
    if element is None:
        if not rest:
            return library.is_expandable(annotation)
        return _can_expand(library.object_members(annotation), rest)
    inner = library.object_members(element)
    if library.is_list_object(annotation):
        return bool(rest) and rest[0] == "data" and len(rest) > 1 and _can_expand(inner, rest[1:])
    return _can_expand(inner, rest) if rest else library.is_expandable(element)


def expand(tables: Tables, shape: Json, paths: list[str]) -> Json:
    """Return a copy of the shape with `paths` expanded. `check_expand` has accepted them."""
    for path in paths:
        shape = _expand(tables, shape, path.split("."))
    return shape


def _expand(tables: Tables, value: Any, segments: list[str]) -> Any:
    if isinstance(value, list):
        return [_expand(tables, element, segments) for element in value]
    if not isinstance(value, dict) or not segments:
        return value
    name, rest = segments[0], segments[1:]
    expanded = dict(value)
    includable = (value.get("object"), name) in INCLUDABLE
    if includable and name not in value and not value.get("deleted"):
        expanded[name] = _include(tables, value, name)
    found = expanded.get(name)
    if isinstance(found, str):
        found = _lookup(tables, found)
    elif isinstance(found, list):
        found = [_lookup(tables, part) if isinstance(part, str) else part for part in found]
    if name in expanded:
        expanded[name] = _expand(tables, found, rest)
    return expanded


def _include(tables: Tables, owner: Json, name: str) -> Json | None:
    id = owner["id"]
    if name == "subscriptions":
        current = [
            subscription
            for subscription in tables.all("subscription", customer=id)
            if subscription["status"] not in ("canceled", "incomplete_expired")
        ]
        shapes = [render(tables, subscription) for subscription in current[: MAX_EMBEDDED + 1]]
        return listed(shapes, f"/v1/customers/{id}/subscriptions")
    if name == "tax_ids":
        shapes = [render(tables, tax_id) for tax_id in tables.all("tax_id", customer=id)]
        return listed(shapes, f"/v1/customers/{id}/tax_ids")
    if owner["object"] == "invoice":
        payments = tables.all("invoice_payment", invoice=id)
        if name == "payments":
            shapes = [render(tables, payment) for payment in payments]
            return listed(shapes, f"/v1/invoice_payments?invoice={id}")
        for payment in payments:
            secret = f"{payment['payment']['payment_intent']}_secret_{payment['_secret']}"
            return {"client_secret": secret, "type": "payment_intent"}
        return None
    stored = tables.peek("checkout.session", id)
    assert stored is not None
    return listed(stored["_line_items"], f"/v1/checkout/sessions/{id}/line_items")


_KIND_OF_PREFIX = {
    "cus": "customer",
    "sub": "subscription",
    "prod": "product",
    "price": "price",
    "feat": "entitlements.feature",
    "pm": "payment_method",
    "card": "card",
    "ba": "bank_account",
    "src": "source",
    "in": "invoice",
    "inpay": "invoice_payment",
    "bpc": "billing_portal.configuration",
    "di": "discount",
    "promo": "promotion_code",
    "txi": "tax_id",
    "clock": "test_helpers.test_clock",
}


def _lookup(tables: Tables, id: str) -> Any:
    kind = _KIND_OF_PREFIX.get(id.split("_", 1)[0], "")
    stored = tables.peek(kind, id) or tables.peek("coupon", id) or tables.peek("product", id)
    return render(tables, stored) if stored is not None else id


def found(tables: Tables, kind: str, id: str) -> Any:
    """Return the shape of an object, or its id if it has been deleted."""
    stored = tables.peek(kind, id)
    return render(tables, stored) if stored is not None else id
