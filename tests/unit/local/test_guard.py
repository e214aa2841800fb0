"""Which requests reach a local server, by what a browser adds to them."""

from __future__ import annotations

import asyncio

import pytest

from local.guard import WEB_PAGE, WRONG_HOST, App, Message, Receive, Send, guarded

OWN = "http://127.0.0.1:4000"
EVIL = "https://evil.example"
LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
CROSS_SITE = {"sec-fetch-site": "cross-site"}
OTHER_PORT = {"origin": "http://127.0.0.1:5000", "sec-fetch-site": "same-site"}


async def reached(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"reached"})


def messages(app: App, scope: Message) -> list[Message]:
    """Return what the application sends for one request to port 4000."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        await app({"server": ("127.0.0.1", 4000), **scope}, receive, send)

    asyncio.run(run())
    return sent


def send(
    method: str,
    path: str,
    headers: dict[str, str],
    *also: tuple[str, str],
    pages: str | None = "/page/.*",
) -> tuple[int, str]:
    """Send a request to a server with pages under /page/ and an open API under /api/."""
    given = [*{"host": "127.0.0.1:4000", **headers}.items(), *also]
    raw = [(name.encode(), value.encode()) for name, value in given]
    scope: Message = {"type": "http", "method": method, "path": path, "headers": raw}
    start, body = messages(guarded(reached, pages=pages, api="/api/.*"), scope)
    return start["status"], body["body"].decode().strip()


@pytest.mark.parametrize("host", ["127.0.0.1:4000", "localhost:4000", "[::1]:4000"])
def test_a_program_reaches_everything_under_each_loopback_name(host: str) -> None:
    for path in ("/control", "/page/1", "/api/1"):
        assert send("POST", path, {"host": host}) == (200, "reached")


@pytest.mark.parametrize(
    "host",
    ["evil.example:4000", "127.0.0.1", "127.0.0.1:4001", "localhost.evil.example:4000", ""],
)
def test_another_host_is_refused_even_for_pages_and_the_open_api(host: str) -> None:
    for path in ("/control", "/page/1", "/api/1"):
        assert send("GET", path, {"host": host}) == (403, WRONG_HOST)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL},
        {"origin": "null"},
        {"origin": "null", "sec-fetch-site": "same-origin"},
        {"origin": EVIL, "sec-fetch-site": "none"},
        {"origin": OWN, **CROSS_SITE},
        {"origin": "https://127.0.0.1:4000"},
        CROSS_SITE,
        OTHER_PORT,
        {"sec-fetch-site": "same-site"},
        {**CROSS_SITE, **LINK},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_foreign_page_is_refused(method: str, headers: dict[str, str]) -> None:
    assert send(method, "/control", headers) == (403, WEB_PAGE)


@pytest.mark.parametrize("headers", [{"origin": EVIL, **CROSS_SITE}, OTHER_PORT])
def test_any_page_may_call_the_open_api(headers: dict[str, str]) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        assert send(method, "/api/1", headers) == (200, "reached")
        assert send(method, "/api", headers) == (403, WEB_PAGE)


def test_a_server_s_own_pages_may_call_it() -> None:
    same_origin = {"sec-fetch-site": "same-origin"}
    assert send("GET", "/control", same_origin) == (200, "reached")
    assert send("POST", "/control", {"origin": OWN, **same_origin}) == (200, "reached")
    assert send("POST", "/control", {"origin": OWN}) == (200, "reached")


def test_a_server_without_pages_refuses_its_own_origin_too() -> None:
    for headers in ({"sec-fetch-site": "same-origin"}, {"origin": OWN}):
        assert send("POST", "/control", headers, pages=None) == (403, WEB_PAGE)


def test_any_site_may_link_to_a_page_and_do_no_more() -> None:
    for site in ("cross-site", "same-site"):
        assert send("GET", "/page/1", {"sec-fetch-site": site, **LINK}) == (200, "reached")
    frame = {**LINK, **CROSS_SITE, "sec-fetch-dest": "iframe"}
    image = {**CROSS_SITE, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    assert send("GET", "/page/1", frame) == (403, WEB_PAGE)
    assert send("GET", "/page/1", image) == (403, WEB_PAGE)
    assert send("POST", "/page/1", {**LINK, **CROSS_SITE}) == (403, WEB_PAGE)
    assert send("POST", "/page/1", {**LINK, **CROSS_SITE, "origin": EVIL}) == (403, WEB_PAGE)


def test_an_address_typed_by_a_person_is_served() -> None:
    assert send("GET", "/control", {"sec-fetch-site": "none", **LINK}) == (200, "reached")


def test_a_second_host_or_origin_is_refused() -> None:
    evil_host, evil_origin = ("host", "evil.example:4000"), ("origin", EVIL)
    assert send("GET", "/control", {}, evil_host) == (403, WRONG_HOST)
    assert send("GET", "/control", {"origin": OWN}, evil_origin) == (403, WEB_PAGE)


def test_a_websocket_is_never_opened() -> None:
    scope: Message = {"type": "websocket", "path": "/api/1", "headers": []}
    closed = {"type": "websocket.close", "code": 1008}
    assert messages(guarded(reached, api=".*"), scope) == [closed]


def test_the_server_s_own_start_passes() -> None:
    assert messages(guarded(reached), {"type": "lifespan"})[-1]["body"] == b"reached"
