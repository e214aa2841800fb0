"""Stored objects by id, or Stripe's error if there is none."""

from __future__ import annotations

from .errors import no_such
from .tables import Json
from .world import World


def find(world: World, kind: str, id: str, noun: str, param: str = "id") -> Json:
    """Return a copy of the stored object. Raises Stripe's error if there is none."""
    found = world.tables.draft(kind, id)
    # A subscription keeps showing a price that was deleted; nothing else finds it.
    if found is None or found.get("_deleted"):
        raise no_such(noun, id, param)
    return found


def find_customer(world: World, id: str, param: str = "id") -> Json:
    """Return a copy of the customer. Raises Stripe's error if it is missing or deleted."""
    customer = find(world, "customer", id, "customer", param)
    if customer.get("deleted"):
        raise no_such("customer", id, param)
    return customer
