"""What is for sale: as the table stores it, and as `GET /catalog` answers it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from billing.schemas import object_schema
from billing.stripe_objects import StripeObject

Json = dict[str, Any]

#: The body of `GET /catalog`.
CATALOG_SCHEMA = object_schema(
    "What checkout sells.",
    products={
        "type": "array",
        "items": object_schema(
            "A product.",
            id={"type": "string"},
            name={"type": "string"},
            description={"type": ["string", "null"]},
            prices={
                "type": "array",
                "items": object_schema(
                    "A price of the product.",
                    id={"type": "string"},
                    lookup_key={"type": ["string", "null"]},
                    currency={"type": "string", "description": "ISO 4217, lower case"},
                    unit_amount={
                        "type": ["integer", "null"],
                        "description": "In the currency's smallest unit; null where it has tiers",
                    },
                    interval={"enum": ["day", "week", "month", "year"]},
                    interval_count={"type": "integer", "minimum": 1},
                ),
            },
            features={
                "type": "array",
                "items": object_schema(
                    "A feature of the product.",
                    lookup_key={"type": "string"},
                    name={"type": "string"},
                ),
            },
        ),
    },
)


def content(prices: Sequence[StripeObject], features: Mapping[str, Sequence[StripeObject]]) -> Json:
    """The catalog's document: products in the order of their first price.

    `prices` are Stripe's, active, each with its product expanded; `features` are the features
    attached to each product, by its id. A price that no subscription can use is left out.
    """
    products: dict[str, Json] = {}
    for price in prices:
        product, recurring = price["product"], price.get("recurring")
        if recurring is None or product.get("deleted") or not product["active"]:
            continue
        entry = products.setdefault(
            product["id"],
            {
                "id": product["id"],
                "name": product["name"],
                "description": product.get("description"),
                "prices": [],
                "features": [
                    {
                        "lookup_key": attached["entitlement_feature"]["lookup_key"],
                        "name": attached["entitlement_feature"]["name"],
                    }
                    for attached in features.get(product["id"], ())
                ],
            },
        )
        entry["prices"].append(
            {
                "id": price["id"],
                "lookup_key": price.get("lookup_key"),
                "currency": price["currency"],
                "unit_amount": price.get("unit_amount"),
                "interval": recurring["interval"],
                "interval_count": recurring["interval_count"],
            }
        )
    return {"products": list(products.values())}


def response(document: Mapping[str, Any], allowed: Collection[str]) -> Json:
    """The body of `GET /catalog`: the prices of the document whose lookup key or id is `allowed`.

    `unit_amount` is in the currency's smallest unit, null where the price has tiers.
    """
    products = []
    for product in document.get("products", ()):
        prices = [
            # DynamoDB returns numbers as decimals.
            {**price, **{name: _int(price[name]) for name in ("unit_amount", "interval_count")}}
            for price in product["prices"]
            if is_allowed(price, allowed)
        ]
        if prices:
            products.append({**product, "prices": prices})
    return {"products": products}


def is_allowed(price: Mapping[str, Any], allowed: Collection[str]) -> bool:
    """Whether the price is on the list, by its lookup key or its id."""
    return price["id"] in allowed or price.get("lookup_key") in allowed


def features_of(document: Mapping[str, Any], products: Iterable[str]) -> set[str]:
    """Lookup keys of the features that the document lists for these products (ids)."""
    wanted = set(products)
    return {
        feature["lookup_key"]
        for product in document.get("products", ())
        if product["id"] in wanted
        for feature in product["features"]
    }


def _int(value: Any) -> int | None:
    return None if value is None else int(value)
