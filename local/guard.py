"""Refuse requests from foreign web pages to the servers of the local stack.

Any site that is open in a browser on this machine can send requests to 127.0.0.1. These servers
need no login: without this check such a site could run functions in the AWS engine, control the
Stripe simulator or take a demo user's token. This module needs only the standard library, because
the engine's interpreter imports it too.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")

WRONG_HOST = "This server accepts only 127.0.0.1 or localhost, with its own port, as the Host."
WEB_PAGE = "This server does not accept this request from a web page."


def guarded(app: App, *, pages: str | None = None, api: str | None = None) -> App:
    """Return `app` with the check in front of it. A refused request gets a 403.

    1. The Host must be a loopback name with the server's own port. This refuses a foreign name
       whose DNS record points at 127.0.0.1 (DNS rebinding).
    2. A request without Origin and Sec-Fetch-Site passes: it comes from a program. A browser adds
       at least one of them to every request that a page sends.
    3. Any page may call a path that matches `api`. The API's own CORS and authorization apply.
    4. If `pages` is given, the server's own origin may send everything, and any site may link to a
       path that matches `pages`.
    5. Every other request from a page is refused.

    `pages` and `api` are regular expressions that must match the whole path.
    """
    own_pages, open_api = _whole(pages), _whole(api)

    async def check(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)
        if scope["type"] != "http":
            # Nothing here uses WebSockets, and CORS does not keep a page from opening one.
            return await send({"type": "websocket.close", "code": 1008})
        hosts = _values(scope, b"host")
        if hosts not in [[f"{name}:{scope['server'][1]}"] for name in LOOPBACK_NAMES]:
            return await _refuse(send, WRONG_HOST)
        if (
            _from_a_program(scope)
            or open_api(scope["path"])
            or (pages is not None and _from_own_page(scope, hosts[0]))
            or (own_pages(scope["path"]) and _is_a_link(scope))
        ):
            return await app(scope, receive, send)
        return await _refuse(send, WEB_PAGE)

    return check


def _whole(pattern: str | None) -> Callable[[str], bool]:
    compiled = re.compile(pattern) if pattern is not None else None
    return lambda path: compiled is not None and compiled.fullmatch(path) is not None


def _values(scope: Message, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _from_a_program(scope: Message) -> bool:
    # `none` means that a person opened the address, from a bookmark or by typing it.
    return not _values(scope, b"origin") and _values(scope, b"sec-fetch-site") in ([], ["none"])


def _from_own_page(scope: Message, host: str) -> bool:
    # A same-origin GET has no Origin; an old browser sends no Sec-Fetch-Site.
    origin, site = _values(scope, b"origin"), _values(scope, b"sec-fetch-site")
    return origin in ([], [f"http://{host}"]) and site in ([], ["none"], ["same-origin"])


def _is_a_link(scope: Message) -> bool:
    # The browser shows the response as a page of its own, which the linking page cannot read.
    return (
        scope["method"] == "GET"
        and not _values(scope, b"origin")
        and _values(scope, b"sec-fetch-mode") == ["navigate"]
        and _values(scope, b"sec-fetch-dest") == ["document"]
    )


async def _refuse(send: Send, why: str) -> None:
    body = f"{why}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
