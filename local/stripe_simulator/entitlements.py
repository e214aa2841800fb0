"""Active entitlements: the features of the products that a customer is subscribed to.

https://docs.stripe.com/billing/entitlements
"""

from __future__ import annotations

import stripe.params as p
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
    `entitlements.active_entitlement_summary.updated`, except for a feature that was attached to
    a product while the customer already had it: that one comes with the next period, silently.
    """
    customers = set(world.touched_customers)
    if world.touched_products:
        for subscription in world.tables.all("subscription"):
            if _products(world, subscription) & world.touched_products:
                customers.add(subscription["customer"])
    for customer in sorted(customers - world.frozen):
        _settle_customer(world, customer)


def _settle_customer(world: World, customer: str) -> None:
    wanted: dict[str, str] = {}
    silent: set[str] = set()
    for subscription in reversed(world.tables.all("subscription", customer=customer)):
        given, arrived = _update_items(world, subscription)
        silent |= arrived
        if _entitles(world, subscription):
            wanted.update(given)
    held = world.tables.all("entitlements.active_entitlement", _customer=customer)
    before = [render(world.tables, entitlement) for entitlement in held]
    announced = False
    for entitlement in held:
        if wanted.pop(entitlement["feature"], None) is None:
            world.remove("entitlements.active_entitlement", entitlement["id"])
            announced = True
    for feature_id, lookup_key in wanted.items():
        grant(world, customer, feature_id, lookup_key)
        announced = announced or feature_id not in silent
    if announced:
        _announce(world, customer, before)


def _update_items(world: World, subscription: Json) -> tuple[dict[str, str], set[str]]:
    """Return the features that the items give, and those of them that came with a new period.

    An item takes over the features of its product when it is created, when its price changes and
    when its period begins. A feature that is detached is lost at once.
    """
    given: dict[str, str] = {}
    arrived: set[str] = set()
    items = []
    for item in subscription["items"]:
        attached = _attached(world, item)
        known = item.get("_gives")
        price, since = item["price"], item["current_period_start"]
        if known is None or known["price"] != price:
            features = list(attached)
        elif known["since"] != since:
            features = list(attached)
            arrived |= attached.keys() - set(known["features"])
        else:
            features = [id for id in known["features"] if id in attached]
        given.update({id: attached[id] for id in features})
        items.append({**item, "_gives": {"price": price, "since": since, "features": features}})
    if items != subscription["items"]:
        world.save({**subscription, "items": items})
    return given, arrived


def _attached(world: World, item: Json) -> dict[str, str]:
    """Return the lookup keys of the features of the item's product, by the feature's id."""
    price = world.tables.peek("price", item["price"])
    assert price is not None
    found = {}
    for attachment in reversed(world.tables.all("product_feature", _product=price["product"])):
        feature = world.tables.peek("entitlements.feature", attachment["entitlement_feature"])
        if feature is not None:
            found[feature["id"]] = feature["lookup_key"]
    return found


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


def _products(world: World, subscription: Json) -> set[str]:
    prices = (world.tables.peek("price", item["price"]) for item in subscription["items"])
    return {price["product"] for price in prices if price is not None}


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
    "/v1/customer/{customer}/entitlements",
    p.CustomerTaxIdListParams,
    "entitlements.active_entitlement",
    listing=True,
)
def list_summary(world: World, params: Params, customer: str) -> Page:
    """List what a summary embeds, under the URL that it has in Stripe's documentation."""
    held = world.tables.all("entitlements.active_entitlement", _customer=customer)
    return page(held, params, f"/v1/customer/{customer}/entitlements")


@route(
    "GET",
    "/v1/entitlements/active_entitlements/{id}",
    pe.ActiveEntitlementRetrieveParams,
    "entitlements.active_entitlement",
)
def retrieve_active_entitlement(world: World, params: Params, id: str) -> Json:
    return find(world, "entitlements.active_entitlement", id, "active entitlement")
