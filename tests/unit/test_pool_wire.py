"""The batch's thread pool: real threads, and Stripe's real client over real connections.

test_batch.py tests how many tasks run at once and how many connections a process opens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from billing.adapters.stripe_api import StripeApi
from billing.batch import MAX_PARALLEL_SYNCS, threads
from tests.unit.adapters.stripe import connected
from tests.unit.adapters.wire import Response, Sent, wired

TASKS = 2 * MAX_PARALLEL_SYNCS


@pytest.mark.parametrize("failing", range(TASKS))
def test_all_tasks_run_although_one_fails_and_its_exception_reaches_the_caller(
    failing: int,
) -> None:
    ended: list[int] = []

    def task(number: int) -> Callable[[], None]:
        def run() -> None:
            ended.append(number)
            if number == failing:
                raise KeyError(number)

        return run

    with pytest.raises(KeyError) as raised:
        threads([task(number) for number in range(TASKS)])
    assert raised.value.args == (failing,)
    assert sorted(ended) == list(range(TASKS))


def test_a_failed_batch_leaves_every_thread_to_the_next_one() -> None:
    def fails() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        threads([fails] * TASKS)
    together = threading.Barrier(MAX_PARALLEL_SYNCS, timeout=5)

    def waits_for_the_others() -> None:
        together.wait()

    threads([waits_for_the_others] * MAX_PARALLEL_SYNCS)


def test_the_syncs_of_a_batch_wait_for_stripe_at_the_same_time_each_on_its_own_connection() -> None:
    together = threading.Barrier(MAX_PARALLEL_SYNCS, timeout=5)

    def respond(sent: Sent) -> Response:
        together.wait()
        return Response({"id": "cus_1", "object": "customer"})

    with wired() as wire:
        wire.respond = respond
        stripe = connected(wire)
        for batch in (1, 2):
            threads([retrieving(stripe)] * MAX_PARALLEL_SYNCS)
            assert len(wire.sent) == batch * MAX_PARALLEL_SYNCS
            assert wire.connections == MAX_PARALLEL_SYNCS


def retrieving(stripe: StripeApi) -> Callable[[], None]:
    def run() -> None:
        stripe.retrieve_customer("cus_1")

    return run
