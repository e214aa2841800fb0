"""The HTTP edge: API Gateway's event (payload 2.0) as a request, results and errors as responses.

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
from billing.schemas import object_schema
from billing.subjects import why_unusable

#: Bytes of a JSON body; our clients send far less.
MAX_JSON_BYTES = 16 * 1024

#: When a client may try again after a 503, in seconds.
RETRY_AFTER_SECONDS = 5

#: The body of every error. API Gateway's own errors (401, 404, 429) are `{"message": …}` instead.
PROBLEM_SCHEMA = object_schema(
    "Problem details by RFC 9457.",
    type={"type": "string", "description": "urn:portcullis:problem:…"},
    title={"type": "string"},
    status={"type": "integer"},
    detail={"type": "string", "description": "What happened and what to do"},
)

#: Headers of a 200 that its 304 repeats.
_HEADERS_OF_304 = ("cache-control", "etag", "vary", "x-content-type-options")

Response = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP API event; header names in lower case."""

    event: Mapping[str, Any]
    headers: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        given: Mapping[str, str] = self.event.get("headers") or {}
        object.__setattr__(self, "headers", {name.lower(): given[name] for name in given})

    def body(self, *, limit: int) -> bytes:
        """The exact bytes of the body. Raises PayloadTooLarge above `limit` bytes, BadRequest."""
        text: str = self.event.get("body") or ""
        encoded = bool(self.event.get("isBase64Encoded"))
        # Base64 is four characters for three bytes: what is too large is never decoded.
        if len(text) > (limit // 3 + 1) * 4 if encoded else len(text) > limit:
            raise PayloadTooLarge(f"The body is larger than {limit} bytes.")
        if not encoded:
            body = text.encode("utf-8", "surrogatepass")
        else:
            try:
                body = base64.b64decode(text, validate=True)
            except ValueError:
                raise BadRequest("The body is flagged as base64 and is not base64.") from None
        if len(body) > limit:
            raise PayloadTooLarge(f"The body is larger than {limit} bytes.")
        return body

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty body is an empty object. Raises RequestRefused."""
        body = self.body(limit=MAX_JSON_BYTES)
        if not body.strip():
            return {}
        try:
            value = json.loads(body)
            # Half of a surrogate pair, escaped, is valid JSON but cannot be encoded again.
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise BadRequest("The body is not JSON.") from None
        if not isinstance(value, dict):
            raise BadRequest("The body is not a JSON object.")
        return value

    @property
    def claims(self) -> Mapping[str, Any]:
        """The claims that API Gateway's JWT authorizer has verified, all of them as strings."""
        context = self.event.get("requestContext", {})
        claims: Mapping[str, Any] = context.get("authorizer", {}).get("jwt", {}).get("claims", {})
        return claims

    def subject(self, claim: str) -> str:
        """Who is billed: the value of `claim`. Raises Forbidden where it cannot be used."""
        subject = self.claims.get(claim)
        if reason := why_unusable(subject):
            raise Forbidden(
                f"Your token's claim {claim!r} does not say who is billed: {reason}. "
                "Sign in with a token that has it as a plain string."
            )
        return str(subject)

    def require_scope(self, scope: str) -> None:
        """Raise Forbidden unless the token carries `scope`; an empty one is not required."""
        if scope and scope not in {*self._scopes("scope"), *self._scopes("scp")}:
            raise Forbidden(f"Your token does not carry the scope {scope!r}.")

    def _scopes(self, claim: str) -> list[str]:
        """The scopes in a claim. API Gateway renders one that is a list as `[a b]`."""
        granted = str(self.claims.get(claim, ""))
        if granted.startswith("[") and granted.endswith("]"):
            granted = granted[1:-1]
        return granted.split(" ")

    @property
    def route(self) -> str:
        """The route as the template names it, `GET /entitlements/{feature}`."""
        return str(self.event["routeKey"])

    def path_parameter(self, name: str) -> str:
        return unquote(self.event["pathParameters"][name])


def respond(status: int, body: Mapping[str, Any], **headers: str) -> Response:
    """A JSON response that no cache keeps: almost every response is for one customer only."""
    return {
        "statusCode": status,
        "headers": {
            "content-type": "application/json",
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        "body": json.dumps(body, separators=(",", ":")),
    }


def cacheable(request: Request, body: Mapping[str, Any], *, max_age: int) -> Response:
    """A JSON response that is the same for everybody and may be cached for `max_age` seconds; a 304
    without a body where the client has it already (RFC 9110, If-None-Match)."""
    # API Gateway adds CORS headers that depend on the Origin, so a cache must tell them apart.
    response = respond(200, body, cache_control=f"public, max-age={max_age}", vary="origin")
    tag = f'"{hashlib.sha256(response["body"].encode()).hexdigest()[:32]}"'
    response["headers"]["etag"] = tag
    known = request.headers.get("if-none-match", "")
    if known == "*" or tag in {each.strip().removeprefix("W/") for each in known.split(",")}:
        headers = {name: response["headers"][name] for name in _HEADERS_OF_304}
        return {"statusCode": 304, "headers": headers}
    return response


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
    """A Lambda handler that returns the response of `answer`, or a problem for any error."""

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
                f"{error.service} {error.fault}. Try again in a moment; repeating is safe.",
                retry_after=str(RETRY_AFTER_SECONDS),
            )
        except Exception as error:  # noqa: BLE001  the outermost edge: answered, counted and logged whole
            telemetry.report("RequestFailed", error=type(error).__name__, reason="unexpected")
            telemetry.logger.exception("unexpected error")
            return problem(
                500,
                "internal",
                "Internal error",
                "An unexpected error happened on our side and was logged. Try again later.",
            )
        finally:
            telemetry.flush()

    return handler
