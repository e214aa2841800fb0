"""Faults on request: failed, slow and dropped calls, and stale reads."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
import stripe

from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import client_at


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, stripe.RateLimitError), (500, stripe.APIError), (503, stripe.APIError)],
)
def test_a_call_fails_the_given_number_of_times_and_then_works(
    api: Any, control: Control, status: int, error: type[stripe.StripeError]
) -> None:
    control.fail_calls(status, count=2, path="/v1/customers")
    api.products.list()
    for _ in range(2):
        with pytest.raises(error):
            api.customers.list()
    assert api.customers.list().data == []
    assert [r["status"] for r in control.requests(path="/v1/customers")] == [status, status, 200]


def test_the_library_retries_a_500_and_a_429_whose_header_says_so(control: Control) -> None:
    client = client_at(control.base_url, max_network_retries=2).v1
    control.fail_calls(500)
    assert client.customers.list().data == []
    control.fail_calls(429)
    with pytest.raises(stripe.RateLimitError):
        client.customers.list()
    control.fail_calls(429, should_retry=True)
    assert client.customers.list().data == []


def test_a_failed_write_changes_nothing(api: Any, control: Control) -> None:
    control.fail_calls(500, method="POST")
    with pytest.raises(stripe.APIError):
        api.customers.create()
    assert api.customers.list().data == []


def test_a_slow_call_is_delayed_and_others_are_not(api: Any, control: Control) -> None:
    control.slow_calls(0.3, path="/v1/customers")
    began = time.monotonic()
    api.products.list()
    assert time.monotonic() - began < 0.25
    api.customers.list()
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(("applied", "made"), [(False, 0), (True, 1)])
def test_a_dropped_connection_is_an_error_whether_or_not_the_call_was_executed(
    api: Any, control: Control, applied: bool, made: int
) -> None:
    control.drop_calls(applied=applied, method="POST")
    with pytest.raises(stripe.APIConnectionError):
        api.customers.create()
    assert len(api.customers.list().data) == made
    assert control.requests("POST", "/v1/customers")[0]["status"] == "dropped"


def test_a_retry_after_a_lost_response_does_not_repeat_the_call(control: Control) -> None:
    client = client_at(control.base_url, max_network_retries=1).v1
    control.drop_calls(applied=True, method="POST")
    made = client.customers.create()
    assert [each.id for each in client.customers.list()] == [made.id]


def test_a_stale_read_shows_the_state_some_changes_ago(api: Any, control: Control) -> None:
    made = api.customers.create({"name": "a"})
    api.customers.update(made.id, {"name": "b"})
    api.customers.update(made.id, {"name": "c"})
    control.stale_reads(changes=2, count=1)
    api.products.create({"name": "a write does not use the fault up"})
    control.clear_faults()
    control.stale_reads(changes=2, count=2)
    assert api.customers.retrieve(made.id).name == "b"
    control.clear_faults()
    assert api.customers.retrieve(made.id).name == "c"
    control.stale_reads(changes=4)
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        api.customers.retrieve(made.id)


def test_a_stale_list_shows_earlier_objects(api: Any, control: Control) -> None:
    first = api.customers.create()
    second = api.customers.create()
    api.customers.delete(first.id)
    control.stale_reads(changes=1)
    assert [each.id for each in api.customers.list()] == [second.id, first.id]
    assert [each.id for each in api.customers.list()] == [second.id]


def test_a_stale_read_shows_the_state_some_seconds_ago(api: Any, control: Control) -> None:
    made = api.customers.create({"name": "old"})
    time.sleep(0.2)
    api.customers.update(made.id, {"name": "new"})
    control.stale_reads(seconds=0.15)
    assert api.customers.retrieve(made.id).name == "old"
    assert api.customers.retrieve(made.id).name == "new"


def test_an_error_of_the_control_api_is_raised(control: Control) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        control.settings(no_such_setting=1)
    with pytest.raises(httpx.HTTPStatusError):
        control.advance(-5)
