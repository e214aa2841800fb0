"""When the queue is quiet, the table equals Stripe: tested on the deployed template.

The events go over HTTP, through the engine's SQS, Lambda workers and DynamoDB. Both sides use
Stripe's library.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from billing.model import CustomerRow
from local.journey import Journey, eventually
from local.stack import LocalStack
from tests.integration.deliveries import EventLog, post
from tests.integration.truth import Writes, differing, in_stripe, stored

POSTERS_AT_ONCE = 16


def test_sixteen_simultaneous_deliveries_never_move_a_row_backwards(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    log = EventLog(stack)
    ada = begin(plan="team_monthly", seats=1)
    stack.wait_until_quiet()
    events = log.new()
    writes = Writes(stack)
    first = stored(stack, ada.customer)
    (item,) = stack.stripe.v1.subscription_items.list({"subscription": ada.subscription}).data
    product = stack.catalog.products["team_monthly"]

    # A slow read gives other workers time to read too. Each change is delivered twice.
    stack.control.slow_calls(0.05, count=None, path=f"/v1/customers/{ada.customer}")
    stack.control.duplicate_deliveries(copies=2)
    together = threading.Barrier(POSTERS_AT_ONCE + 1)

    def deliver(number: int) -> list[int]:
        dice = random.Random(number)
        together.wait()
        return [post(stack, dice.choice(events)).status_code for _ in range(5)]

    with ThreadPoolExecutor(POSTERS_AT_ONCE) as posters:
        statuses = [posters.submit(deliver, number) for number in range(POSTERS_AT_ONCE)]
        together.wait()
        for seats in range(2, 14):
            stack.stripe.v1.subscription_items.update(item.id, {"quantity": seats})
            events += log.new()
    assert {status for each in statuses for status in each.result()} == {200}
    stack.wait_until_quiet()

    last = stored(stack, ada.customer)
    assert last.facts == in_stripe(stack, ada.customer)
    assert _quantity(last, product) == 13

    states = [row for row in writes.of(ada.customer) if row.revision > first.revision]
    # Each commit has its own revision, without gaps: a worker that loses a race does not write.
    assert [row.revision for row in states] == [
        first.revision + number + 1 for number in range(len(states))
    ]
    assert last.revision == first.revision + len(states)
    assert len(states) > 1
    seats_seen = [_quantity(row, product) for row in [first, *states]]
    assert seats_seen == sorted(seats_seen), "a row went back to an older state of Stripe"
    assert all(earlier.as_of <= later.as_of for earlier, later in pairwise(states))
    # A transition loses only what the previous one gained.
    assert all(set(new.lost) <= set(old.gained) for new, old in pairwise(last.transitions))
    assert last.transitions[0].gained == (f"{product}×13",)


@pytest.mark.parametrize(
    ("first_read_seconds", "second_read_seconds"),
    [
        pytest.param(1.0, 1.6, id="the worker with the newer state loses the race"),
        pytest.param(1.6, 0.0, id="the worker with the older state writes last"),
    ],
)
def test_two_workers_with_one_customer_lose_no_change_in_either_order_of_writing(
    begin: Callable[..., Journey],
    stack: LocalStack,
    first_read_seconds: float,
    second_read_seconds: float,
) -> None:
    log = EventLog(stack)
    ada = begin(plan="team_monthly", seats=1)
    stack.wait_until_quiet()
    stack.control.lose_deliveries()
    event = log.new()[-1]
    # Start both workers, or the second one starts too late to race: the first call is slow.
    stack.control.slow_calls(0.5, path="/v1/customers/")
    for _ in range(2):
        post(stack, event)
        time.sleep(0.2)
    stack.wait_until_quiet()
    before = stored(stack, ada.customer)
    # Both workers have read the customer before this slow read; the first one before the change.
    for seconds in (first_read_seconds, second_read_seconds):
        stack.control.slow_calls(seconds, path="/v1/entitlements/active_entitlements")
    read = len(reads(stack, ada))
    post(stack, event)
    eventually(lambda: len(reads(stack, ada)), lambda now: now == read + 1)
    (item,) = stack.stripe.v1.subscription_items.list({"subscription": ada.subscription}).data
    stack.stripe.v1.subscription_items.update(item.id, {"quantity": 7})
    (change,) = (each for each in log.new() if each["type"] == "customer.subscription.updated")
    post(stack, change)
    eventually(lambda: len(reads(stack, ada)), lambda now: now >= read + 2)
    stack.wait_until_quiet()
    # They raced, and the loser started over: three fetches, two writes.
    assert len(reads(stack, ada)) == read + 3
    assert stored(stack, ada.customer).revision == before.revision + 2
    assert stored(stack, ada.customer).facts == in_stripe(stack, ada.customer)


def reads(stack: LocalStack, journey: Journey) -> list[Any]:
    """Return the reads of this customer that Stripe has responded to."""
    return stack.control.requests("GET", f"/v1/customers/{journey.customer}")


CUSTOMERS = 50
DELIVERIES = 2_000
DUPLICATES = DELIVERIES // 5
CHANGES = 200
POSTERS = 8


def test_after_a_storm_of_shuffled_and_duplicated_events_every_row_equals_stripe(
    stack: LocalStack,
) -> None:
    dice = random.Random(20_261_028)
    log = EventLog(stack)
    # Stripe's own deliveries are lost: the worker gets only the deliveries of the storm.
    stack.control.lose_deliveries()
    people = [Journey.begin(stack, f"user_in_the_storm_{number}") for number in range(CUSTOMERS)]
    storm = Storm(stack, dice)
    storm.add(log.new(), share=0)
    started = time.monotonic()
    with ThreadPoolExecutor(POSTERS) as posters:
        working = [posters.submit(storm.deliver) for _ in range(POSTERS)]
        with storm.ending_on_failure():
            for number in range(CHANGES):
                # Changes and deliveries happen concurrently until the end.
                share = 0.8 * number / CHANGES
                storm.add(log.new(), share=share)
                while storm.posted < share * DELIVERIES and not storm.over:
                    time.sleep(0.01)
                change(stack, dice.choice(people), dice)
            storm.add(log.new(), share=1)
            for each in working:
                each.result()
    stack.wait_until_quiet(timeout=90)
    took = time.monotonic() - started
    print(f"{storm.posted / took:.0f} events/s: {storm.posted} ingested in {took:.1f} s")

    assert storm.posted == DELIVERIES
    assert storm.distinct == DELIVERIES - DUPLICATES
    customers = [person.customer for person in people]
    assert differing(stack, customers) == {}
    assert stack.queue_depth(stack.deployment.dead_letter_queue_url) == 0
    deleted = [row for each in customers if (row := stored(stack, each)).deleted]
    assert 0 < len(deleted) < CUSTOMERS


def change(stack: LocalStack, person: Journey, dice: random.Random) -> None:
    """Make one change that a person or an operator could make; none to a deleted customer."""
    v1 = stack.stripe.v1
    if getattr(v1.customers.retrieve(person.customer), "deleted", False):
        return
    current = v1.subscriptions.list({"customer": person.customer}).data
    what = dice.randrange(10)
    if what == 0:
        v1.customers.delete(person.customer)
    elif what <= 2 or not current:
        person.subscribe(dice.choice(list(stack.catalog.prices)))
    elif what == 3:
        v1.subscriptions.cancel(dice.choice(current).id)
    elif what == 4:
        ending = current[0].cancel_at_period_end
        v1.subscriptions.update(current[0].id, {"cancel_at_period_end": not ending})
    else:
        item = dice.choice(current)["items"].data[0]
        price = dice.choice(list(stack.catalog.prices.values()))
        v1.subscription_items.update(item.id, {"price": price, "quantity": dice.randint(1, 50)})


class Storm:
    """Stripe's events in random order, each at least once; 20% of the deliveries are duplicates.

    There are more events than changes, so several events report one change, as in Stripe.
    """

    def __init__(self, stack: LocalStack, dice: random.Random) -> None:
        self.posted = 0
        self.distinct = 0
        self.over = False
        self._stack = stack
        self._dice = dice
        self._complete = False
        self._known: list[dict[str, Any]] = []
        self._pending: list[dict[str, Any]] = []
        self._delivered: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def add(self, events: list[dict[str, Any]], *, share: float) -> None:
        """Add events to deliver, until `share` of all events of the storm exist."""
        with self._lock:
            self._known += events
            self._pending += events
            self.distinct += len(events)
            for _ in range(self.distinct, round(share * (DELIVERIES - DUPLICATES))):
                self.distinct += 1
                event = self._dice.choice(self._known)
                self._pending.append({**event, "id": f"evt_storm_{self.distinct}"})
            self._complete = share == 1

    def deliver(self) -> None:
        """Post events until all are posted or something fails."""
        with self.ending_on_failure():
            while not self.over:
                with self._lock:
                    event = self._next()
                    self.posted += event is not None
                    if event is None and self._complete:
                        return
                if event is None:
                    time.sleep(0.01)
                else:
                    assert post(self._stack, event).status_code == 200

    @contextmanager
    def ending_on_failure(self) -> Iterator[None]:
        """End the storm on an exception, so that no thread waits for a failed one."""
        try:
            yield
        except BaseException:
            self.over = True
            raise

    def _next(self) -> dict[str, Any] | None:
        repeated = self.posted - len(self._delivered)
        if repeated < DUPLICATES and self._delivered and self._dice.random() < 0.2:
            return self._dice.choice(self._delivered)
        if self._pending:
            event = self._pending.pop(self._dice.randrange(len(self._pending)))
            self._delivered.append(event)
            return event
        if self._complete and repeated < DUPLICATES:
            return self._dice.choice(self._delivered)
        return None


def _quantity(row: CustomerRow, product: str) -> int:
    (item,) = [
        item for each in row.facts.subscriptions for item in each.items if item.product == product
    ]
    assert item.quantity is not None
    return item.quantity
