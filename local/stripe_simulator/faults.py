"""Faults on request: error responses, slow responses, dropped connections and stale reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import StripeError


@dataclass
class Fault:
    """Applies to the next `count` API calls (None: all) of this method below this path."""

    kind: str  # status | slow | drop | stale
    count: int | None = 1
    path: str = "/v1/"
    method: str | None = None
    status: int = 500  # kind status
    should_retry: bool | None = None  # kind status: the Stripe-Should-Retry header, if any
    seconds: float = 0.0  # slow: how long; stale: how long ago
    changes: int = 0  # stale: how many changes ago
    applied: bool = False  # drop: whether the call is executed first


@dataclass
class Faults:
    """The faults that apply to coming calls."""

    active: list[Fault] = field(default_factory=list)

    def strike(self, method: str, path: str) -> list[Fault]:
        """Return the faults of this call, at most one of each kind, and count each down by one."""
        met: dict[str, Fault] = {}
        for fault in list(self.active):
            if fault.kind in met or not path.startswith(fault.path):
                continue
            if fault.method is not None and fault.method != method:
                continue
            # Only a read can be stale: a write must not use the fault up.
            if fault.kind == "stale" and method != "GET":
                continue
            met[fault.kind] = fault
            if fault.count is not None:
                fault.count -= 1
                if fault.count <= 0:
                    self.active.remove(fault)
        return list(met.values())

    def describe(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self.active]


def error_for(status: int) -> StripeError:
    if status == 429:
        return StripeError(
            429,
            "Request rate limit exceeded. Learn more about rate limits here "
            "https://stripe.com/docs/rate-limits.",
            code="rate_limit",
        )
    if status == 409:
        return StripeError(409, "There is currently another in-progress request.", type="api_error")
    if status == 401:
        return StripeError(401, "Invalid API Key provided.")
    if status == 403:
        return StripeError(403, "The provided key does not have the required permissions.")
    return StripeError(
        status, "An unknown error occurred. (A test requested it.)", type="api_error"
    )
