"""The Stripe adapter where only an odd answer shows what it does: recorded failures, odd prices."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from billing.adapters.stripe_api import StripeApi
from billing.adapters.stripe_client import MAX_IDEMPOTENCY_KEYS
from billing.errors import Conflict, StripeUnavailable
from billing.settings import STRIPE_API_VERSION

Answer = tuple[int, dict[str, str], Any]

DATE = {"Date": "Sun, 22 Nov 2026 12:00:00 GMT"}


class Wire(stripe.HTTPClient):
    """The library's transport: `answer(method, url, headers)` instead of a network."""

    name = "wire"

    def __init__(self, answer: Callable[[str, str, dict[str, str]], Answer]) -> None:
        super().__init__()
        self._answer = answer
        self.keys: list[str] = []
        self.urls: list[str] = []

    def request(
        self, method: str, url: str, headers: Any, post_data: Any = None, **_: Any
    ) -> tuple[str, int, dict[str, str]]:
        self.urls.append(url)
        if "Idempotency-Key" in headers:
            self.keys.append(headers["Idempotency-Key"])
        status, extra, body = self._answer(method, url, headers)
        return json.dumps(body), status, {**DATE, **extra}

    def close(self) -> None:
        """Nothing is open."""


def api(answer: Callable[[str, str, dict[str, str]], Answer]) -> tuple[StripeApi, Wire]:
    wire = Wire(answer)
    client = stripe.StripeClient(
        "sk_test_x", stripe_version=STRIPE_API_VERSION, http_client=wire, max_network_retries=0
    )
    return StripeApi(lambda: client), wire


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


FAILED = {"error": {"type": "api_error", "message": "An unknown error occurred"}}


def test_after_a_recorded_failure_the_next_key_of_the_series_is_used() -> None:
    recorded: set[str] = set()

    def answer(method: str, url: str, headers: dict[str, str]) -> Answer:
        key = headers["Idempotency-Key"]
        if key in recorded:
            return 500, {"Idempotent-Replayed": "true"}, FAILED
        if not recorded:
            recorded.add(key)
            return 500, {}, FAILED
        return 200, {}, {"id": "cus_1", "object": "customer"}

    found, wire = api(answer)
    assert found.create_customer({"user_id": "ada"}, "k") == "cus_1"
    assert wire.keys == ["k-0", "k-0", "k-1"]
    assert found.create_customer({"user_id": "ada"}, "k") == "cus_1"
    assert wire.keys[3:] == ["k-0", "k-1"]


def test_an_unavailable_stripe_is_retried_once_and_then_reported() -> None:
    found, wire = api(lambda method, url, headers: (503, {}, FAILED))
    with pytest.raises(StripeUnavailable):
        found.create_customer({"user_id": "ada"}, "k")
    assert wire.keys == ["k-0", "k-0"]


def test_a_series_of_recorded_failures_ends() -> None:
    found, wire = api(lambda method, url, headers: (500, {"idempotent-replayed": "true"}, FAILED))
    with pytest.raises(StripeUnavailable):
        found.create_customer({"user_id": "ada"}, "k")
    assert len(set(wire.keys)) == MAX_IDEMPOTENCY_KEYS


def test_a_key_that_was_used_for_another_session_is_a_conflict() -> None:
    used = {"error": {"type": "idempotency_error", "message": "Keys for idempotent requests …"}}
    found, _ = api(lambda method, url, headers: (400, {}, used))
    with pytest.raises(Conflict):
        found.create_checkout_session({"mode": "subscription"}, "k")


def test_a_session_that_is_not_open_any_more_is_as_good_as_expired() -> None:
    closed = {"error": {"type": "invalid_request_error", "message": "Only Checkout Sessions …"}}
    found, wire = api(lambda method, url, headers: (400, {}, closed))
    found.expire_checkout_session("cs_test_1")
    assert len(wire.urls) == 1


def test_a_name_that_cannot_be_an_id_is_never_part_of_a_path() -> None:
    empty = {"object": "list", "data": [], "has_more": False, "url": "/v1/prices"}
    found, wire = api(lambda method, url, headers: (200, {}, empty))
    assert found.find_price("price_1/../../customers") is None
    assert len(wire.urls) == 1


def test_prices_are_found_by_lookup_key_ten_at_a_time_and_else_by_id() -> None:
    def answer(method: str, url: str, headers: dict[str, str]) -> Answer:
        if "/v1/prices?" in url:
            keys = [part for part in url.split("&") if "lookup_keys" in part]
            assert len(keys) <= 10
            data = [
                {"id": "price_a", "object": "price", "lookup_key": key, "active": True}
                for key in ("key_0", "key_11")
                if any(part.endswith(f"={key}") for part in keys)
            ]
            return 200, {}, {"object": "list", "data": data, "has_more": False, "url": "/v1/prices"}
        if "/v1/prices/price_b" in url:
            return 200, {}, {"id": "price_b", "object": "price", "active": True}
        if "/v1/prices/price_old" in url:
            return 200, {}, {"id": "price_old", "object": "price", "active": False}
        missing = {
            "type": "invalid_request_error",
            "code": "resource_missing",
            "message": "No such",
        }
        return 404, {}, {"error": missing}

    found, _ = api(answer)
    names = [f"key_{number}" for number in range(12)]
    prices, as_of = found.list_prices([*names, "price_b", "price_old"])
    assert [price.get("lookup_key") or price["id"] for price in prices] == [
        "key_0",
        "key_11",
        "price_b",
    ]
    assert as_of == 1_795_348_800
    assert found.list_prices([]) == ([], 0)
