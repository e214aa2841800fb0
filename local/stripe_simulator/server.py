"""The HTTP server on loopback. It has one event loop, so the state needs no locks."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from local.guard import guarded

from . import api, checkout_page, control_api, portal_page
from .simulator import Simulator

TICK_SECONDS = 1.0
HOSTED_PAGES = r"/(p/session|c/pay)/.+"


class _DroppableProtocol(H11Protocol):
    """Gives the application its connection, so that a fault can close it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def application(simulator: Simulator, *, announce: bool = False) -> Starlette:
    """Return the ASGI application. With `announce` it prints its address when it is ready."""

    async def stripe_api(request: Request) -> Response:
        try:
            return await api.handle(simulator, request)
        except api.Dropped:
            request.state.transport.abort()
            await asyncio.sleep(0)
            return Response(status_code=500)

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            simulator.run_due()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        ticking = asyncio.create_task(tick())
        if announce:
            # The socket already listens, so a client can connect from now on.
            print(f"stripe simulator on {simulator.base_url}", flush=True)
        yield
        ticking.cancel()
        await simulator.deliveries.close()

    routes: list[BaseRoute] = [
        Route("/v1/{path:path}", stripe_api, methods=["GET", "POST", "DELETE"]),
        *control_api.routes(simulator),
        *portal_page.routes(simulator),
        *checkout_page.routes(simulator),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def listen(port: int) -> socket.socket:
    """Return a listening socket on loopback. Port 0 takes a free port."""
    # Without IPPROTO_TCP, asyncio does not set TCP_NODELAY and each response takes 40 ms longer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def serve(
    simulator: Simulator, listener: socket.socket, *, announce: bool = False
) -> uvicorn.Server:
    """Return a server for `run(sockets=[listener])`. Sets the simulator's base URL."""
    simulator.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        guarded(application(simulator, announce=announce), pages=HOSTED_PAGES),
        http=_DroppableProtocol,
        log_level="warning",
        access_log=False,
        # `api` sets the Date header to the simulator's time.
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)
