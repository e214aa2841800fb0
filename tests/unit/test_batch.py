"""A batch: one sync for each customer, and the right end for each message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from billing.batch import (
    MAX_BACKOFF_SECONDS,
    MAX_DEFERRAL_SECONDS,
    MAX_NOT_FOUND_SECONDS,
    Batch,
    Message,
    backoff,
    threads,
)
from billing.errors import (
    Conflict,
    CustomerNotFound,
    OutOfTime,
    PortcullisError,
    QueueUnavailable,
    StripeRefused,
    StripeUnavailable,
)
from billing.keys import CustomerKey, Key
from billing.sync_request import SyncRequest
from tests.unit.fakes import MemoryQueue, Reports, request
from tests.unit.stripe_objects import NOW

Outcome = Exception | None


def message(number: int, body: str, *, receives: int = 1, sent_at: float = NOW) -> Message:
    return Message(
        id=f"m{number}", receipt=f"r{number}", body=body, sent_at=sent_at, receives=receives
    )


def one_by_one(tasks: Sequence[Callable[[], None]]) -> None:
    for task in tasks:
        task()


class Run:
    """One batch over messages for the customers named, whose sync ends as `outcomes` says."""

    def __init__(self, outcomes: dict[str, Outcome] | None = None) -> None:
        self.outcomes = outcomes or {}
        self.synced: list[tuple[str, list[str]]] = []
        self.queue = MemoryQueue()
        self.reports = Reports()

    def sync(self, key: Key, requests: Sequence[SyncRequest], remaining: Callable[[], int]) -> None:
        assert isinstance(key, CustomerKey)
        self.synced.append((key.id, [each.cause.id for each in requests]))
        outcome = self.outcomes.get(key.id)
        if outcome:
            raise outcome

    def __call__(self, *messages: Message, now: float = NOW) -> list[str]:
        return Batch(
            sync=self.sync,
            queue=self.queue,
            parallel=one_by_one,
            clock=lambda: now,
            jitter=lambda: 1.0,
            report=self.reports,
        )(messages, lambda: 60_000)


def test_all_messages_of_one_customer_cost_one_sync() -> None:
    run = Run()
    deferred = run(
        message(1, request("evt_1").to_message()),
        message(2, request("evt_2", customer="cus_2").to_message()),
        message(3, request("evt_3").to_message()),
    )
    assert deferred == []
    assert run.synced == [("cus_1", ["evt_1", "evt_3"]), ("cus_2", ["evt_2"])]


def test_the_same_customer_id_in_two_modes_or_accounts_is_two_customers() -> None:
    run = Run()
    run(
        message(1, request().to_message()),
        message(2, request(key=CustomerKey("own", "live", "cus_1")).to_message()),
        message(3, request(key=CustomerKey("acct_1", "test", "cus_1")).to_message()),
    )
    assert len(run.synced) == 3


@pytest.mark.parametrize(
    "error", [StripeUnavailable("429"), Conflict(), StripeRefused(401, None, None, "key")]
)
def test_what_cannot_be_done_now_waits_with_a_backoff_and_others_go_on(
    error: PortcullisError,
) -> None:
    run = Run({"cus_1": error})
    deferred = run(
        message(1, request().to_message(), receives=4),
        message(2, request(customer="cus_2").to_message()),
    )
    assert deferred == ["m1"]
    assert run.queue.hidden == {"m1": 16}
    assert run.queue.dead == []


def test_a_message_is_deferred_for_stripe_for_three_days_without_using_up_its_receives() -> None:
    run = Run({"cus_1": StripeUnavailable("5xx")})
    body = request().to_message()
    assert run(message(1, body, receives=500), now=NOW + MAX_DEFERRAL_SECONDS) == ["m1"]
    assert run.queue.dead == []
    assert run(message(1, body, receives=501), now=NOW + MAX_DEFERRAL_SECONDS + 1) == []
    assert run.queue.dead == [(body, "StripeUnavailable")]


def test_a_customer_that_stripe_does_not_know_waits_and_is_then_dead_lettered() -> None:
    run = Run({"cus_1": CustomerNotFound()})
    body = request().to_message()
    assert run(message(1, body), now=NOW + MAX_NOT_FOUND_SECONDS) == ["m1"]
    assert run(message(1, body), now=NOW + MAX_NOT_FOUND_SECONDS + 1) == []
    assert run.queue.dead == [(body, "customer_not_found")]


@pytest.mark.parametrize("body", ["", "not json", "[]", "{}", '{"key": 1}', "[" * 100_000])
def test_a_message_that_can_never_succeed_is_dead_lettered_unchanged_with_its_reason(
    body: str,
) -> None:
    run = Run()
    assert run(message(1, body), message(2, request().to_message())) == []
    ((dead, reason),) = run.queue.dead
    assert dead == body
    assert reason in {"not JSON", "not a sync request"}
    assert run.synced == [("cus_1", ["evt_1"])]


def test_an_unexpected_error_dead_letters_that_customer_and_the_others_go_on() -> None:
    run = Run({"cus_1": KeyError("items")})
    deferred = run(
        message(1, request().to_message()), message(2, request(customer="cus_2").to_message())
    )
    assert deferred == []
    assert [reason for _, reason in run.queue.dead] == ["unexpected KeyError"]
    assert ("cus_2", ["evt_1"]) in run.synced
    assert "SyncFailed" in run.reports.names


def test_without_time_left_the_messages_go_back_at_once() -> None:
    run = Run({"cus_1": OutOfTime()})
    assert run(message(1, request().to_message(), receives=9)) == ["m1"]
    assert run.queue.hidden == {"m1": 0}


def test_a_message_stays_on_the_queue_when_the_dead_letter_queue_does_not_take_it() -> None:
    run = Run()
    run.queue.error = QueueUnavailable()
    assert run(message(1, "poison")) == ["m1"]


def test_a_backoff_that_cannot_be_set_still_leaves_the_message_on_the_queue() -> None:
    run = Run({"cus_1": StripeUnavailable()})
    run.queue.error = QueueUnavailable()
    assert run(message(1, request().to_message())) == ["m1"]
    assert "BackoffFailed" in run.reports.names


def test_backoff_doubles_up_to_fifteen_minutes_half_of_it_at_random() -> None:
    assert [backoff(receives, 1.0) for receives in (1, 2, 3)] == [2, 4, 8]
    assert backoff(1000, 1.0) == MAX_BACKOFF_SECONDS == 900
    assert backoff(1000, 0.0) == 450


def test_a_record_is_read_as_lambda_hands_it_over() -> None:
    record: dict[str, Any] = {
        "messageId": "m1",
        "receiptHandle": "r1",
        "body": "b",
        "attributes": {"SentTimestamp": "1790000000500", "ApproximateReceiveCount": "3"},
    }
    assert Message.from_record(record) == message(1, "b", receives=3, sent_at=1790000000.5)


def test_customers_are_synced_side_by_side_and_boundedly() -> None:
    now_running, most = 0, 0
    lock = threading.Lock()

    def task() -> None:
        nonlocal now_running, most
        with lock:
            now_running += 1
            most = max(most, now_running)
        time.sleep(0.02)
        with lock:
            now_running -= 1

    threads([task] * 20)
    assert 1 < most <= 5
