"""The demo's web site on loopback: the page, the issuer's documents and the sign-in.

It takes the place of a product's front end and identity provider. It runs in a thread of the
process that starts it.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from local.guard import guarded
from local.identity import TOKEN_SECONDS, Issuer

PAGE = Path(__file__).with_name("demo")


class Site:
    """A running site. `url` is its origin; `describe` returns what the page needs at each load."""

    def __init__(self, describe: Callable[[], dict[str, Any]], *, port: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.issuer = Issuer(self.url)
        self._describe = describe
        application = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/.well-known/jwks.json", self._keys),
                Route("/token", self._token, methods=["POST"]),
                Route("/stack.json", self._stack),
                Mount("/", StaticFiles(directory=PAGE, html=True)),
            ]
        )
        config = uvicorn.Config(
            guarded(application, pages="/"),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), daemon=True, name="site"
        )

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving. Safe to call twice or before `start`."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(5)
        self._socket.close()

    async def _discovery(self, _: Request) -> Response:
        return JSONResponse(self.issuer.discovery())

    async def _keys(self, _: Request) -> Response:
        return JSONResponse(self.issuer.keys())

    async def _token(self, request: Request) -> Response:
        # The demo's sign-in checks nothing: the caller names the user. It is never deployed.
        try:
            subject = str((await request.json())["subject"])
        except (json.JSONDecodeError, KeyError, TypeError):
            return JSONResponse({"error": "invalid_request"}, 400)
        return JSONResponse(
            {"access_token": self.issuer.token(subject), "expires_in": TOKEN_SECONDS},
            headers={"cache-control": "no-store"},
        )

    async def _stack(self, _: Request) -> Response:
        return JSONResponse(self._describe(), headers={"cache-control": "no-store"})
