"""Days of failures in simulated time: how much work one event causes, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from billing.batch import MAX_DEFERRAL_SECONDS, Batch, Message
from billing.errors import StoreUnavailable, StripeUnavailable
from billing.sync_request import SyncRequest
from tests.simulation.sqs_model import BATCH_SIZE, QueueModel
from tests.unit.fakes import MemoryQueue, MemoryStore, MemoryStripe, Reports, request, sync_of
from tests.unit.stripe_objects import NOW, customer, subscription
from tests.unit.test_batch import one_by_one

DAY = 86_400


@dataclass
class Worker(MemoryQueue):
    """The worker and its queue. One batch follows the other, each at the moment it is visible."""

    store: MemoryStore = field(default_factory=MemoryStore)
    stripe: MemoryStripe = field(
        default_factory=lambda: MemoryStripe(
            customers={"cus_1": customer()}, subscriptions_of={"cus_1": [subscription()]}
        )
    )
    reports: Reports = field(default_factory=Reports)
    model: QueueModel = field(default_factory=QueueModel)
    now: float = NOW

    def send(self, request: SyncRequest, delay: int = 0) -> None:
        super().send(request, delay)
        self.model.send(request, self.now, delay)

    def hide(self, message: Message, seconds: int) -> None:
        self.model.hide(message, self.now, seconds)

    def run(self, days: float, before: Callable[[], None] = lambda: None) -> None:
        """Process what becomes visible within `days`; `before` is called before each batch."""
        batch = Batch(
            sync=sync_of(
                store=self.store,
                stripe=self.stripe,
                queue=self,
                report=self.reports,
                clock=lambda: self.now,
            ),
            queue=self,
            parallel=one_by_one,
            clock=lambda: self.now,
            jitter=Random(0).random,
            report=self.reports,
        )
        end = self.now + days * DAY
        while self.model.messages:
            due = min(message.visible_at for message in self.model.messages.values())
            if due > end:
                break
            self.now = max(self.now, due)
            self.stripe.now = int(self.now)
            before()
            _, messages = self.model.receive(
                tuple(self.model.visible(self.now)[:BATCH_SIZE]), self.now
            )
            deferred = batch(messages, lambda: 80_000)
            for message in messages:
                if message.id not in deferred:
                    self.model.delete(message.id)
        self.now = end


class WriteProtected(MemoryStore):
    """The worker has lost its permission to write."""

    def commit(self, row: Any) -> None:
        raise StoreUnavailable("AccessDeniedException")


def test_an_event_whose_row_cannot_be_written_for_six_days_causes_a_bounded_number_of_syncs() -> (
    None
):
    worker = Worker(store=WriteProtected())
    event = request()
    worker.send(event)
    worker.run(days=6)
    fetches = worker.stripe.calls.count("retrieve_customer")
    # Retried for three days, at 15 minutes at most and 7.5 at least.
    assert 0.9 * MAX_DEFERRAL_SECONDS / 900 < fetches < 1.1 * MAX_DEFERRAL_SECONDS / 450
    # Each retry requests a confirm, which is acknowledged without a fetch: its row was not written.
    assert len(worker.confirms) == fetches
    assert worker.store.reads == 2 * fetches
    assert worker.dead_letters == [(event.to_message(), "StoreUnavailable")]
    assert not worker.model.messages


def test_a_failed_sync_on_demand_leaves_one_confirm_which_costs_no_fetch() -> None:
    worker = Worker(store=WriteProtected())
    sync = sync_of(store=worker.store, stripe=worker.stripe, queue=worker, report=worker.reports)
    with pytest.raises(StoreUnavailable):
        sync(request().key, (), lambda: 80_000, on_demand=True)
    worker.run(days=1)
    assert len(worker.confirms) == 1
    assert worker.stripe.calls.count("retrieve_customer") == 1
    assert not worker.model.messages


def test_an_event_that_could_not_be_written_for_two_days_is_written_and_confirmed() -> None:
    worker = Worker(store=WriteProtected())
    worker.send(request())
    worker.run(days=2)
    worker.store = MemoryStore()
    worker.run(days=1)
    (row,) = worker.store.rows.values()
    assert row.revision == 2
    assert row.as_of >= row.confirm_at > NOW + 2 * DAY
    assert not worker.dead_letters
    assert not worker.model.messages


def test_after_an_outage_a_404_is_still_given_an_hour() -> None:
    worker = Worker()
    customers = worker.stripe.customers
    worker.send(request())
    worker.stripe.error = StripeUnavailable("5xx")
    worker.run(days=2)
    # The outage ends with the key of another account, which is corrected within the hour.
    worker.stripe.error, worker.stripe.customers = None, {}
    worker.run(days=0.9 / 24)
    assert not worker.dead_letters
    worker.stripe.customers = customers
    worker.run(days=1)
    assert [row.revision for row in worker.store.rows.values()] == [2]
    assert not worker.dead_letters
    assert not worker.model.messages


def test_a_customer_that_stripe_does_not_have_is_dead_lettered_after_an_hour() -> None:
    worker = Worker()
    worker.stripe.customers = {}
    worker.send(request())
    worker.run(days=1)
    copy = replace(request(), not_found=True)
    assert worker.dead_letters == [(copy.to_message(), "customer_not_found")]
    assert worker.sent == [request(), copy]
    assert not worker.model.messages
    assert not worker.store.rows
