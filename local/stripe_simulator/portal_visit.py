"""One request to the page of a portal session: its customer, its permissions, its next page."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from . import test_clocks
from .pages import go
from .simulator import Simulator
from .tables import Json
from .world import World


class Expired(Exception):
    """The session does not exist or has expired."""


class NotAllowed(Exception):
    """The configuration does not let the customer do this."""


@dataclass(frozen=True)
class Visit:
    """One request to the page of a session that has not expired."""

    simulator: Simulator
    world: World
    session: Json
    configuration: Json
    customer: Json

    @property
    def base(self) -> str:
        return f"/p/session/{self.session['_secret']}"

    @property
    def features(self) -> Json:
        features: Json = self.configuration["features"]
        return features

    @property
    def flow(self) -> Json | None:
        """The session's flow, or None once it is completed."""
        return None if self.session.get("_completed") else self.session["flow"]

    def need(self, feature: str) -> None:
        if not self.features[feature]["enabled"]:
            raise NotAllowed

    def subscription(self, id: str) -> Json:
        found = self.world.tables.draft("subscription", id)
        if found is None or found["customer"] != self.customer["id"]:
            raise NotAllowed
        return found


def open_visit(simulator: Simulator, secret: str) -> Visit:
    for world in simulator.worlds.values():
        for session in world.tables.all("billing_portal.session", _secret=secret):
            if _is_over(world, session):
                raise Expired
            customer = world.tables.peek("customer", session["customer"])
            configuration = world.tables.peek(
                "billing_portal.configuration", session["configuration"]
            )
            if customer is None or customer.get("deleted") or configuration is None:
                raise Expired
            used = world.save({**session, "_used_at": time.time()})
            return Visit(simulator, world, used, configuration, customer)
    raise Expired


def _is_over(world: World, session: Json) -> bool:
    """Return whether the session was unused for five minutes or idle for an hour of real time."""
    now = time.time()
    if session["_used_at"] is None:
        return bool(now - session["_wall_created"] > world.settings.portal_unused_seconds)
    return bool(now - session["_used_at"] > world.settings.portal_idle_seconds)


def act(visit: Visit, do: Callable[[World], Any]) -> None:
    caller = visit.simulator.caller(api_version=visit.world.api_version)
    with test_clocks.pinned(visit.world, [visit.customer["id"]]), visit.world.changing(caller):
        do(visit.world)


def done(visit: Visit, *flow_types: str, subscription: str | None = None) -> Response:
    """Return the redirect after an act: the home page, unless the act completes the flow."""
    flow = visit.flow
    if flow is None or flow["type"] not in flow_types:
        return go(visit.base)
    if subscription is not None and flow[flow["type"]]["subscription"] != subscription:
        return go(visit.base)
    visit.world.save({**visit.session, "_completed": True})
    after = flow["after_completion"]
    if after["type"] == "redirect":
        return go(after["redirect"]["return_url"])
    if after["type"] == "hosted_confirmation":
        return go(f"{visit.base}/confirmation")
    return go(visit.base)


def frame(visit: Visit) -> Json:
    return {
        "base": visit.base,
        "headline": visit.configuration["business_profile"]["headline"],
        "profile": visit.configuration["business_profile"],
        "return_url": visit.session["return_url"],
        "test_mode": not visit.world.livemode,
    }
