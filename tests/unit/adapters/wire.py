"""A real HTTP endpoint on loopback in the place of AWS or Stripe: it records what is sent to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

#: The Date of every response, and the same in epoch seconds.
DATE, AS_OF = "Sun, 22 Nov 2026 12:00:00 GMT", 1_795_348_800


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One HTTP request. Names of headers are in lower case; `connection` is the client's port."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, strict_parsing=True))

    @property
    def form(self) -> dict[str, str]:
        """A body as Stripe takes it."""
        return dict(parse_qsl(self.body.decode()))

    @property
    def operation(self) -> str:
        """The AWS operation, `GetItem`; empty for a request to Stripe."""
        return self.headers.get("x-amz-target", "").partition(".")[2]

    @property
    def json(self) -> Any:
        """A body as AWS takes it."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """A response with a JSON body."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Respond = Callable[[Sent], Response]


class Wire:
    """The endpoint at `url`; `sent` has every request in order, `connections` how many were opened.

    `respond` makes the response to each request and runs on the connection's own thread.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.reset()

    def reset(self) -> None:
        """As new: nothing was sent, and every response is an empty object."""
        self.url = self._url
        self.sent: list[Sent] = []
        self.connections = 0
        self.respond: Respond = lambda sent: Response()

    def responds(self, *responses: Response) -> None:
        """Respond with these in order, and with the last of them from then on."""
        left = list(responses)
        self.respond = lambda sent: left.pop(0) if len(left) > 1 else left[0]

    @property
    def only(self) -> Sent:
        """The one request that was sent."""
        assert len(self.sent) == 1, [f"{sent.method} {sent.target}" for sent in self.sent]
        return self.sent[0]

    def sent_to(self, operation: str) -> list[Any]:
        """The bodies of the requests of this AWS operation."""
        return [sent.json for sent in self.sent if sent.operation == operation]


def aws_error(code: str, **fields: Any) -> Response:
    """An error as DynamoDB, SQS and Secrets Manager send it."""
    return Response({"__type": f"com.amazonaws#{code}", "message": "No.", **fields}, 400)


def stripe_error(
    status: int, kind: str = "invalid_request_error", *, replayed: bool = False, **fields: Any
) -> Response:
    """An error as Stripe sends it."""
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return Response({"error": {"type": kind, "message": "No.", **fields}}, status, headers)


def missing(param: str) -> Response:
    """Stripe's response where it does not have the object that `param` names."""
    return stripe_error(404, code="resource_missing", param=param)


def page(*ids: str, more: bool = False) -> Response:
    """A page of one of Stripe's lists."""
    data = [{"id": each, "object": "thing"} for each in ids]
    return Response({"object": "list", "data": data, "has_more": more, "url": "/v1/things"})


@contextmanager
def wired() -> Iterator[Wire]:
    """A wire that is open within the block."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes: the second would wait 40 ms for a delayed ACK.
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with lock:
                wire.connections += 1

        def do_GET(self) -> None:
            sent = Sent(
                connection=self.client_address[1],
                method=self.command,
                target=self.path,
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            )
            with lock:
                wire.sent.append(sent)
            response = wire.respond(sent)
            content = json.dumps(response.body).encode()
            self.send_response_only(response.status)
            headers = {"Date": DATE, "Content-Length": str(len(content)), **response.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            with suppress(ConnectionError):  # of a client that has given up
                self.end_headers()
                self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
            """Log nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    wire = Wire(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield wire
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
