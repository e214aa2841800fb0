"""`/v1/…`: every API call passes through here, from the check of its key to its response."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from . import (  # noqa: F401 - each declares its endpoints
    catalog,
    checkout,
    coupons,
    customers,
    entitlements,
    events,
    features,
    invoice_endpoints,
    invoice_payments,
    payment_methods,
    permissions,
    portal,
    sources,
    subscriptions,
    test_clocks,
    webhook_endpoints,
)
from .errors import StripeError, invalid
from .faults import Fault, error_for
from .parameters import Params, decode, validate
from .rendering import check_expand, expand, render
from .routes import Page, Result, Route, SearchResult, match
from .simulator import LIVE, TEST, Remembered, Simulator
from .tables import Json
from .versions import downgrade
from .world import World

_KEY = re.compile(r"[sr]k_(test|live)_\w+")
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z_]+)?")


class Dropped(Exception):
    """The connection is to be closed without a response."""


async def handle(simulator: Simulator, request: Request) -> Response:
    """Return the response to one API call. Raises `Dropped` if a fault closes the connection."""
    request_id = "req_" + simulator.token(14)
    path, method = request.url.path, request.method
    text = (await request.body()).decode() if method == "POST" else request.url.query
    entry: Json = {"id": request_id, "method": method, "path": path, "params": {}, "status": None}
    entry["api_version"] = request.headers.get("stripe-version")
    entry["at"] = simulator.clock.now()
    simulator.requests.append(entry)
    met = {fault.kind: fault for fault in simulator.faults.strike(method, path)}
    if "slow" in met:
        await asyncio.sleep(met["slow"].seconds)
    headers = {"Request-Id": request_id}
    livemode = TEST
    try:
        simulator.run_due()
        livemode, api_key = _authenticate(simulator, request.headers)
        world = simulator.worlds[livemode]
        version = _version(world, request.headers)
        headers["Stripe-Version"] = version
        pairs = parse_qsl(text, keep_blank_values=True)
        raw = entry["params"] = decode(pairs)
        if "drop" in met and not met["drop"].applied:
            raise Dropped
        if "status" in met:
            _raise_fault(met["status"], headers)
        status, body = _call(
            simulator, world, request, request_id, raw, version, headers, met.get("stale"), api_key
        )
        if "drop" in met:
            raise Dropped
    except StripeError as error:
        status = error.status
        body = json.dumps(error.body(request_id, livemode), indent=2).encode()
    except Dropped:
        entry["status"] = "dropped"
        raise
    entry["status"] = status
    # Not by the simulator's clock: Stripe's test clocks do not move the time of its servers either.
    headers["Date"] = formatdate(usegmt=True)
    return Response(body, status, headers, media_type="application/json")


def _raise_fault(fault: Fault, headers: dict[str, str]) -> None:
    if fault.should_retry is not None:
        headers["Stripe-Should-Retry"] = "true" if fault.should_retry else "false"
    raise error_for(fault.status)


def _authenticate(simulator: Simulator, headers: Mapping[str, str]) -> tuple[bool, str]:
    """Return the mode of the key, and the key. Raises Stripe's 401."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    key = credentials.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    if not key:
        raise StripeError(
            401,
            "You did not provide an API key. You need to provide your API key in the Authorization "
            "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )
    match = _KEY.fullmatch(key)
    if match is None or (simulator.api_keys and key not in simulator.api_keys):
        shown = key[:7] + "*" * max(0, len(key) - 11) + key[-4:]
        raise StripeError(401, f"Invalid API Key provided: {shown}")
    return LIVE if match[1] == "live" else TEST, key


def _version(world: World, headers: Mapping[str, str]) -> str:
    version = headers.get("stripe-version", world.api_version)
    if not _VERSION.fullmatch(version):
        raise invalid(f"Invalid Stripe API version: {version}")
    return version


def _call(
    simulator: Simulator,
    world: World,
    request: Request,
    request_id: str,
    raw: Json,
    version: str,
    headers: dict[str, str],
    stale: Fault | None,
    api_key: str,
) -> tuple[int, bytes]:
    method, path = request.method, request.url.path
    found = match(method, path)
    if found is None:
        raise StripeError(
            404,
            f"Unrecognized request URL ({method}: {path}). Please see "
            "https://stripe.com/docs or we can help at https://support.stripe.com/.",
        )
    route, ids = found
    sent = raw.get("expand")
    wanted = permissions.needed(route, sent.values() if isinstance(sent, dict) else [])
    if api_key in simulator.permissions:
        permissions.check(api_key, simulator.permissions[api_key], wanted, world.account_id)
    simulator.used.setdefault(api_key, set()).update(wanted)
    key = request.headers.get("idempotency-key") if method == "POST" else None
    if key is not None and (known := simulator.remembered.get((world.livemode, key))):
        if (known.method, known.path, known.params) != (method, path, raw):
            raise StripeError(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were "
                f"first used with. Try using a key other than '{key}' if you meant to execute a "
                "different request.",
                type="idempotency_error",
            )
        headers["Idempotent-Replayed"] = "true"
        return known.status, known.body
    params = validate(raw, route.params)
    paths: list[str] = params.pop("expand", [])
    check_expand(route.returns, paths, listing=route.listing)
    caller = simulator.caller(request_id=request_id, idempotency_key=key, api_version=version)
    try:
        status, shape = 200, _execute(world, route, params, ids, caller, paths, stale)
        body = json.dumps(downgrade(world.tables, shape, version), indent=2).encode()
    except StripeError as error:
        status = error.status
        body = json.dumps(error.body(request_id, world.livemode), indent=2).encode()
    if key is not None:
        headers["Idempotency-Key"] = key
        simulator.remembered[world.livemode, key] = Remembered(method, path, raw, status, body)
    return status, body


def _execute(
    world: World,
    route: Route,
    params: Params,
    ids: dict[str, str],
    caller: Any,
    paths: list[str],
    stale: Fault | None,
) -> Json:
    if route.method == "GET":
        seen = world
        if stale is not None:
            seen = world.as_of(changes_ago=stale.changes, seconds_ago=stale.seconds)
        return shape_of(seen, route.endpoint(seen, params, **ids), paths)
    named = [params.get(name) for name in ("customer", "subscription", "test_clock")]
    named += ids.values()
    # A hosted page expires in real time, also that of a customer on a test clock.
    if route.returns in ("billing_portal.session", "checkout.session"):
        named = []
    with test_clocks.pinned(world, named), world.changing(caller):
        result = route.endpoint(world, params, **ids)
    return shape_of(world, result, paths)


def shape_of(world: World, result: Result, paths: list[str]) -> Json:
    """Return the JSON of an endpoint's result, in the newest API version."""
    if isinstance(result, Page):
        shape: Json = {
            "object": "list",
            "data": [render(world.tables, value) for value in result.values],
            "has_more": result.has_more,
            "url": result.url,
        }
        if isinstance(result, SearchResult):
            shape |= {"object": "search_result", "next_page": result.next_page}
    else:
        shape = render(world.tables, result)
    return expand(world.tables, shape, paths)
