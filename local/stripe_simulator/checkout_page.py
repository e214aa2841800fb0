"""The hosted checkout: `GET /c/pay/<secret>` shows the form, a POST of the card completes it.

Fields: email (if the session names no customer), number, exp_month, exp_year, cvc. The response is
a 303 to the `success_url` with `{CHECKOUT_SESSION_ID}` filled in. A refused card is a 402 with the
form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import checkout, test_clocks
from .errors import StripeError
from .pages import card_of, go, show, text_of
from .simulator import Simulator
from .tables import Json
from .world import World


def routes(simulator: Simulator) -> list[Route]:
    path = "/c/pay/{secret}"
    return [
        Route(path, _form(simulator), methods=["GET"]),
        Route(path, _pay(simulator), methods=["POST"]),
    ]


def _find(simulator: Simulator, secret: str) -> tuple[World, Json] | None:
    simulator.run_due()
    for world in simulator.worlds.values():
        for session in world.tables.all("checkout.session", _secret=secret):
            if session["status"] == "open" and session["expires_at"] > world.now():
                return world, session
    return None


def _show(world: World, session: Json, status: int = 200, message: str | None = None) -> Response:
    return show(
        "checkout.html",
        status,
        session=session,
        lines=session["_line_items"],
        trial_days=session["_subscription_data"].get("trial_period_days"),
        message=message,
        test_mode=not world.livemode,
    )


def _form(simulator: Simulator) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        found = _find(simulator, request.path_params["secret"])
        return show("expired.html", 410) if found is None else _show(*found)

    return endpoint


def _pay(simulator: Simulator) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        found = _find(simulator, request.path_params["secret"])
        if found is None:
            return show("expired.html", 410)
        world, session = found
        form = await request.form()
        caller = simulator.caller(api_version=world.api_version)
        try:
            with test_clocks.pinned(world, [session["customer"]]), world.changing(caller):
                email = text_of(form, "email") or None
                checkout.complete(world, session["id"], card_of(form), email)
        except StripeError as error:
            return _show(world, session, error.status, error.message)
        return go(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))

    return endpoint
