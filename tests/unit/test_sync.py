"""The sync: conflicts, coalescing, confirms, tombstones, pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from billing.errors import Conflict, CustomerNotFound, OutOfTime, QueueUnavailable
from billing.keys import CustomerKey
from billing.model import CustomerRow
from billing.stripe_objects import StripeObject
from billing.sync import CONFIRM_DELAY_SECONDS, MARGIN_SECONDS, MAX_ATTEMPTS
from billing.sync_request import CONFIRM, DEMAND
from tests.unit.fakes import MemoryQueue, MemoryStore, MemoryStripe, Reports, request, sync_of
from tests.unit.stripe_objects import NOW, POLICY, customer, entitlements, item, subscription

KEY = CustomerKey("own", "test", "cus_1")
ENOUGH_MS = 60_000


@dataclass
class World:
    store: MemoryStore = field(default_factory=MemoryStore)
    stripe: MemoryStripe = field(
        default_factory=lambda: MemoryStripe(
            customers={"cus_1": customer()},
            subscriptions_of={"cus_1": [subscription()]},
            entitlements_of={"cus_1": entitlements("sso")},
        )
    )
    queue: MemoryQueue = field(default_factory=MemoryQueue)
    reports: Reports = field(default_factory=Reports)
    pauses: list[int] = field(default_factory=list)
    issuers: tuple[str, ...] = ("https://issuer/",)

    def sync(
        self, *requests: Any, key: CustomerKey = KEY, remaining_ms: int = ENOUGH_MS
    ) -> CustomerRow:
        sync = sync_of(
            store=self.store,
            stripe=self.stripe,
            queue=self.queue,
            pause=self.pauses.append,
            report=self.reports,
            issuers=self.issuers,
        )
        sync(key, requests or [request(key=key)], lambda: remaining_ms)
        return self.store.rows.get(key, CustomerRow(key=key))

    @property
    def row(self) -> CustomerRow:
        return self.store.rows.get(KEY, CustomerRow(key=KEY))


@pytest.fixture
def world() -> World:
    return World()


def test_a_sync_writes_stripes_state_as_the_next_revision(world: World) -> None:
    row = world.sync()
    assert (row.revision, row.as_of) == (1, NOW)
    assert row.facts.entitlements == ("sso",)
    assert row.transitions[0].event == "evt_1"


def test_a_typical_customer_needs_two_reads_of_stripe(world: World) -> None:
    world.sync()
    assert world.stripe.calls == ["retrieve_customer", "list_active_entitlements"]


def test_on_a_conflict_the_sync_reads_and_fetches_again(world: World) -> None:
    def another_writer() -> None:
        world.store.rows[KEY] = CustomerRow(key=KEY, revision=1, as_of=NOW - 5)
        world.stripe.entitlements_of["cus_1"] = entitlements("sso", "new")

    world.store.before_commit = another_writer
    row = world.sync()
    assert row.revision == 2
    assert row.facts.entitlements == ("sso", "new")
    assert world.pauses == [1]


def test_the_sync_raises_a_conflict_after_its_last_attempt(world: World) -> None:
    class AlwaysBeaten(MemoryStore):
        def commit(self, row: Any) -> None:
            raise Conflict

    world.store = AlwaysBeaten()
    with pytest.raises(Conflict):
        world.sync()
    assert world.stripe.calls.count("retrieve_customer") == MAX_ATTEMPTS


def test_a_request_older_than_the_row_by_the_margin_needs_no_fetch(world: World) -> None:
    world.sync()
    world.stripe.calls.clear()
    world.sync(request("evt_old", up_to=NOW - MARGIN_SECONDS - 1))
    assert world.stripe.calls == []
    world.sync(request("evt_newer", up_to=NOW - MARGIN_SECONDS))
    assert world.stripe.calls != []


def test_one_newer_request_among_old_ones_causes_a_fetch(world: World) -> None:
    world.sync()
    row = world.sync(request("evt_old", up_to=NOW - 500), request("evt_new", up_to=NOW))
    assert row.revision == 2


def test_a_sync_on_demand_always_fetches_and_requests_a_confirm(world: World) -> None:
    world.sync()
    world.queue.confirms.clear()
    world.stripe.now = NOW + MARGIN_SECONDS
    sync = sync_of(store=world.store, stripe=world.stripe, queue=world.queue, report=world.reports)
    sync(KEY, (), lambda: ENOUGH_MS, on_demand=True)
    assert world.row.revision == 2
    assert len(world.queue.confirms) == 1


def test_a_transition_of_a_sync_on_demand_has_the_demand_as_its_cause(world: World) -> None:
    sync = sync_of(store=world.store, stripe=world.stripe, queue=world.queue, report=world.reports)
    sync(KEY, (), lambda: ENOUGH_MS, on_demand=True)
    assert world.row.transitions[0].type == DEMAND


def test_a_tombstone_stays_and_needs_no_fetch(world: World) -> None:
    world.stripe.customers["cus_1"] = {"id": "cus_1", "deleted": True}
    assert world.sync().deleted
    world.stripe.customers["cus_1"] = customer()
    world.stripe.calls.clear()
    assert world.sync(request("evt_late", up_to=NOW + 999)).deleted
    assert world.stripe.calls == []


def test_each_sync_requests_one_confirm_which_requests_none(world: World) -> None:
    world.sync()
    ((confirm, delay),) = world.queue.confirms
    assert (confirm.cause.type, confirm.key, delay) == (CONFIRM, KEY, CONFIRM_DELAY_SECONDS)
    world.stripe.now = NOW + CONFIRM_DELAY_SECONDS
    row = world.sync(confirm)
    assert row.revision == 2
    assert len(world.queue.confirms) == 1


def test_a_pending_confirm_that_is_late_enough_is_used_by_the_next_sync_too(world: World) -> None:
    world.sync()
    world.stripe.now = NOW + CONFIRM_DELAY_SECONDS - MARGIN_SECONDS - 1
    world.sync(request("evt_2", up_to=NOW + 20))
    assert len(world.queue.confirms) == 1
    world.stripe.now += 1
    world.sync(request("evt_3", up_to=NOW + 25))
    assert len(world.queue.confirms) == 2


def test_a_confirm_that_a_later_sync_has_outgrown_needs_no_fetch(world: World) -> None:
    world.sync()
    ((confirm, _),) = world.queue.confirms
    world.stripe.now = NOW + CONFIRM_DELAY_SECONDS
    world.sync(request("evt_2", up_to=NOW + 50))
    world.stripe.calls.clear()
    world.sync(confirm)
    assert world.stripe.calls != []  # a fetch within the same second may be too stale
    world.stripe.now = NOW + CONFIRM_DELAY_SECONDS + 1
    world.sync(request("evt_3", up_to=NOW + 80))
    world.stripe.calls.clear()
    world.sync(confirm)
    assert world.stripe.calls == []


def test_a_sync_that_cannot_request_its_confirm_writes_nothing(world: World) -> None:
    world.queue.error = QueueUnavailable()
    with pytest.raises(QueueUnavailable):
        world.sync()
    assert world.row.revision == 0


def test_an_unknown_customer_is_an_error_and_revokes_nothing(world: World) -> None:
    before = world.sync()
    del world.stripe.customers["cus_1"]
    with pytest.raises(CustomerNotFound):
        world.sync(request("evt_2", up_to=NOW + 500))
    assert world.row == before


def test_no_attempt_begins_without_enough_remaining_time(world: World) -> None:
    with pytest.raises(OutOfTime):
        world.sync(remaining_ms=1_000)
    assert world.store.reads == 0


def test_all_pages_of_every_list_are_read(world: World) -> None:
    many: list[StripeObject] = [subscription(id=f"sub_{number}") for number in range(123)]
    all_items = [{**item(f"prod_{number}"), "id": f"si_{number}"} for number in range(14)]
    first = subscription(id="sub_0", items=all_items[:10], _all_items=all_items)
    first["items"]["has_more"] = True
    many[0] = first
    world.stripe.subscriptions_of["cus_1"] = many
    world.stripe.entitlements_of["cus_1"] = entitlements(*(f"f{n}" for n in range(37)))
    world.stripe.customers["cus_1"] = customer(
        _tax_ids=[{"id": f"txi_{n}", "type": "eu_vat"} for n in range(12)]
    )
    row = world.sync()
    assert len(row.facts.subscriptions) == 123
    assert len(row.facts.subscriptions[0].items) == 14
    assert row.access(POLICY, NOW).products["prod_team"].quantity == 122
    assert len(row.facts.entitlements) == 37
    assert len(row.facts.tax_ids) == 12
