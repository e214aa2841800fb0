"""The HTTP edge: API Gateway's event (payload 2.0) as a request, answers and errors as responses.

Errors become RFC 9457 problem details here and nowhere else.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from billing.adapters import telemetry
from billing.errors import BadRequest, Forbidden, PayloadTooLarge, RequestRefused, Unavailable

#: Bytes of a JSON body; what our clients send is far smaller.
LARGEST_JSON_BODY = 16 * 1024

#: A subject is part of a key in DynamoDB, which takes 2,048 bytes.
LONGEST_SUBJECT = 256

#: Seconds after which a client may try again when something we depend on is down.
RETRY_AFTER = 5

Response = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP API event; header names in lower case."""

    event: Mapping[str, Any]
    headers: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        given: Mapping[str, str] = self.event.get("headers") or {}
        object.__setattr__(self, "headers", {name.lower(): given[name] for name in given})

    @property
    def body(self) -> bytes:
        """The exact bytes of the body. Raises BadRequest."""
        text: str = self.event.get("body") or ""
        if not self.event.get("isBase64Encoded"):
            return text.encode("utf-8", "surrogatepass")
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            raise BadRequest("The body is flagged as base64 and is not.") from None

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty body is an empty object. Raises RequestRefused."""
        body = self.body
        if len(body) > LARGEST_JSON_BODY:
            raise PayloadTooLarge(f"The body is larger than {LARGEST_JSON_BODY} bytes.")
        if not body.strip():
            return {}
        try:
            value = json.loads(body)
            # An escaped half of a surrogate pair is JSON, and no text that can be sent on.
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise BadRequest("The body is not JSON.") from None
        if not isinstance(value, dict):
            raise BadRequest("The body is not a JSON object.")
        return value

    @property
    def claims(self) -> Mapping[str, Any]:
        """The claims that API Gateway's JWT authorizer has verified."""
        context = self.event.get("requestContext", {})
        claims: Mapping[str, Any] = context.get("authorizer", {}).get("jwt", {}).get("claims", {})
        return claims

    def subject(self, claim: str) -> str:
        """Who is billed: the value of `claim`. Raises Forbidden where the token has none."""
        subject = self.claims.get(claim)
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
            raise Forbidden(f"Your token carries no usable claim {claim!r}.")
        return subject

    def require_scope(self, scope: str) -> None:
        """Raise Forbidden unless the token carries `scope`; an empty one is everybody's."""
        granted = f"{self.claims.get('scope', '')} {self.claims.get('scp', '')}"
        # API Gateway renders a list claim as "[a b]".
        if scope and scope not in granted.replace("[", " ").replace("]", " ").split():
            raise Forbidden(f"Your token does not carry the scope {scope!r}.")

    @property
    def route(self) -> str:
        """The route as the template names it, `GET /entitlements/{feature}`."""
        return str(self.event["routeKey"])

    def path_parameter(self, name: str) -> str:
        return unquote(self.event["pathParameters"][name])

    @property
    def prefers_html(self) -> bool:
        """Whether the client is a browser following a form rather than a script."""
        accept = self.headers.get("accept", "")
        kinds = [part.split(";")[0].strip() for part in accept.split(",")]
        for kind in kinds:
            if kind in ("text/html", "application/xhtml+xml"):
                return True
            if kind in ("application/json", "application/*", "*/*"):
                return False
        return False


def respond(status: int, body: Mapping[str, Any], **headers: str) -> Response:
    """A JSON response, kept by no cache: almost every answer is one customer's own."""
    return {
        "statusCode": status,
        "headers": {
            "content-type": "application/json",
            "cache-control": "no-store",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        "body": json.dumps(body, separators=(",", ":")),
    }


def cacheable(request: Request, body: Mapping[str, Any], *, max_age: int) -> Response:
    """A JSON response that is the same for everybody and may be kept for `max_age` seconds; a 304
    without a body where the client has it already (RFC 9110, If-None-Match)."""
    headers = {"cache_control": f"public, max-age={max_age}"}
    response = respond(200, body, **headers)
    tag = f'"{hashlib.sha256(response["body"].encode()).hexdigest()[:32]}"'
    response["headers"]["etag"] = tag
    known = request.headers.get("if-none-match", "")
    if known == "*" or tag in {each.strip().removeprefix("W/") for each in known.split(",")}:
        kept = {name: response["headers"][name] for name in ("cache-control", "etag")}
        return {"statusCode": 304, "headers": kept}
    return response


def see_other(url: str) -> Response:
    """A redirect that turns a form's POST into a GET of `url`."""
    return {"statusCode": 303, "headers": {"location": url, "cache-control": "no-store"}}


def problem(status: int, kind: str, title: str, detail: str, **headers: str) -> Response:
    """Problem details by RFC 9457."""
    body = {
        "type": f"urn:portcullis:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    return respond(status, body, content_type="application/problem+json", **headers)


def endpoint(
    answer: Callable[[Request], Response],
) -> Callable[[Mapping[str, Any], Any], Response]:
    """A Lambda handler that answers one HTTP request by `answer`, and any error as a problem."""

    @functools.wraps(answer)
    def handler(event: Mapping[str, Any], _context: Any) -> Response:
        telemetry.logger.set_correlation_id(event.get("requestContext", {}).get("requestId"))
        try:
            return answer(Request(event))
        except RequestRefused as error:
            return problem(error.status, error.problem, error.title, error.detail)
        except Unavailable as error:
            telemetry.report("RequestFailed", error=type(error).__name__, reason=error.reason)
            return problem(
                503,
                "unavailable",
                "Service unavailable",
                f"{error.service} {error.fault}. Nothing was changed; try again shortly.",
                retry_after=str(RETRY_AFTER),
            )
        except Exception:  # noqa: BLE001  the outermost edge: an unforeseen error is answered, and logged whole
            telemetry.logger.exception("unforeseen error")
            return problem(
                500, "internal", "Internal error", "Something went wrong on our side; it is logged."
            )
        finally:
            telemetry.flush()

    return handler
