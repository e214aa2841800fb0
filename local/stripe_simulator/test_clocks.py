"""Test clocks: customers that live in a time of their own. They exist in test mode only.

The simulator's own clock moves nothing that belongs to a test clock. A call that names such a
customer, subscription or invoice happens at the clock's frozen time. An advance is done by the
next API call, or within a second: until then the clock is `advancing`. Objects carry the frozen
time. Their events carry the simulator's time; Stripe does not document which time it uses.
A clock cannot be attached to an existing customer, listed or deleted here.
https://docs.stripe.com/billing/testing/test-clocks
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import stripe.params.test_helpers as pt

from . import billing_steps
from .errors import invalid
from .lookup import find
from .parameters import Params
from .routes import route
from .tables import Json
from .world import World

KIND = "test_helpers.test_clock"
DELETED_AFTER_SECONDS = 30 * 86_400


def unsaved(world: World, frozen_time: int, name: str | None = None) -> Json:
    """Return a test clock that stands at `frozen_time` (Unix seconds)."""
    return {
        "id": world.id(KIND),
        "object": KIND,
        "created": world.now(),
        "deletes_after": world.now() + DELETED_AFTER_SECONDS,
        "frozen_time": frozen_time,
        "livemode": world.livemode,
        "name": name,
        "status": "ready",
        "status_details": {},
    }


@contextmanager
def pinned(world: World, ids: Iterable[str | None]) -> Iterator[None]:
    """Stop the time at that of the test clock that the objects `ids` belong to, if any."""
    clock = next(filter(None, (_clock_of(world, id) for id in ids if id)), None)
    if clock is None:
        yield
    else:
        with world.clock.pinned_at(clock["frozen_time"], events=False):
            yield


def _clock_of(world: World, id: str) -> Json | None:
    if id.startswith("si_"):
        for subscription in world.tables.all("subscription"):
            if any(item["id"] == id for item in subscription["items"]):
                return _clock_of(world, subscription["id"])
    for kind in ("customer", "subscription", "invoice", KIND):
        if found := world.tables.peek(kind, id):
            clock = id if kind == KIND else found.get("test_clock")
            return world.tables.peek(KIND, clock) if clock else None
    return None


def run_advancing(world: World) -> list[Json]:
    """Run the billing steps of every clock that is advancing. Returns the steps that ran."""
    ran: list[Json] = []
    for clock in world.tables.all(KIND, status="advancing"):
        target = clock["status_details"]["advancing"]["target_frozen_time"]
        ran += billing_steps.run_due(world, target, clock["id"])
        done = {**clock, "frozen_time": target, "status": "ready", "status_details": {}}
        with world.changing():
            world.save(done, "test_helpers.test_clock.ready")
    return ran


@route("POST", "/v1/test_helpers/test_clocks", pt.TestClockCreateParams, KIND)
def create_test_clock(world: World, params: Params) -> Json:
    if world.livemode:
        raise invalid("Test clocks can only be used in test mode.")
    if "customer" in params:
        raise invalid("The simulator attaches a clock when a customer is created.", "customer")
    clock = unsaved(world, params["frozen_time"], params.get("name"))
    return world.save(clock, "test_helpers.test_clock.created")


@route("GET", "/v1/test_helpers/test_clocks/{id}", pt.TestClockRetrieveParams, KIND)
def retrieve_test_clock(world: World, params: Params, id: str) -> Json:
    return find(world, KIND, id, "test clock")


@route("POST", "/v1/test_helpers/test_clocks/{id}/advance", pt.TestClockAdvanceParams, KIND)
def advance_test_clock(world: World, params: Params, id: str) -> Json:
    clock = find(world, KIND, id, "test clock")
    target: int = params["frozen_time"]
    if target <= clock["frozen_time"]:
        raise invalid("A test clock only moves forward: pass a later frozen_time.", "frozen_time")
    clock["status"] = "advancing"
    clock["status_details"] = {"advancing": {"target_frozen_time": target}}
    return world.save(clock, "test_helpers.test_clock.advancing")
