"""Active entitlements: the features of the products that a customer is subscribed to.

https://docs.stripe.com/billing/entitlements
"""

from __future__ import annotations

import stripe.params.entitlements as pe

from .lookup import find
from .parameters import Params
from .rendering import listed, render
from .routes import Page, page, route
from .tables import Json
from .world import World


def settle(world: World) -> None:
    """Update the entitlements of every touched customer from their subscriptions.

    A customer who gains or loses a feature gets one
    `entitlements.active_entitlement_summary.updated`.
    """
    customers = set(world.touched_customers)
    if world.touched_products:
        for subscription in world.tables.all("subscription"):
            if _products(world, [subscription]) & world.touched_products:
                customers.add(subscription["customer"])
    for customer in sorted(customers - world.frozen):
        _settle_customer(world, customer)


def _settle_customer(world: World, customer: str) -> None:
    subscriptions = world.tables.all("subscription", customer=customer)
    wanted: dict[str, str] = {}
    # Sorted, so that a seed always assigns ids in the same order.
    for product in sorted(_products(world, [s for s in subscriptions if _entitles(world, s)])):
        for attachment in reversed(world.tables.all("product_feature", _product=product)):
            feature = world.tables.peek("entitlements.feature", attachment["entitlement_feature"])
            if feature is not None:
                wanted[feature["id"]] = feature["lookup_key"]
    held = world.tables.all("entitlements.active_entitlement", _customer=customer)
    before = [render(world.tables, entitlement) for entitlement in held]
    changed = False
    for entitlement in held:
        if wanted.pop(entitlement["feature"], None) is None:
            world.remove("entitlements.active_entitlement", entitlement["id"])
            changed = True
    for feature_id, lookup_key in wanted.items():
        changed = True
        grant(world, customer, feature_id, lookup_key)
    if changed:
        _announce(world, customer, before)


def grant(world: World, customer: str, feature: str, lookup_key: str) -> Json:
    """Store an active entitlement, without an event."""
    return world.save(
        {
            "id": world.id("entitlements.active_entitlement"),
            "object": "entitlements.active_entitlement",
            "_customer": customer,
            "feature": feature,
            "livemode": world.livemode,
            "lookup_key": lookup_key,
        }
    )


def _announce(world: World, customer: str, before: list[Json]) -> None:
    url = f"/v1/customer/{customer}/entitlements"
    held = world.tables.all("entitlements.active_entitlement", _customer=customer)
    summary = {
        "object": "entitlements.active_entitlement_summary",
        "customer": customer,
        "entitlements": listed([render(world.tables, e) for e in held], url),
        "livemode": world.livemode,
    }
    previous = {"entitlements": {"data": listed(before, url)["data"]}}
    world.emit("entitlements.active_entitlement_summary.updated", summary, previous)


def _entitles(world: World, subscription: Json) -> bool:
    status = subscription["status"]
    if status == "past_due":
        return world.settings.entitlements_during_past_due
    return status in ("active", "trialing")


def _products(world: World, subscriptions: list[Json]) -> set[str]:
    found: set[str] = set()
    for subscription in subscriptions:
        for item in subscription["items"]:
            price = world.tables.peek("price", item["price"])
            if price is not None:
                found.add(price["product"])
    return found


@route(
    "GET",
    "/v1/entitlements/active_entitlements",
    pe.ActiveEntitlementListParams,
    "entitlements.active_entitlement",
    listing=True,
)
def list_active_entitlements(world: World, params: Params) -> Page:
    customer = params["customer"]
    find(world, "customer", customer, "customer", "customer")
    held = world.tables.all("entitlements.active_entitlement", _customer=customer)
    return page(held, params, "/v1/entitlements/active_entitlements")


@route(
    "GET",
    "/v1/entitlements/active_entitlements/{id}",
    pe.ActiveEntitlementRetrieveParams,
    "entitlements.active_entitlement",
)
def retrieve_active_entitlement(world: World, params: Params, id: str) -> Json:
    return find(world, "entitlements.active_entitlement", id, "active entitlement")
