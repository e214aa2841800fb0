"""The list of events, and the account that they belong to."""

from __future__ import annotations

import stripe.params as p

from .lookup import find
from .parameters import Params
from .routes import Page, in_range, page, route
from .tables import Json
from .world import World

RETENTION_SECONDS = 30 * 86_400


@route("GET", "/v1/events", p.EventListParams, "event", listing=True)
def list_events(world: World, params: Params) -> Page:
    oldest = world.now() - RETENTION_SECONDS
    types = params.get("types")
    delivered = params.get("delivery_success")
    found = [
        event
        for event in world.tables.all("event")
        if event["created"] >= oldest
        and _is(event["type"], params.get("type"))
        and (types is None or event["type"] in types)
        and (delivered is None or delivered == (event["pending_webhooks"] == 0))
        and in_range(event["created"], params.get("created"))
    ]
    return page(found, params, "/v1/events")


def _is(type: str, wanted: str | None) -> bool:
    """Return whether `type` matches `wanted`, which may end in a wildcard: `customer.*`."""
    if wanted is None or wanted == "*":
        return True
    return type.startswith(wanted[:-1]) if wanted.endswith(".*") else type == wanted


@route("GET", "/v1/events/{id}", p.EventRetrieveParams, "event")
def retrieve_event(world: World, params: Params, id: str) -> Json:
    return find(world, "event", id, "event")


@route("GET", "/v1/account", p.AccountRetrieveCurrentParams, "account")
def retrieve_account(world: World, params: Params) -> Json:
    return {
        "id": world.account_id,
        "object": "account",
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": "owner@example.com",
        "payouts_enabled": True,
        "type": "standard",
    }
