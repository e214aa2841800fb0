"""Where a customer may be sent back to: URLs of exactly the allowed origins. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from billing.errors import BadRequest

LONGEST_URL = 5000  # Stripe's own limit for a return_url

_DEFAULT_PORTS = {"https": 443, "http": 80}
_LOCALHOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def checked_return_url(
    url: str, allowed_origins: Iterable[str], *, stage: str, name: str = "return_url"
) -> str:
    """`url` itself if its origin is one of `allowed_origins`. Raises BadRequest otherwise, which
    calls it by `name`, the property it came in.

    Origins are compared after parsing: host lower-cased, default port dropped. Plain http is
    allowed for a listed localhost in stage dev only.
    """
    if not url.isascii() or len(url) > LONGEST_URL or any(c <= " " or c in "\\\x7f" for c in url):
        raise BadRequest(f"{name} has characters that no URL has, or is too long.")
    try:
        parts = urlsplit(url)
        origin = _origin(parts)
    except ValueError:
        raise BadRequest(f"{name} is not a URL.") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise BadRequest(f"{name} must not carry a user name or password.")
    scheme, host, _ = origin
    if scheme != "https" and not (scheme == "http" and host in _LOCALHOSTS and stage == "dev"):
        raise BadRequest(f"{name} must be an https URL.")
    if origin not in {_origin(urlsplit(allowed)) for allowed in allowed_origins}:
        raise BadRequest(
            f"{name} is not on an allowed origin; the deployment's AllowedOrigins lists them."
        )
    return url


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    """Scheme, host and port. Raises ValueError for a port that is no port."""
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme)
