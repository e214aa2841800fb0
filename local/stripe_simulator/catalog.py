"""Products and prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import stripe.params as p

from .errors import invalid
from .lookup import find
from .parameters import Params
from .rendering import render
from .routes import Page, in_range, merge_metadata, page, route, unset_empty
from .tables import Json
from .world import World

# Products


@route("POST", "/v1/products", p.ProductCreateParams, "product")
def create_product(world: World, params: Params) -> Json:
    id = params.get("id") or world.id("product")
    if world.tables.peek("product", id) is not None:
        raise invalid(f"Product already exists with ID '{id}'.", "id", "resource_already_exists")
    with world.changing():
        product = world.save(
            {
                "id": id,
                "object": "product",
                "active": params.get("active", True),
                "created": world.now(),
                "default_price": None,
                "description": params.get("description"),
                "images": params.get("images") or [],
                "livemode": world.livemode,
                "marketing_features": params.get("marketing_features") or [],
                "metadata": merge_metadata(None, params.get("metadata")),
                "name": params["name"],
                "shippable": params.get("shippable"),
                "statement_descriptor": params.get("statement_descriptor"),
                "tax_code": params.get("tax_code"),
                "type": params.get("type", "service"),
                "unit_label": params.get("unit_label"),
                "updated": world.now(),
                "url": params.get("url"),
            },
            "product.created",
        )
        if "default_price_data" in params:
            wanted = params["default_price_data"]
            price = create_price(world, {**wanted, "product": id})
            product = world.save(
                {**product, "default_price": price["id"]},
                "product.updated",
            )
    return product


@route("GET", "/v1/products/{id}", p.ProductRetrieveParams, "product")
def retrieve_product(world: World, params: Params, id: str) -> Json:
    return find(world, "product", id, "product")


@route("POST", "/v1/products/{id}", p.ProductUpdateParams, "product")
def update_product(world: World, params: Params, id: str) -> Json:
    product = find(world, "product", id, "product")
    if "default_price" in params:
        find(world, "price", params["default_price"], "price", "default_price")
    for name in (
        "active",
        "default_price",
        "description",
        "images",
        "marketing_features",
        "name",
        "shippable",
        "statement_descriptor",
        "tax_code",
        "unit_label",
        "url",
    ):
        if name in params:
            product[name] = unset_empty(params[name])
    product["images"] = product["images"] or []
    product["marketing_features"] = product["marketing_features"] or []
    product["metadata"] = merge_metadata(product["metadata"], params.get("metadata"))
    product["updated"] = world.now()
    return world.save(product, "product.updated")


@route("DELETE", "/v1/products/{id}", p.ProductDeleteParams, "product")
def delete_product(world: World, params: Params, id: str) -> Json:
    find(world, "product", id, "product")
    if world.tables.all("price", product=id):
        raise invalid(
            "This product cannot be deleted because it has one or more user-created prices.", "id"
        )
    return world.remove("product", id, "product.deleted")


def delete_with_prices(world: World, id: str) -> None:
    """Delete a product and its prices, even those that a subscription refers to.

    Stripe's API refuses a product that has prices, but deletes a price through its older name,
    `DELETE /v1/plans/{id}`. Subscriptions keep showing the price. The entitlements that the
    product gave stay until the subscription ends.
    """
    find(world, "product", id, "product")
    with world.changing():
        for price in world.tables.all("price", product=id):
            if not price.get("_deleted"):
                world.save({**price, "active": False, "_deleted": True})
                world.emit("price.deleted", render(world.tables, price))
        world.remove("product", id, "product.deleted")


@route("GET", "/v1/products", p.ProductListParams, "product", listing=True)
def list_products(world: World, params: Params) -> Page:
    wanted = params.get("ids")
    found = [
        product
        for product in world.tables.all("product")
        if (wanted is None or product["id"] in wanted)
        and params.get("active", product["active"]) == product["active"]
        and in_range(product["created"], params.get("created"))
    ]
    return page(found, params, "/v1/products")


# Prices


@route("POST", "/v1/prices", p.PriceCreateParams, "price")
def create_price(world: World, params: Params, *, named: str | None = None) -> Json:
    """Create a price. Stripe chooses the id; `named` is for a test that needs a certain one."""
    with world.changing():
        if "product_data" in params:
            wanted = {k: v for k, v in params["product_data"].items() if k != "tax_code"}
            product_id: str = create_product(world, wanted)["id"]
        elif "product" in params:
            product_id = params["product"]
            find(world, "product", product_id, "product", "product")
        else:
            raise invalid("You must specify either `product` or `product_data`.", "product")
        decimal: Any = params.get("unit_amount_decimal")
        amount: int | None = params.get("unit_amount")
        if amount is None and decimal is None:
            raise invalid(
                "Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.",
                "unit_amount",
            )
        if decimal is None:
            decimal = Decimal(amount or 0)
        elif decimal == int(decimal):
            amount = int(decimal)
        lookup_key = params.get("lookup_key")
        if lookup_key is not None:
            _claim_lookup_key(world, lookup_key, params.get("transfer_lookup_key", False))
        recurring: Json | None = None
        if "recurring" in params:
            recurring = {
                "interval": params["recurring"]["interval"],
                "interval_count": params["recurring"].get("interval_count", 1),
                "meter": params["recurring"].get("meter"),
                "trial_period_days": params["recurring"].get("trial_period_days"),
                "usage_type": params["recurring"].get("usage_type", "licensed"),
            }
        return world.save(
            {
                "id": named or world.id("price"),
                "object": "price",
                "active": params.get("active", True),
                "billing_scheme": params.get("billing_scheme", "per_unit"),
                "created": world.now(),
                "currency": params["currency"],
                "livemode": world.livemode,
                "lookup_key": lookup_key,
                "metadata": merge_metadata(None, params.get("metadata")),
                "nickname": params.get("nickname"),
                "product": product_id,
                "recurring": recurring,
                "tax_behavior": params.get("tax_behavior", "unspecified"),
                "type": "recurring" if recurring else "one_time",
                "unit_amount": amount,
                "unit_amount_decimal": format(decimal, "f"),
            },
            "price.created",
        )


def _claim_lookup_key(world: World, lookup_key: str, transfer: bool) -> None:
    for holder in world.tables.all("price", lookup_key=lookup_key):
        if not transfer:
            raise invalid(
                "A price (`" + holder["id"] + "`) already uses that lookup key.", "lookup_key"
            )
        world.save({**holder, "lookup_key": None}, "price.updated")


@route("GET", "/v1/prices/{id}", p.PriceRetrieveParams, "price")
def retrieve_price(world: World, params: Params, id: str) -> Json:
    return find(world, "price", id, "price")


@route("POST", "/v1/prices/{id}", p.PriceUpdateParams, "price")
def update_price(world: World, params: Params, id: str) -> Json:
    price = find(world, "price", id, "price")
    with world.changing():
        if params.get("lookup_key") not in (None, "", price["lookup_key"]):
            _claim_lookup_key(world, params["lookup_key"], params.get("transfer_lookup_key", False))
        for name in ("active", "lookup_key", "nickname", "tax_behavior"):
            if name in params:
                price[name] = unset_empty(params[name])
        price["metadata"] = merge_metadata(price["metadata"], params.get("metadata"))
        return world.save(price, "price.updated")


@route("GET", "/v1/prices", p.PriceListParams, "price", listing=True)
def list_prices(world: World, params: Params) -> Page:
    keys = params.get("lookup_keys")
    found = [
        price
        for price in world.tables.all("price")
        if not price.get("_deleted")
        and (keys is None or price["lookup_key"] in keys)
        and params.get("active", price["active"]) == price["active"]
        and params.get("product", price["product"]) == price["product"]
        and params.get("type", price["type"]) == price["type"]
        and params.get("currency", price["currency"]) == price["currency"]
        and in_range(price["created"], params.get("created"))
    ]
    return page(found, params, "/v1/prices")
