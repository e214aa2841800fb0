"""The sync: conflicts, coalescing, confirms, tombstones, pages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from billing.errors import (
    Conflict,
    CustomerNotFound,
    OutOfTime,
    QueueUnavailable,
)
from billing.facts import Facts
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow, Link
from billing.stripe_objects import StripeObject
from billing.sync import (
    ATTEMPT_BUDGET_MS,
    CONFIRM_DELAY_SECONDS,
    MARGIN_SECONDS,
    MAX_ATTEMPTS,
    MAX_COMMIT_CALLS,
    MAX_COVERED_AGE_SECONDS,
    covered,
)
from billing.sync_request import CONFIRM, DEMAND, SyncRequest
from billing.timeouts import AWS_CALL_MS, STRIPE_CALL_MS
from tests.unit.fakes import MemoryQueue, MemoryStore, MemoryStripe, Reports, request, sync_of
from tests.unit.stripe_objects import NOW, POLICY, customer, entitlements, item, subscription
from tests.unit.test_template import FUNCTIONS

KEY = CustomerKey("own", "test", "cus_1")
ENOUGH_MS = 80_000


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
        self,
        *requests: Any,
        key: CustomerKey = KEY,
        remaining_ms: int = ENOUGH_MS,
        clock: float | None = None,
    ) -> CustomerRow:
        sync = sync_of(
            store=self.store,
            stripe=self.stripe,
            queue=self.queue,
            pause=self.pauses.append,
            report=self.reports,
            issuers=self.issuers,
            clock=None if clock is None else lambda: clock,
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
    with pytest.raises(Conflict, match=r"^4 attempts lost to other writers$"):
        world.sync()
    assert world.stripe.calls.count("retrieve_customer") == MAX_ATTEMPTS == 4
    assert world.pauses == [1, 2, 3]


def test_a_request_older_than_the_row_by_the_margin_needs_no_fetch(world: World) -> None:
    world.sync()
    world.stripe.calls.clear()
    world.sync(request("evt_old", up_to=NOW - MARGIN_SECONDS - 1))
    assert world.stripe.calls == []
    world.sync(request("evt_newer", up_to=NOW - MARGIN_SECONDS))
    assert world.stripe.calls != []


@pytest.mark.parametrize(("ours", "stripes"), [(0, 900), (0, -900), (900, 0), (-900, 0)])
def test_a_row_is_dated_by_the_earlier_of_the_two_clocks(
    world: World, ours: int, stripes: int
) -> None:
    world.stripe.now = NOW + stripes
    row = world.sync(clock=NOW + ours)
    assert row.as_of == NOW + min(ours, stripes)
    assert row.confirm_at == row.as_of + CONFIRM_DELAY_SECONDS


@pytest.mark.parametrize(("ours", "stripes"), [(0, 30), (0, -30), (30, 0), (-30, 0)])
def test_a_pending_confirm_serves_a_fetch_only_if_it_is_late_enough_by_both_clocks(
    world: World, ours: int, stripes: int
) -> None:
    world.sync(clock=NOW)
    world.stripe.now = NOW + stripes
    row = world.sync(clock=NOW + ours)
    is_late_enough = max(ours, stripes) + MARGIN_SECONDS < CONFIRM_DELAY_SECONDS
    assert len(world.queue.confirms) == (1 if is_late_enough else 2)
    assert row.revision == 2


@pytest.mark.parametrize("mode", ["test", "live"])
def test_an_event_with_the_time_of_a_test_clock_is_not_skipped_as_covered(mode: str) -> None:
    row = CustomerRow(key=CustomerKey("own", mode, "cus_1"), revision=1, as_of=NOW)
    for age, is_covered in ((MARGIN_SECONDS, False), (MAX_COVERED_AGE_SECONDS, True)):
        assert covered(row, [request(up_to=NOW - age)]) is is_covered
    old = request(up_to=NOW - MAX_COVERED_AGE_SECONDS - 1)
    assert covered(row, [old]) is (mode == "live")
    assert covered(row, [request(up_to=0)]) is (mode == "live")


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


def test_the_latest_of_several_requests_is_the_cause_of_the_transition(world: World) -> None:
    for number, times in enumerate(((NOW, NOW - 5), (NOW - 5, NOW))):
        key = CustomerKey("own", "test", f"cus_{number}")
        world.stripe.customers[key.id] = customer(id=key.id)
        world.stripe.subscriptions_of[key.id] = [subscription()]
        requests = [request(f"evt_{at}", up_to=at, key=key) for at in times]
        assert world.sync(*requests, key=key).transitions[0].event == f"evt_{NOW}"


def test_a_transition_of_a_sync_on_demand_has_the_demand_as_its_cause(world: World) -> None:
    sync = sync_of(store=world.store, stripe=world.stripe, queue=world.queue, report=world.reports)
    sync(KEY, (), lambda: ENOUGH_MS, on_demand=True)
    newest = world.row.transitions[0]
    assert (newest.event, newest.type) == ("demand", DEMAND)


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


def test_an_event_beside_a_confirm_requests_another_confirm(world: World) -> None:
    """The fetch of a confirm may be stale too: whoever has a later event needs a later confirm."""
    world.sync()
    ((confirm, _),) = world.queue.confirms
    world.stripe.now = NOW + CONFIRM_DELAY_SECONDS
    world.sync(confirm, request("evt_2", up_to=NOW + CONFIRM_DELAY_SECONDS))
    assert len(world.queue.confirms) == 2
    assert world.row.confirm_at == NOW + 2 * CONFIRM_DELAY_SECONDS


def test_a_pending_confirm_that_is_late_enough_is_used_by_the_next_sync_too(world: World) -> None:
    world.sync()
    world.stripe.now = NOW + CONFIRM_DELAY_SECONDS - MARGIN_SECONDS - 1
    world.sync(request("evt_2", up_to=NOW + 20))
    assert len(world.queue.confirms) == 1
    world.stripe.now += 1
    world.sync(request("evt_3", up_to=NOW + 25))
    assert len(world.queue.confirms) == 2


def test_an_event_that_comes_with_a_confirm_has_a_confirm_of_its_own(world: World) -> None:
    world.sync()
    ((confirm, _),) = world.queue.confirms
    world.stripe.now = NOW + CONFIRM_DELAY_SECONDS
    world.sync(confirm, request("evt_2", up_to=world.stripe.now))
    assert len(world.queue.confirms) == 2


def test_a_confirm_needs_no_fetch_once_the_row_relies_on_a_later_one(world: World) -> None:
    world.sync()
    ((confirm, _),) = world.queue.confirms
    world.stripe.now = NOW + CONFIRM_DELAY_SECONDS
    world.sync(request("evt_2", up_to=NOW + 50))
    world.stripe.calls.clear()
    world.sync(confirm)
    assert world.stripe.calls == []
    (_, (later, _)) = world.queue.confirms
    world.sync(later)
    assert world.stripe.calls != []


def test_a_row_of_a_clock_that_is_right_does_not_cover_a_confirm_of_one_that_was_behind(
    world: World,
) -> None:
    world.stripe.now = NOW - 600
    world.sync(clock=NOW)
    ((confirm, _),) = world.queue.confirms
    world.stripe.now = NOW + 50
    # A claim fetches again, as soon as that: what it reads may be as stale as what was read before.
    world.sync(SyncRequest.claim(KEY, cause="cus_2", up_to=NOW + 50), clock=NOW + 50)
    world.stripe.calls.clear()
    world.sync(confirm, clock=NOW + CONFIRM_DELAY_SECONDS)
    assert world.stripe.calls != []


def test_a_confirm_whose_sync_wrote_no_row_needs_no_fetch(world: World) -> None:
    world.sync()
    ((confirm, _),) = world.queue.confirms
    world.stripe.calls.clear()
    orphan = SyncRequest.confirm(KEY, up_to=confirm.up_to + 1)
    world.sync(orphan)
    assert world.stripe.calls == []
    world.sync(orphan, request("evt_2"))
    assert world.stripe.calls != []
    world.stripe.calls.clear()
    world.sync(orphan, confirm)
    assert world.stripe.calls != []


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


def test_a_grant_that_cannot_be_read_is_reported_and_ignored(world: World) -> None:
    world.stripe.customers["cus_1"] = customer(
        metadata={"grant.beta": "soon", "grant.api": "forever"}
    )
    row = world.sync()
    assert set(row.access(POLICY, NOW).features) == {"api", "sso"}
    assert (
        "GrantMalformed",
        {"customer": "cus_1", "metadata": ["grant.beta"]},
    ) in world.reports.all


def test_a_subscription_that_ended_is_explained_in_the_history(world: World) -> None:
    world.sync()
    world.stripe.subscriptions_of["cus_1"] = []
    details = {"reason": "payment_failed", "feedback": None}
    world.stripe.ended["sub_1"] = {
        "id": "sub_1",
        "status": "canceled",
        "ended_at": NOW,
        "cancellation_details": details,
    }
    world.stripe.calls.clear()
    (change,) = world.sync().transitions[0].changes
    assert (change.before, change.after, change.ended_at) == ("active", "canceled", NOW)
    assert change.reason == "payment_failed"
    assert world.stripe.calls.count("retrieve_ended_subscription") == 1
    world.sync()
    assert world.stripe.calls.count("retrieve_ended_subscription") == 1


def test_features_of_a_product_that_stripe_deleted_hold_up_nothing(world: World) -> None:
    """The adapter's answer for a deleted product is an empty list."""
    world.stripe.subscriptions_of["cus_1"] = [
        subscription("past_due"),
        subscription(id="sub_2", items=[item("prod_b")]),
    ]
    row = world.sync()
    assert set(row.access(POLICY, NOW).products) == {"prod_b"}


@dataclass
class Slow:
    """An adapter each of whose calls takes as long as a call of its kind can take at worst."""

    adapter: Any
    call_ms: int
    elapsed_ms: list[int]

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            self.elapsed_ms.append(self.call_ms)
            return getattr(self.adapter, name)(*args, **named)

        return call


class YieldsLate(MemoryStore):
    """The holder yields just after a claim was remembered: the longest commit."""

    def commit(self, row: Any) -> None:
        super().commit(row)
        if isinstance(row, Link):
            assert row.customer is not None
            holder = self.rows[row.customer]
            self.rows[row.customer] = replace(holder, facts=Facts(claimed_subject="other"))


@pytest.mark.parametrize("subscriptions", [1, 95])
@pytest.mark.parametrize("begins_at_ms", range(0, 80_000, 2_000))
def test_the_slowest_attempt_ends_within_the_workers_timeout(
    world: World, begins_at_ms: int, subscriptions: int
) -> None:
    timeout_ms = 1000 * int(FUNCTIONS["SyncCustomer"]["Timeout"])
    elapsed_ms = [begins_at_ms]
    ada = SubjectKey("test", "https://issuer/", "ada")
    holder = CustomerRow(
        key=CustomerKey("own", "test", "cus_holder"),
        revision=1,
        subject=ada.subject,
        issuer=ada.issuer,
        facts=Facts(claimed_subject=ada.subject),
    )
    store = YieldsLate(rows={holder.key: holder})
    store.links = {ada: Link(key=ada, revision=1, customer=holder.key)}
    world.stripe.customers["cus_1"] = customer(metadata={"user_id": "ada"})
    world.stripe.subscriptions_of["cus_1"] = [
        subscription(id=f"sub_{number}") for number in range(subscriptions)
    ]
    sync = sync_of(
        store=Slow(store, AWS_CALL_MS, elapsed_ms),
        stripe=Slow(world.stripe, STRIPE_CALL_MS, elapsed_ms),
        queue=Slow(world.queue, AWS_CALL_MS, elapsed_ms),
        report=world.reports,
        clock=lambda: NOW,
    )
    try:
        sync(KEY, [request()], lambda: timeout_ms - sum(elapsed_ms))
    except OutOfTime:
        pass
    else:
        assert elapsed_ms[1:].count(AWS_CALL_MS) == 1 + MAX_COMMIT_CALLS
    assert sum(elapsed_ms) <= timeout_ms
    # An ordinary customer's attempt begins where the whole of it fits.
    if begins_at_ms + ATTEMPT_BUDGET_MS + STRIPE_CALL_MS <= timeout_ms:
        assert store.rows.keys() >= ({KEY} if subscriptions == 1 else set())
