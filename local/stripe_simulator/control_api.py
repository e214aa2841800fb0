"""`/_simulator/…`: the JSON endpoints of `control.Control`. They act on test mode.

An error is a 400 `{"error": …}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import catalog, webhooks
from .errors import StripeError
from .faults import Fault
from .lookup import find
from .payment_methods import FAIL, REQUIRES_ACTION, SUCCEED
from .simulator import TEST, Simulator
from .tables import Json
from .webhooks import Rule

Act = Callable[[Simulator, Json], Awaitable[Json]]


async def _state(simulator: Simulator, body: Json) -> Json:
    world = simulator.worlds[TEST]
    return {
        "now": simulator.clock.now(),
        "offset": simulator.clock.offset,
        "account": world.account_id,
        "changes": world.tables.change,
        "faults": simulator.faults.describe(),
        "pending": simulator.deliveries.pending(),
        "held": simulator.deliveries.held(),
    }


async def _advance(simulator: Simulator, body: Json) -> Json:
    steps = simulator.advance(int(body["seconds"]))
    return {"now": simulator.clock.now(), "steps": steps}


async def _payments(simulator: Simulator, body: Json) -> Json:
    outcome = body["outcome"]
    if outcome not in (None, SUCCEED, FAIL, REQUIRES_ACTION):
        raise ValueError(f"unknown outcome {outcome!r}")
    payments = simulator.worlds[TEST].payments
    if outcome is None:
        payments.pop(body["customer"], None)
    else:
        payments[body["customer"]] = outcome
    return {}


async def _schedule(simulator: Simulator, body: Json) -> Json:
    """Attach a schedule to a subscription, as the dashboard can."""
    world = simulator.worlds[TEST]
    with world.changing(simulator.caller(api_version=world.api_version)):
        subscription = find(world, "subscription", body["subscription"], "subscription")
        subscription["schedule"] = f"sub_sched_{world.token(24)}"
        world.save(subscription, "customer.subscription.updated")
    return {"schedule": subscription["schedule"]}


async def _delete_product(simulator: Simulator, body: Json) -> Json:
    """Delete a product that subscriptions refer to, as its plans can be deleted first."""
    world = simulator.worlds[TEST]
    with world.changing(simulator.caller(api_version=world.api_version)):
        catalog.delete_with_prices(world, body["product"])
    return {}


async def _settings(simulator: Simulator, body: Json) -> Json:
    return simulator.set_settings(body)


async def _add_fault(simulator: Simulator, body: Json) -> Json:
    simulator.faults.active.append(Fault(**body))
    return {"faults": simulator.faults.describe()}


async def _clear_faults(simulator: Simulator, body: Json) -> Json:
    simulator.faults.active.clear()
    return {}


async def _add_rule(simulator: Simulator, body: Json) -> Json:
    simulator.deliveries.rules.append(Rule(**body))
    return {}


async def _clear_rules(simulator: Simulator, body: Json) -> Json:
    simulator.deliveries.rules.clear()
    return {}


async def _release(simulator: Simulator, body: Json) -> Json:
    return {"released": simulator.deliveries.release(**body)}


async def _backoff(simulator: Simulator, body: Json) -> Json:
    simulator.deliveries.backoff = [float(wait) for wait in body["seconds"]]
    return {}


async def _addresses(simulator: Simulator, body: Json) -> Json:
    pattern = re.compile(body["pattern"])
    simulator.deliveries.addresses.append((pattern, body["replacement"]))
    return {}


async def _quiet(simulator: Simulator, body: Json) -> Json:
    return {"quiet": await simulator.deliveries.wait_until_quiet(float(body["timeout"]))}


async def _deliveries(simulator: Simulator, body: Json) -> Json:
    return {"deliveries": simulator.deliveries.describe()}


def _event(simulator: Simulator, id: str) -> Json:
    event = simulator.worlds[TEST].tables.peek("event", id)
    if event is None:
        raise ValueError(f"no such event {id!r}")
    return event


def _endpoint(simulator: Simulator, id: str | None) -> Json:
    """Return the endpoint of that id, or the only one if `id` is None."""
    found = simulator.worlds[TEST].tables.all("webhook_endpoint")
    for endpoint in found:
        if id == endpoint["id"] or (id is None and len(found) == 1):
            return endpoint
    raise ValueError(f"no webhook endpoint {id!r}; with several endpoints, name one")


async def _resend(simulator: Simulator, body: Json) -> Json:
    event = _event(simulator, body["event"])
    world = simulator.worlds[TEST]
    return {"sent": simulator.deliveries.resend(world, event, body.get("endpoint"))}


async def _forge(simulator: Simulator, body: Json) -> Json:
    endpoint = _endpoint(simulator, body.get("endpoint"))
    event = body["event"]
    if isinstance(event, str):
        event = _event(simulator, event)
    simulator.deliveries.forge(simulator.worlds[TEST], endpoint, event, body["secret"])
    return {}


async def _roll(simulator: Simulator, body: Json) -> Json:
    world = simulator.worlds[TEST]
    endpoint = _endpoint(simulator, body.get("endpoint"))
    return {"secret": webhooks.roll_secret(world, endpoint, float(body["overlap"]))}


async def _requests(simulator: Simulator, body: Json) -> Json:
    return {"requests": simulator.requests}


async def _clear_requests(simulator: Simulator, body: Json) -> Json:
    simulator.requests.clear()
    return {}


async def _reset(simulator: Simulator, body: Json) -> Json:
    await simulator.reset()
    return {}


async def _restrict(simulator: Simulator, body: Json) -> Json:
    if body["permissions"] is None:
        simulator.permissions.pop(body["key"], None)
    else:
        simulator.permissions[body["key"]] = frozenset(body["permissions"])
    return {}


async def _used(simulator: Simulator, body: Json) -> Json:
    used = {key: sorted(names) for key, names in simulator.used.items()}
    simulator.used.clear()
    return {"used": used}


_ACTS: dict[tuple[str, str], Act] = {
    ("GET", "/state"): _state,
    ("POST", "/clock/advance"): _advance,
    ("POST", "/payments"): _payments,
    ("POST", "/schedules"): _schedule,
    ("POST", "/products/delete"): _delete_product,
    ("POST", "/settings"): _settings,
    ("POST", "/faults"): _add_fault,
    ("DELETE", "/faults"): _clear_faults,
    ("GET", "/deliveries"): _deliveries,
    ("POST", "/deliveries/rules"): _add_rule,
    ("DELETE", "/deliveries/rules"): _clear_rules,
    ("POST", "/deliveries/release"): _release,
    ("POST", "/deliveries/backoff"): _backoff,
    ("POST", "/deliveries/addresses"): _addresses,
    ("POST", "/deliveries/quiet"): _quiet,
    ("POST", "/deliveries/resend"): _resend,
    ("POST", "/deliveries/forge"): _forge,
    ("POST", "/webhook_secret/roll"): _roll,
    ("GET", "/requests"): _requests,
    ("DELETE", "/requests"): _clear_requests,
    ("POST", "/keys"): _restrict,
    ("POST", "/keys/used"): _used,
    ("POST", "/reset"): _reset,
}


def routes(simulator: Simulator) -> list[Route]:
    """Return one Starlette route for each act."""
    return [
        Route("/_simulator" + path, _endpoint_of(simulator, act), methods=[method])
        for (method, path), act in _ACTS.items()
    ]


def _endpoint_of(simulator: Simulator, act: Act) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        text = await request.body()
        try:
            body: Any = json.loads(text) if text else {}
            return JSONResponse(await act(simulator, body))
        except (KeyError, TypeError, ValueError, StripeError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)

    return endpoint
