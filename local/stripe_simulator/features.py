"""Features, and the features of each product."""

from __future__ import annotations

import stripe.params as p
import stripe.params.entitlements as pe

from .errors import invalid, no_such
from .lookup import find
from .parameters import Params
from .routes import Page, merge_metadata, page, route
from .tables import Json
from .world import World


@route("POST", "/v1/products/{id}/features", p.ProductFeatureCreateParams, "product_feature")
def attach_feature(world: World, params: Params, id: str) -> Json:
    find(world, "product", id, "product")
    feature = params["entitlement_feature"]
    find(world, "entitlements.feature", feature, "feature", "entitlement_feature")
    if world.tables.all("product_feature", _product=id, entitlement_feature=feature):
        raise invalid(
            "This feature has already been attached to the product.", "entitlement_feature"
        )
    return world.save(
        {
            "id": world.id("product_feature"),
            "object": "product_feature",
            "_product": id,
            "entitlement_feature": feature,
            "livemode": world.livemode,
        }
    )


@route(
    "GET",
    "/v1/products/{id}/features",
    p.ProductFeatureListParams,
    "product_feature",
    listing=True,
)
def list_product_features(world: World, params: Params, id: str) -> Page:
    find(world, "product", id, "product")
    found = world.tables.all("product_feature", _product=id)
    return page(found, params, f"/v1/products/{id}/features")


def _product_feature(world: World, product: str, id: str) -> Json:
    found = find(world, "product_feature", id, "product feature")
    if found["_product"] != product:
        raise no_such("product feature", id)
    return found


@route(
    "GET",
    "/v1/products/{product}/features/{id}",
    p.ProductFeatureRetrieveParams,
    "product_feature",
)
def retrieve_product_feature(world: World, params: Params, product: str, id: str) -> Json:
    return _product_feature(world, product, id)


@route(
    "DELETE",
    "/v1/products/{product}/features/{id}",
    p.ProductFeatureDeleteParams,
    "product_feature",
)
def detach_feature(world: World, params: Params, product: str, id: str) -> Json:
    _product_feature(world, product, id)
    return world.remove("product_feature", id)


@route("POST", "/v1/entitlements/features", pe.FeatureCreateParams, "entitlements.feature")
def create_feature(world: World, params: Params) -> Json:
    lookup_key = params["lookup_key"]
    for holder in world.tables.all("entitlements.feature", lookup_key=lookup_key):
        if holder["active"]:
            raise invalid(
                f"A feature already exists with the lookup key '{lookup_key}'.", "lookup_key"
            )
    return world.save(
        {
            "id": world.id("entitlements.feature"),
            "object": "entitlements.feature",
            "active": True,
            "livemode": world.livemode,
            "lookup_key": lookup_key,
            "metadata": merge_metadata(None, params.get("metadata")),
            "name": params["name"],
        }
    )


@route("GET", "/v1/entitlements/features/{id}", pe.FeatureRetrieveParams, "entitlements.feature")
def retrieve_feature(world: World, params: Params, id: str) -> Json:
    return find(world, "entitlements.feature", id, "feature")


@route("POST", "/v1/entitlements/features/{id}", pe.FeatureUpdateParams, "entitlements.feature")
def update_feature(world: World, params: Params, id: str) -> Json:
    feature = find(world, "entitlements.feature", id, "feature")
    for name in ("active", "name"):
        if name in params:
            feature[name] = params[name]
    feature["metadata"] = merge_metadata(feature["metadata"], params.get("metadata"))
    return world.save(feature)


@route(
    "GET",
    "/v1/entitlements/features",
    pe.FeatureListParams,
    "entitlements.feature",
    listing=True,
)
def list_features(world: World, params: Params) -> Page:
    key = params.get("lookup_key")
    found = [
        feature
        for feature in world.tables.all("entitlements.feature")
        if (key is None or feature["lookup_key"] == key)
        and params.get("archived", not feature["active"]) == (not feature["active"])
    ]
    return page(found, params, "/v1/entitlements/features")
