"""Stripe's library as it is connected: headers, timeouts, keys, retries, and errors as ours."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from billing.adapters.stripe_api import StripeApi
from billing.adapters.stripe_client import MAX_IDEMPOTENCY_KEYS
from billing.errors import (
    SecretUnavailable,
    StripeRefused,
    StripeUnavailable,
)
from billing.timeouts import STRIPE_TIMEOUT_SECONDS
from tests.unit.adapters.stripe import connected
from tests.unit.adapters.wire import Response, Sent, Wire, stripe_error

CUSTOMER = Response({"id": "cus_1", "object": "customer"})


# ---------------------------------------------------------------- what every request has


def test_every_request_has_the_key_and_the_version_that_it_is_connected_with(wire: Wire) -> None:
    wire.responds(CUSTOMER)
    connected(wire, api_version="2025-03-31.basil").retrieve_customer("cus_1")
    assert wire.only.headers["authorization"] == "Bearer sk_test_x"
    assert wire.only.headers["stripe-version"] == "2025-03-31.basil"


@pytest.mark.parametrize(("account", "header"), [("own", None), ("acct_1", "acct_1")])
def test_a_connected_account_is_named_only_if_one_is_configured(
    wire: Wire, account: str, header: str | None
) -> None:
    wire.responds(CUSTOMER)
    connected(wire, account=account).retrieve_customer("cus_1")
    assert wire.only.headers.get("stripe-account") == header


def test_no_state_of_the_library_is_sent_to_stripe(wire: Wire) -> None:
    wire.responds(CUSTOMER)
    for _ in range(2):
        connected(wire).retrieve_customer("cus_1")
    assert not any("x-stripe-client-telemetry" in sent.headers for sent in wire.sent)


def test_the_library_writes_nothing_into_the_log(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wire.responds(CUSTOMER, stripe_error(400, message="No such customer: ada@example.com"))
    connected(wire).retrieve_customer("cus_1")
    with pytest.raises(StripeRefused):
        connected(wire).list_tax_ids("cus_1", None)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("options", "timeout"), [({}, STRIPE_TIMEOUT_SECONDS), ({"timeout": (2, 4)}, (2, 4))]
)
def test_every_request_has_its_timeouts_for_connecting_and_reading(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], timeout: Any
) -> None:
    used: list[Any] = []
    send = HTTPAdapter.send

    def recorded(adapter: Any, request: Any, **settings: Any) -> requests.Response:
        used.append(settings["timeout"])
        return send(adapter, request, **settings)

    monkeypatch.setattr(HTTPAdapter, "send", recorded)
    wire.responds(CUSTOMER)
    connected(wire, **options).retrieve_customer("cus_1")
    assert used == [timeout]


def test_a_response_that_does_not_come_in_time_is_unavailable(wire: Wire) -> None:
    given_up = threading.Event()

    def late(sent: Sent) -> Response:
        given_up.wait(2)
        return CUSTOMER

    wire.respond = late
    with pytest.raises(StripeUnavailable, match="APIConnectionError"):
        connected(wire, timeout=(2, 0.05)).retrieve_customer("cus_1")
    given_up.set()


def test_the_library_repeats_nothing_by_itself_unless_it_is_told_to(wire: Wire) -> None:
    wire.responds(stripe_error(503, "api_error"))
    with pytest.raises(StripeUnavailable):
        connected(wire).retrieve_customer("cus_1")
    assert len(wire.sent) == 1
    with pytest.raises(StripeUnavailable):
        connected(wire, retries=1).retrieve_customer("cus_1")
    assert len(wire.sent) == 1 + 2


def test_requests_one_after_the_other_use_one_connection(wire: Wire) -> None:
    wire.responds(CUSTOMER)
    adapter = connected(wire)
    for _ in range(3):
        adapter.retrieve_customer("cus_1")
    assert (len(wire.sent), wire.connections) == (3, 1)


# ---------------------------------------------------------------- a key that was rotated


class RotatedKey:
    """The key's secret: `stored` is read only by `refreshed`."""

    def __init__(self, stored: str | None) -> None:
        self.stored = stored
        self.reads = 0

    def refreshed(self) -> str:
        self.reads += 1
        if self.stored is None:
            raise SecretUnavailable
        return self.stored


def refusing(wire: Wire, valid: str, key: RotatedKey) -> StripeApi:
    """Stripe with one valid key, and an adapter that still uses the key `sk_test_x`."""

    def respond(sent: Sent) -> Response:
        if sent.headers["authorization"] != f"Bearer {valid}":
            return stripe_error(401)
        return Response({"id": "x_1", "object": "thing", "url": "u"})

    wire.respond = respond
    return connected(wire, refreshed_key=key.refreshed)


def test_a_refused_key_is_read_again_and_the_call_repeated_once_if_it_has_changed(
    wire: Wire,
) -> None:
    adapter = refusing(wire, "sk_test_new", RotatedKey("sk_test_new"))
    assert adapter.retrieve_customer("cus_1")[0]["id"] == "x_1"
    used = [sent.headers["authorization"] for sent in wire.sent]
    assert used == ["Bearer sk_test_x", "Bearer sk_test_new"]
    assert wire.sent[0].target == wire.sent[1].target
    # Both attempts stand for one call: they have one idempotency key, and one body.
    wire.sent.clear()
    assert adapter.create_customer({"user_id": "ada"}, "k") == "x_1"
    assert adapter.create_portal_session({"customer": "cus_1"}) == "u"
    keys = [sent.headers["idempotency-key"] for sent in wire.sent]
    assert keys[:2] == ["k-0", "k-0"]
    assert keys[2] == keys[3]
    assert [wire.sent[0].body, wire.sent[2].body] == [wire.sent[1].body, wire.sent[3].body]


@pytest.mark.parametrize(
    ("stored", "requests_sent"),
    [("sk_test_x", 1), (None, 1), ("sk_test_newer", 2)],
    ids=["unchanged", "unreadable", "refused, too"],
)
def test_a_key_that_stays_refused_is_an_error_after_one_read_of_its_secret(
    wire: Wire, stored: str | None, requests_sent: int
) -> None:
    key = RotatedKey(stored)
    adapter = refusing(wire, "sk_test_new", key)
    with pytest.raises(StripeRefused) as raised:
        adapter.create_customer({"user_id": "ada"}, "k")
    assert raised.value.status == 401
    assert (len(wire.sent), key.reads) == (requests_sent, 1)


def test_a_key_that_is_not_refused_is_not_read_again(wire: Wire) -> None:
    key = RotatedKey("sk_test_new")
    wire.responds(stripe_error(403))
    with pytest.raises(StripeRefused):
        connected(wire, refreshed_key=key.refreshed).retrieve_customer("cus_1")
    assert (len(wire.sent), key.reads) == (1, 0)


# ---------------------------------------------------------------- Stripe's errors as ours


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", StripeRefused),
        (401, "invalid_request_error", StripeRefused),
        (403, "invalid_request_error", StripeRefused),
        (404, "invalid_request_error", StripeRefused),
        (409, "idempotency_error", StripeUnavailable),
        (409, "invalid_request_error", StripeUnavailable),
        (429, "rate_limit_error", StripeUnavailable),
        (500, "api_error", StripeUnavailable),
        (503, "api_error", StripeUnavailable),
    ],
)
def test_the_status_of_an_error_decides_which_error_is_raised(
    wire: Wire, status: int, kind: str, error: type[Exception]
) -> None:
    wire.responds(stripe_error(status, kind))
    with pytest.raises(error) as raised:
        connected(wire).retrieve_customer("cus_1")
    assert raised.type is error


def test_a_refusal_has_stripes_status_code_and_parameter_and_none_of_its_text(wire: Wire) -> None:
    wire.responds(stripe_error(400, code="parameter_unknown", param="expand", message="secret"))
    with pytest.raises(StripeRefused) as raised:
        connected(wire).retrieve_customer("cus_1")
    refused = raised.value
    assert (refused.status, refused.code, refused.param) == (400, "parameter_unknown", "expand")
    assert refused.reason == "InvalidRequestError"


def test_a_response_that_is_not_json_is_unavailable(wire: Wire) -> None:
    wire.responds(Response("a proxy's page", 502))
    with pytest.raises(StripeUnavailable):
        connected(wire).retrieve_customer("cus_1")


def test_a_stripe_that_cannot_be_reached_is_unavailable(wire: Wire) -> None:
    wire.url = "http://127.0.0.1:9"
    with pytest.raises(StripeUnavailable, match="APIConnectionError"):
        connected(wire).retrieve_customer("cus_1")


# ---------------------------------------------------------------- one retry where a person waits

#: Every call for which a person waits. `list_all_subscriptions` has a test of its own.
INTERACTIVE: dict[str, Callable[[StripeApi], Any]] = {
    "find_price": lambda adapter: adapter.find_price("team_monthly"),
    "create_customer": lambda adapter: adapter.create_customer({}, "k"),
    "newest_checkout_sessions": lambda adapter: adapter.newest_checkout_sessions("cus_1"),
    "list_open_checkout_sessions": lambda adapter: adapter.list_open_checkout_sessions("cus_1"),
    "list_all_subscriptions": lambda adapter: adapter.list_all_subscriptions("cus_1"),
    "retrieve_checkout_session": lambda adapter: adapter.retrieve_checkout_session("cs_1"),
    "expire_checkout_session": lambda adapter: adapter.expire_checkout_session("cs_1"),
    "create_checkout_session": lambda adapter: adapter.create_checkout_session({}, "k"),
    "retrieve_subscription": lambda adapter: adapter.retrieve_subscription("sub_1"),
    "find_price_id": lambda adapter: adapter.find_price_id("team_monthly"),
    "create_portal_session": lambda adapter: adapter.create_portal_session({}),
}


@pytest.mark.parametrize("name", INTERACTIVE)
def test_a_call_for_which_a_person_waits_is_repeated_once_and_is_the_same_then(
    wire: Wire, name: str
) -> None:
    wire.responds(stripe_error(503, "api_error"))
    with pytest.raises(StripeUnavailable):
        INTERACTIVE[name](connected(wire))
    assert len(wire.sent) == 2
    first, second = wire.sent
    assert (first.method, first.target, first.body) == (second.method, second.target, second.body)
    if name != "expire_checkout_session":  # which ends the same session, however often it is sent
        assert first.headers.get("idempotency-key") == second.headers.get("idempotency-key")


def test_a_call_of_the_worker_is_not_repeated(wire: Wire) -> None:
    wire.responds(stripe_error(503, "api_error"))
    with pytest.raises(StripeUnavailable):
        connected(wire).list_subscriptions("cus_1", None)
    assert len(wire.sent) == 1


# ---------------------------------------------------------------- a series of idempotency keys


def keys(wire: Wire) -> list[str]:
    return [sent.headers["idempotency-key"] for sent in wire.sent]


@pytest.mark.parametrize("status", [500, 400])
def test_after_a_recorded_failure_the_next_key_of_the_series_is_used(
    wire: Wire, status: int
) -> None:
    """Also after a refusal whose cause was fixed since: Stripe would repeat it for a day."""
    recorded: set[str] = set()

    def respond(sent: Sent) -> Response:
        key = sent.headers["idempotency-key"]
        if key in recorded:
            return stripe_error(status, "api_error", replayed=True)
        if not recorded:
            recorded.add(key)
            return stripe_error(500, "api_error")
        return CUSTOMER

    wire.respond = respond
    adapter = connected(wire)
    assert adapter.create_customer({"user_id": "ada"}, "k") == "cus_1"
    assert keys(wire) == ["k-0", "k-0", "k-1"]
    assert adapter.create_customer({"user_id": "ada"}, "k") == "cus_1"
    assert keys(wire)[3:] == ["k-0", "k-1"]


def test_a_recorded_failure_of_the_last_key_of_the_series_raises_stripe_unavailable(
    wire: Wire,
) -> None:
    wire.responds(stripe_error(500, "api_error", replayed=True))
    with pytest.raises(StripeUnavailable):
        connected(wire).create_customer({"user_id": "ada"}, "k")
    assert keys(wire) == [f"k-{number}" for number in range(MAX_IDEMPOTENCY_KEYS)]


def test_a_refusal_uses_up_no_key_of_the_series(wire: Wire) -> None:
    wire.responds(stripe_error(400))
    with pytest.raises(StripeRefused):
        connected(wire).create_customer({"user_id": "ada"}, "k")
    assert keys(wire) == ["k-0"]
