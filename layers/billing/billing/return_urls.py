"""Where a customer may be sent back to: URLs of exactly the allowed origins. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from billing.errors import BadRequest

#: Stripe's own limit for a return_url.
MAX_URL_CHARACTERS = 5000

_DEFAULT_PORTS = {"https": 443, "http": 80}
_LOCALHOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnUrls:
    """The deployment's rule. `default` serves where a request names no URL."""

    allowed_origins: tuple[str, ...]
    default: str
    stage: str

    def chosen(
        self, request: Mapping[str, Any], name: str, complete: Callable[[str], str] = str
    ) -> str:
        """The URL in the property `name` of `request`, checked as `complete` completes it; else the
        default, completed too. The default is the deployment's own and needs no check."""
        if name not in request:
            return complete(self.default)
        return self.checked(complete(request[name]), name)

    def checked(self, url: str, name: str) -> str:
        """`url` itself if its origin is allowed. Raises BadRequest, which calls it by `name`.

        Origins are compared after parsing: host lower-cased, default port dropped. Plain http is
        allowed for a listed localhost in stage dev only.
        """
        if (
            not url.isascii()
            or len(url) > MAX_URL_CHARACTERS
            or any(c <= " " or c in "\\\x7f" for c in url)
        ):
            raise BadRequest(
                f"{name} must be a URL of printable ASCII characters without spaces or "
                f"backslashes, at most {MAX_URL_CHARACTERS} long."
            )
        try:
            parts = urlsplit(url)
            origin = _origin(parts)
        except ValueError:
            raise BadRequest(f"{name} is not a URL.") from None
        if parts.username is not None or parts.password is not None or "@" in parts.netloc:
            raise BadRequest(f"{name} must not contain a user name or password.")
        scheme, host, _ = origin
        if scheme != "https" and not (
            scheme == "http" and host in _LOCALHOSTS and self.stage == "dev"
        ):
            raise BadRequest(f"{name} must be an https URL.")
        if origin not in {_origin(urlsplit(allowed)) for allowed in self.allowed_origins}:
            raise BadRequest(
                f"{name} is not on an allowed origin; the deployment's AllowedOrigins lists them."
            )
        return url


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    """Scheme, host and port. Raises ValueError for a port that is not a port number."""
    scheme = parts.scheme.lower()
    port = _DEFAULT_PORTS.get(scheme) if parts.port is None else parts.port
    return scheme, (parts.hostname or "").lower(), port
