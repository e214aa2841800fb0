"""The client that controls the simulator: its clock, payments, faults and deliveries.

control = Control("http://127.0.0.1:4242")
control.advance(days=31)
control.hold_deliveries(); …; control.release_deliveries("reversed")
control.fail_calls(429, count=2, path="/v1/customers")
assert control.wait_until_quiet()
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Literal, TypedDict

import httpx

Outcome = Literal["succeed", "fail", "requires_action"]
Order = Literal["in_order", "reversed", "shuffled"]


class Attempt(TypedDict):
    """One attempt of a delivery. `at` is real Unix time; `error` is the name of the exception."""

    at: float
    status: int | None
    error: str | None


class DeliveryEntry(TypedDict):
    """One event on its way to one endpoint."""

    event: str
    type: str
    endpoint: str
    url: str
    state: Literal["pending", "held", "delivered", "lost", "failed"]
    attempts: list[Attempt]
    forged: bool


class RequestEntry(TypedDict):
    """One API call. `at` is the simulator's time; `status` is "dropped" without a response."""

    id: str
    method: str
    path: str
    params: dict[str, Any]
    status: int | str | None
    api_version: str | None
    at: int


class StepEntry(TypedDict):
    """One billing step that ran. `billing_steps` names them."""

    at: int
    step: str
    subscription: str


class Control:
    """Controls a running simulator. Every method raises `httpx.HTTPStatusError` for an error."""

    def __init__(self, base_url: str, timeout: float = 60.0) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.Client(base_url=self.base_url, timeout=timeout, trust_env=False)

    def __enter__(self) -> Control:
        return self

    def __exit__(
        self,
        type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Time and money

    def state(self) -> dict[str, Any]:
        return self._call("GET", "/state")

    def now(self) -> int:
        """The simulator's time, in Unix seconds."""
        return int(self.state()["now"])

    def advance(self, seconds: float = 0, *, days: float = 0, hours: float = 0) -> list[StepEntry]:
        """Move the clock forward. Returns the billing steps that ran, in order."""
        total = round(seconds + days * 86_400 + hours * 3600)
        steps: list[StepEntry] = self._call("POST", "/clock/advance", {"seconds": total})["steps"]
        return steps

    def payment_outcome(self, customer: str, outcome: Outcome | None) -> None:
        """Set the outcome of each charge of this customer. With None, the card decides."""
        self._call("POST", "/payments", {"customer": customer, "outcome": outcome})

    def schedule(self, subscription: str) -> str:
        """Attach a schedule to the subscription. Returns its id.

        The simulator shows the id on the subscription, but has no schedules and never runs one.
        """
        return str(self._call("POST", "/schedules", {"subscription": subscription})["schedule"])

    def delete_product(self, product: str) -> None:
        """Delete a product and its prices, even if subscriptions refer to them.

        The API refuses that. At Stripe it is done by deleting the product's plans first.
        """
        self._call("POST", "/products/delete", {"product": product})

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Change fields of `world.Settings`, such as `after_retries="unpaid"`. Returns them all."""
        return self._call("POST", "/settings", changes)

    # Restricted keys

    def restrict_key(self, key: str, permissions: Iterable[str] | None) -> None:
        """Give a key these permissions only (`rak_customer_read`, …). With None it has all."""
        names = None if permissions is None else sorted(permissions)
        self._call("POST", "/keys", {"key": key, "permissions": names})

    def used_permissions(self, key: str) -> list[str]:
        """Return the permissions that calls with this key needed since the last call of this."""
        used: dict[str, list[str]] = self._call("POST", "/keys/used")["used"]
        return used.get(key, [])

    # Faults of API calls. `count=None` lasts until `clear_faults`.

    def fail_calls(
        self,
        status: int = 500,
        *,
        count: int | None = 1,
        path: str = "/v1/",
        method: str | None = None,
        should_retry: bool | None = None,
    ) -> None:
        self._fault(
            "status",
            count=count,
            path=path,
            method=method,
            status=status,
            should_retry=should_retry,
        )

    def slow_calls(
        self,
        seconds: float,
        *,
        count: int | None = 1,
        path: str = "/v1/",
        method: str | None = None,
    ) -> None:
        self._fault("slow", count=count, path=path, method=method, seconds=seconds)

    def drop_calls(
        self,
        *,
        count: int | None = 1,
        path: str = "/v1/",
        method: str | None = None,
        applied: bool = False,
    ) -> None:
        """Close the connection without a response. `applied`: execute the call first."""
        self._fault("drop", count=count, path=path, method=method, applied=applied)

    def stale_reads(
        self,
        *,
        changes: int = 0,
        seconds: float = 0.0,
        count: int | None = 1,
        path: str = "/v1/",
    ) -> None:
        """Make GETs see the state of `changes` changes and `seconds` real seconds ago."""
        self._fault("stale", count=count, path=path, changes=changes, seconds=seconds)

    def clear_faults(self) -> None:
        self._call("DELETE", "/faults")

    # Deliveries

    def deliveries(self, type: str | None = None) -> list[DeliveryEntry]:
        found: list[DeliveryEntry] = self._call("GET", "/deliveries")["deliveries"]
        return [entry for entry in found if type in (None, entry["type"])]

    def wait_until_quiet(self, timeout: float = 10.0) -> bool:
        """Return whether every delivery except the held ones ended within `timeout` seconds."""
        return bool(self._call("POST", "/deliveries/quiet", {"timeout": timeout})["quiet"])

    def hold_deliveries(self, *types: str, count: int | None = None) -> None:
        self._rule("hold", types, count)

    def release_deliveries(
        self, order: Order = "in_order", *, seed: int = 0, events: list[str] | None = None
    ) -> int:
        """Send the held deliveries one after the other. Returns their number.

        `events` selects some and sets their order. New deliveries are held until
        `deliver_normally`.
        """
        body = {"order": order, "seed": seed, "ids": events}
        return int(self._call("POST", "/deliveries/release", body)["released"])

    def delay_deliveries(self, seconds: float, *types: str, count: int | None = None) -> None:
        self._rule("delay", types, count, seconds=seconds)

    def duplicate_deliveries(self, *types: str, copies: int = 2, count: int | None = None) -> None:
        self._rule("duplicate", types, count, copies=copies)

    def lose_deliveries(self, *types: str, count: int | None = None) -> None:
        """Never send these deliveries. `GET /v1/events` still lists their events."""
        self._rule("lose", types, count)

    def deliver_normally(self) -> None:
        """Remove every rule. Held deliveries stay held until they are released."""
        self._call("DELETE", "/deliveries/rules")

    def retry_backoff(self, *seconds: float) -> None:
        """Set the pauses between the attempts of a delivery. It fails when none is left."""
        self._call("POST", "/deliveries/backoff", {"seconds": seconds})

    def deliver_at(self, pattern: str, replacement: str) -> None:
        """Deliver to another address if a URL begins with the regular expression `pattern`.

        `replacement` replaces the match, as in re.sub. A reset keeps it.
        """
        body = {"pattern": pattern, "replacement": replacement}
        self._call("POST", "/deliveries/addresses", body)

    def resend(self, event: str, endpoint: str | None = None) -> int:
        """Send an event again, to one endpoint or to all. Returns the number of deliveries."""
        body = {"event": event, "endpoint": endpoint}
        return int(self._call("POST", "/deliveries/resend", body)["sent"])

    def forge(
        self,
        event: str | dict[str, Any],
        *,
        endpoint: str | None = None,
        secret: str = "whsec_forged",
    ) -> None:
        """Send an event (an id, or a whole invented event) signed with the wrong secret."""
        body = {"event": event, "endpoint": endpoint, "secret": secret}
        self._call("POST", "/deliveries/forge", body)

    def roll_webhook_secret(self, endpoint: str | None = None, *, overlap: float = 86_400) -> str:
        """Roll the signing secret and return it. Both secrets sign for `overlap` real seconds."""
        body = {"endpoint": endpoint, "overlap": overlap}
        return str(self._call("POST", "/webhook_secret/roll", body)["secret"])

    # What happened

    def requests(self, method: str | None = None, path: str = "") -> list[RequestEntry]:
        """Return the API calls so far, oldest first, of a method and below a path."""
        found: list[RequestEntry] = self._call("GET", "/requests")["requests"]
        return [
            entry
            for entry in found
            if method in (None, entry["method"]) and entry["path"].startswith(path)
        ]

    def clear_requests(self) -> None:
        self._call("DELETE", "/requests")

    def reset(self) -> None:
        """Empty the account, return to real time, and remove all faults, rules and logs."""
        self._call("POST", "/reset")

    def _fault(self, kind: str, **options: Any) -> None:
        self._call("POST", "/faults", {"kind": kind, **options})

    def _rule(self, action: str, types: tuple[str, ...], count: int | None, **options: Any) -> None:
        body = {"action": action, "types": list(types), "count": count, **options}
        self._call("POST", "/deliveries/rules", body)

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        response = self._http.request(method, "/_simulator" + path, json=body)
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found
