"""Keep foreign web pages away from the servers of the local stack.

Any site open in this machine's browser can send requests to 127.0.0.1. These servers need no
login: without this check such a site could run functions in the AWS engine, steer the Stripe
simulator or take a demo user's token. Only the standard library is used here, because the engine's
interpreter loads this module too.
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
    """Return `app` behind the check, for a server on loopback; a refused request gets a 403.

    1. The Host is a loopback name with the server's own port. A name that somebody else's DNS
       points at 127.0.0.1 is not.
    2. A request without Origin and Sec-Fetch-Site comes from a program and passes. Browsers add
       one or both to everything that a page sends.
    3. A page may call the paths that match `api`; their own access control decides there.
    4. A server whose pages match `pages` also passes what its own origin sends, and lets any site
       link to those pages.
    5. Everything else that a page sends is refused.

    `pages` and `api` are regular expressions for whole paths.
    """
    own_pages, open_api = _whole(pages), _whole(api)

    async def check(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)
        if scope["type"] != "http":
            # No WebSocket is served here, and a page could open one to any address.
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
    # `none` is the address bar: the person asked for it, not a page.
    return not _values(scope, b"origin") and _values(scope, b"sec-fetch-site") in ([], ["none"])


def _from_own_page(scope: Message, host: str) -> bool:
    # A GET that stays on its site has no Origin; an old browser sends no Sec-Fetch-Site.
    origin, site = _values(scope, b"origin"), _values(scope, b"sec-fetch-site")
    return origin in ([], [f"http://{host}"]) and site in ([], ["none"], ["same-origin"])


def _is_a_link(scope: Message) -> bool:
    # The browser shows the answer in a tab of its own, where the linking page cannot read it.
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
