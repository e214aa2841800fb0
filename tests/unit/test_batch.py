"""A batch: one sync per customer; each message is acknowledged, deferred or dead-lettered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from billing.adapters.stripe_api import StripeApi
from billing.adapters.stripe_client import connect
from billing.batch import (
    MAX_BACKOFF_SECONDS,
    MAX_DEFERRAL_SECONDS,
    MAX_NOT_FOUND_SECONDS,
    MAX_PARALLEL_SYNCS,
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
    StoreRefused,
    StripeRefused,
    StripeUnavailable,
)
from billing.keys import OWN_ACCOUNT, CustomerKey, Key
from billing.settings import STRIPE_API_VERSION
from billing.sync_request import SyncRequest
from tests.unit.fakes import MemoryQueue, Reports, request
from tests.unit.http_server import serving
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
    """One batch. `outcomes` has the error that the sync of a customer raises."""

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


def test_all_messages_of_one_customer_need_one_sync() -> None:
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
def test_a_message_that_cannot_succeed_now_is_deferred_with_a_backoff_and_the_others_are_processed(
    error: PortcullisError,
) -> None:
    run = Run({"cus_1": error})
    deferred = run(
        message(1, request().to_message(), receives=4),
        message(2, request(customer="cus_2").to_message()),
    )
    assert deferred == ["m1"]
    assert run.queue.hidden == {"m1": 16}
    assert run.queue.dead_letters == []
    why = {"key": request().key.pk, "reason": type(error).__name__}
    assert run.reports.all == [("SyncDeferred", why)]


def test_without_stripe_a_message_is_deferred_for_three_days_regardless_of_its_receives() -> None:
    run = Run({"cus_1": StripeUnavailable("5xx")})
    body = request().to_message()
    assert run(message(1, body, receives=500), now=NOW + MAX_DEFERRAL_SECONDS) == ["m1"]
    assert run.queue.dead_letters == []
    assert run(message(1, body, receives=501), now=NOW + MAX_DEFERRAL_SECONDS + 1) == []
    assert run.queue.dead_letters == [(body, "StripeUnavailable")]


def test_a_message_for_an_unknown_customer_is_deferred_and_then_dead_lettered() -> None:
    run = Run({"cus_1": CustomerNotFound()})
    # The message has waited for days; its patience begins with the first 404, in a copy.
    assert run(message(1, request().to_message()), now=NOW + 2 * 86_400) == []
    ((copy, delay),) = run.queue.requests
    assert (copy, delay) == (replace(request(), not_found=True), 2)
    body = copy.to_message()
    assert SyncRequest.from_message(body) == copy
    assert run(message(2, body), now=NOW + MAX_NOT_FOUND_SECONDS) == ["m2"]
    assert run.queue.dead_letters == []
    assert run(message(2, body), now=NOW + MAX_NOT_FOUND_SECONDS + 1) == []
    assert run.queue.dead_letters == [(body, "customer_not_found")]
    assert len(run.queue.sent) == 1


class RefusesMessages(MemoryQueue):
    """Only a message that is there already can be hidden."""

    def send(self, request: SyncRequest, delay: int = 0) -> None:
        raise QueueUnavailable

    def dead_letter(self, body: str, reason: str) -> None:
        raise QueueUnavailable


def test_a_message_for_an_unknown_customer_that_cannot_be_sent_again_is_deferred() -> None:
    run = Run({"cus_1": CustomerNotFound()})
    run.queue = RefusesMessages()
    assert run(message(1, request().to_message(), receives=3)) == ["m1"]
    assert run.queue.hidden == {"m1": 8}


@pytest.mark.parametrize("body", ["", "not json", "[]", "{}", '{"key": 1}', "[" * 100_000])
def test_a_message_that_can_never_succeed_is_dead_lettered_unchanged_with_its_reason(
    body: str,
) -> None:
    run = Run()
    assert run(message(1, body), message(2, request().to_message())) == []
    ((stored, reason),) = run.queue.dead_letters
    assert stored == body
    assert reason in {"not JSON", "not a sync request"}
    assert run.synced == [("cus_1", ["evt_1"])]


def test_an_unexpected_error_dead_letters_only_the_messages_of_that_customer() -> None:
    run = Run({"cus_1": KeyError("items")})
    deferred = run(
        message(1, request().to_message()), message(2, request(customer="cus_2").to_message())
    )
    assert deferred == []
    assert [reason for _, reason in run.queue.dead_letters] == ["unexpected KeyError"]
    assert ("cus_2", ["evt_1"]) in run.synced
    assert run.reports.all == [
        ("SyncFailed", {"key": request().key.pk, "error": "KeyError('items')"}),
        ("DeadLettered", {"message": "m1", "reason": "unexpected KeyError"}),
    ]


def test_what_the_table_refuses_for_good_is_dead_lettered_at_once_with_dynamodbs_code() -> None:
    run = Run({"cus_1": StoreRefused("ValidationException")})
    body = request().to_message()
    assert run(message(1, body), message(2, request(customer="cus_2").to_message())) == []
    assert run.queue.dead_letters == [(body, "StoreRefused ValidationException")]
    assert ("cus_2", ["evt_1"]) in run.synced


def test_without_time_left_the_messages_go_back_to_the_queue_at_once() -> None:
    run = Run({"cus_1": OutOfTime()})
    assert run(message(1, request().to_message(), receives=2)) == ["m1"]
    assert run.queue.hidden == {"m1": 0}
    assert run.reports.all == [("SyncDeferred", {"key": request().key.pk, "reason": "OutOfTime"})]


def test_a_customer_whose_reads_never_fit_is_deferred_and_at_last_dead_lettered() -> None:
    run = Run({"cus_1": OutOfTime()})
    assert run(message(1, request().to_message(), receives=9)) == ["m1"]
    assert run.queue.hidden["m1"] > 60
    assert run(message(3, request().to_message(), receives=3)) == ["m3"]
    assert run.queue.hidden["m3"] == 8
    later = NOW + MAX_DEFERRAL_SECONDS + 1
    assert run(message(2, request().to_message(), receives=400), now=later) == []
    assert [reason for _, reason in run.queue.dead_letters] == ["OutOfTime"]


@pytest.mark.parametrize(
    ("body", "outcome", "now"),
    [
        ("not json", None, NOW),
        (request().to_message(), StoreRefused("ValidationException"), NOW),
        (request().to_message(), KeyError("items"), NOW),
        (request().to_message(), StripeUnavailable(), NOW + MAX_DEFERRAL_SECONDS + 1),
    ],
)
def test_a_message_that_cannot_be_dead_lettered_is_deferred(
    body: str, outcome: Outcome, now: float
) -> None:
    run = Run({"cus_1": outcome})
    run.queue = RefusesMessages()
    assert run(message(1, body, receives=3), now=now) == ["m1"]
    assert run.queue.hidden == {"m1": 8}
    assert "DeadLettered" not in run.reports.names


def test_a_message_stays_on_the_queue_if_its_backoff_cannot_be_set() -> None:
    run = Run({"cus_1": StripeUnavailable()})
    run.queue.error = QueueUnavailable("throttled")
    assert run(message(1, request().to_message())) == ["m1"]
    failed = ("BackoffFailed", {"message": "m1", "reason": "throttled"})
    assert run.reports.all[-1] == failed


def test_the_backoff_doubles_up_to_fifteen_minutes_and_half_of_it_is_random() -> None:
    assert [backoff(receives, 1.0) for receives in (1, 2, 3)] == [2, 4, 8]
    assert backoff(1000, 1.0) == MAX_BACKOFF_SECONDS == 900
    assert backoff(1000, 0.0) == 450


def test_a_message_is_read_from_lambdas_record() -> None:
    record: dict[str, Any] = {
        "messageId": "m1",
        "receiptHandle": "r1",
        "body": "b",
        "attributes": {"SentTimestamp": "1790000000500", "ApproximateReceiveCount": "3"},
    }
    assert Message.from_record(record) == message(1, "b", receives=3, sent_at=1790000000.5)


def test_the_threads_of_the_syncs_are_named_so_in_the_logs() -> None:
    names: list[str] = []
    threads([lambda: names.append(threading.current_thread().name)])
    assert names[0].startswith("sync_")


def test_at_most_five_customers_are_synced_concurrently() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def task() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    threads([task] * 20)
    assert 1 < most <= 5


def test_the_batches_of_a_process_share_five_connections_to_stripe() -> None:
    def respond(headers: dict[str, str]) -> tuple[int, Any]:
        time.sleep(0.005)
        return 200, {"id": "cus_1", "object": "customer"}

    with serving(respond) as server:
        client = connect(
            "sk_test_x", api_base=server.url, api_version=STRIPE_API_VERSION, account=OWN_ACCOUNT
        )
        stripe = StripeApi(lambda: client)
        for size in (5, 1, 5, 10) * 5:
            threads([lambda: stripe.retrieve_customer("cus_1") and None] * size)
    assert len(server.requests) == 105
    assert server.connections == MAX_PARALLEL_SYNCS == 5


def test_an_exception_of_a_task_surfaces_once_all_tasks_have_ended() -> None:
    ended: list[int] = []

    def late() -> None:
        time.sleep(0.05)
        ended.append(1)

    def fails() -> None:
        raise KeyError("items")

    for tasks in ([fails], [fails, late]):
        with pytest.raises(KeyError):
            threads(tasks)
    assert ended == [1]
