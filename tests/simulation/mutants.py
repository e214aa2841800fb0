"""Known wrong designs, which break one step at a time. `make mutants` judges them all.

The invariant that a mutant breaks must catch it. A mutant that survives, or that another invariant
catches, fails the run, because it shows a gap in the simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import billing.sync
from billing import link
from billing.batch import Batch, Message
from billing.errors import Conflict, CustomerNotFound
from billing.keys import CustomerKey, Key
from billing.link import Issuers
from billing.model import CustomerRow, Link
from billing.replicas import CustomerReplica
from billing.stripe_objects import Page, StripeObject
from billing.sync import (
    CONFIRM_DELAY_SECONDS,
    MARGIN_SECONDS,
    Fetched,
    Replica,
    Row,
    Sync,
    covered,
)
from billing.sync_request import SyncRequest
from tests.simulation import cases
from tests.simulation.access_invariants import CommitGivesWhatStripeSays, QuietStoreEqualsStripe
from tests.simulation.actors import QueuePort, StorePort, StripePort, clock, io
from tests.simulation.design import ISSUER, Design, Make, design, real_sync
from tests.simulation.editing import Edit, edited
from tests.simulation.exhaustive import explore
from tests.simulation.invariant import Invariant
from tests.simulation.invariants import (
    AcknowledgedMeansCovered,
    AnsweredMeansKept,
    NeverBackwards,
    NobodyElsesAccess,
    NobodyPaysTwice,
    OneCustomerOneSubject,
    Progress,
    RevisionCountsCommits,
    TombstoneStays,
    WhatIsBoughtShows,
)
from tests.simulation.stripe_model import State

Remaining = Callable[[], int]
Requests = Sequence[SyncRequest]


def unlimited() -> None:
    """Always time left."""


# Broken steps: the store.


class Blind(StorePort):
    """Writes every fetch over the stored row, without a condition."""

    newer = ""

    def commit(self, row: Any) -> None:
        io("store", "put", row, None, self.newer)

    def commit_and_link(
        self, row: CustomerRow, link: Link, *, released: CustomerRow | None = None
    ) -> None:
        io("store", "put", row, link, self.newer)


class GuardedByLess(Blind):
    """Writes only over a row with an older timestamp."""

    newer = "<"


class GuardedByLessOrEqual(Blind):
    """Writes only over a row with an older or equal timestamp."""

    newer = "<="


class Unbumped(StorePort):
    """Checks the revision and does not increase it."""

    def commit(self, row: Any) -> None:
        io("store", "put_unbumped", row)


class LinksBlindly(StorePort):
    """Links a subject without the condition that no other customer has it."""

    def commit_and_link(
        self, row: CustomerRow, link: Link, *, released: CustomerRow | None = None
    ) -> None:
        io("store", "put", row, link, "")


class ForgetsTombstones(StorePort):
    """Treats a deleted customer like any other."""

    def load(self, key: CustomerKey) -> CustomerRow:
        row = super().load(key)
        return replace(row, facts=replace(row.facts, deleted=False))


# Broken steps: reads from Stripe.


class FirstPageOnly(StripePort):
    """Reads only the first page of the active entitlements."""

    def list_active_entitlements(self, customer: str, after: str | None) -> Page:
        return {**super().list_active_entitlements(customer, after), "has_more": False}


class NotFoundMeansDeleted(StripePort):
    """Treats a 404 as a deletion."""

    def retrieve_customer(self, customer: str) -> tuple[StripeObject, int]:
        try:
            return super().retrieve_customer(customer)
        except CustomerNotFound:
            return {"id": customer, "deleted": True}, int(clock())


# Broken steps: the sync.


class AcknowledgesOnConflict(Sync):
    """Acknowledges when another worker has written first."""

    def __call__(
        self, key: Key, requests: Requests, remaining_ms: Remaining, *, on_demand: bool = False
    ) -> None:
        losing = {kind: _GivesUp(replica) for kind, replica in self.replicas.items()}
        try:
            Sync.__call__(replace(self, replicas=losing), key, requests, remaining_ms)
        except _GaveUp:
            return


class _GaveUp(Exception):
    """A conflict that is not retried."""


@dataclass(frozen=True, slots=True)
class _GivesUp:
    """A replica whose conflicts end the sync."""

    replica: Replica

    def load(self, key: Any) -> Row:
        return self.replica.load(key)

    def fetch(self, over: Any, in_time: Callable[[], None]) -> Fetched:
        return self.replica.fetch(over, in_time)

    def commit(self, over: Any, fetched: Any, **dated: Any) -> Row:
        try:
            return self.replica.commit(over, fetched, **dated)
        except Conflict:
            raise _GaveUp from None

    def settled(self, row: Any) -> None:
        self.replica.settled(row)


class FetchesFirst(Sync):
    """Fetches before it reads the revision. Fetching once for all attempts is the same mistake."""

    def __call__(
        self, key: Key, requests: Requests, remaining_ms: Remaining, *, on_demand: bool = False
    ) -> None:
        replica = self.replicas[key.kind]
        assert isinstance(key, CustomerKey)
        fetched = replica.fetch(CustomerRow(key=key), unlimited)
        self._write(replica.load(key), fetched, requests, fetched.date)

    def _write(self, row: Row, fetched: Any, requests: Requests, as_of: int) -> None:
        """The rest of a sync, in order."""
        if row.deleted or billing.sync.covered(row, requests):
            return
        self.replicas[row.key.kind].commit(
            row,
            fetched,
            as_of=as_of,
            confirm_at=self._confirm(row, requests, as_of=as_of, latest=as_of),
            cause=requests[0].cause,
        )


class StampsAfterwards(FetchesFirst):
    """Guards with a timestamp that it takes after the fetch."""

    def __call__(
        self, key: Key, requests: Requests, remaining_ms: Remaining, *, on_demand: bool = False
    ) -> None:
        replica = self.replicas[key.kind]
        row = replica.load(key)
        fetched: Any = replica.fetch(row, unlimited)
        replica.load(key)  # an I/O point, so that time can pass
        self._write(row, fetched, requests, int(clock()))


class AppliesThePayload(FetchesFirst):
    """Applies the event's payload instead of fetching from Stripe."""

    def __call__(
        self, key: Key, requests: Requests, remaining_ms: Remaining, *, on_demand: bool = False
    ) -> None:
        newest = max(requests, key=lambda request: request.up_to)
        if newest.is_confirm:
            return
        replica = self.replicas[key.kind]
        assert isinstance(replica, CustomerReplica)
        assert isinstance(key, CustomerKey)
        row = replica.load(key)
        payload: State = io("stripe", "payload", newest.cause.id, None)
        advanced = row.advanced(
            payload.facts,
            as_of=newest.up_to,
            confirm_at=0,
            cause=newest.cause,
            policy=replica.policy,
        )
        link.commit(
            advanced,
            over=row,
            issuers=replica.issuers,
            store=replica.store,
            queue=replica.queue,
            report=replica.report,
        )


class ClaimsTheEventFirst(Sync):
    """Records an event's id before it syncs. A second delivery finds the id and does nothing."""

    def __call__(
        self, key: Key, requests: Requests, remaining_ms: Remaining, *, on_demand: bool = False
    ) -> None:
        claimed: list[SyncRequest] = []
        for request in requests:
            claim = CustomerKey("claim", "test", request.cause.id)
            try:
                StorePort().commit(CustomerRow(key=claim, revision=1))
            except Conflict:
                continue
            claimed.append(request)
        if claimed:
            Sync.__call__(self, key, claimed, remaining_ms)


class NeverConfirms(Sync):
    """Assumes that a read from Stripe is never stale."""

    def _confirm(self, row: Row, requests: Requests, *, as_of: int, latest: int) -> int:
        return row.confirm_at


class ConfirmsTooEarly(Sync):
    """Relies on any pending confirm, even if it is due too early."""

    def _confirm(self, row: Row, requests: Requests, *, as_of: int, latest: int) -> int:
        if row.confirm_at > latest:
            return row.confirm_at
        return Sync._confirm(self, row, requests, as_of=as_of, latest=latest)


class ConfirmsForItselfOnly(Sync):
    """Sends a confirm that covers only its own fetch, although later syncs rely on it too."""

    def _confirm(self, row: Row, requests: Requests, *, as_of: int, latest: int) -> int:
        confirms_only = all(request.is_follow_up for request in requests)
        if confirms_only or row.confirm_at > latest + MARGIN_SECONDS:
            return row.confirm_at
        self.queue.send(SyncRequest.confirm(row.key, up_to=as_of), CONFIRM_DELAY_SECONDS)
        return as_of + CONFIRM_DELAY_SECONDS


class ConfirmsAfterwards(Sync):
    """Sends the confirm after the commit that records it."""

    def __call__(
        self, key: Key, requests: Requests, remaining_ms: Remaining, *, on_demand: bool = False
    ) -> None:
        later = _Later()
        Sync.__call__(replace(self, queue=later), key, requests, remaining_ms)
        if later.sent is not None:
            self.queue.send(*later.sent)


@dataclass(slots=True)
class _Later:
    sent: tuple[SyncRequest, int] | None = None

    def send(self, request: SyncRequest, delay: int) -> None:
        self.sent = request, delay


# Broken steps: the claims.


class WakesNobody(CustomerReplica):
    """Leaves the claimants of a subject to their next event."""

    def settled(self, row: CustomerRow) -> None:
        """Nobody is woken."""


class WakesAfterCommits(CustomerReplica):
    """Wakes the claimants after its own commit, and not when the message comes again."""

    def commit(self, over: Any, fetched: Any, **dated: Any) -> CustomerRow:
        row = CustomerReplica.commit(self, over, fetched, **dated)
        CustomerReplica.settled(self, row)
        return row

    def settled(self, row: CustomerRow) -> None:
        """Done after the commit."""


class ReleasesNobody(StorePort):
    """Takes a subject over and leaves it in the row of the customer that held it."""

    def commit_and_link(
        self, row: CustomerRow, link: Link, *, released: CustomerRow | None = None
    ) -> None:
        super().commit_and_link(row, link)


# Broken steps: the batch and the functions.


class SwallowsFailures(Batch):
    """Reports every message as acknowledged."""

    def __call__(self, messages: Any, remaining_ms: Remaining) -> list[str]:
        Batch.__call__(self, messages, remaining_ms)
        return []


class GivesUpAfterTwo404s(Batch):
    """Acknowledges the copy that was sent after the first 404 when there is a second."""

    def _not_found(self, message: Message, request: SyncRequest, deferred: list[str]) -> None:
        if not request.not_found:
            Batch._not_found(self, message, request, deferred)


class DeletesFirst(Design):
    """Deletes the messages from the queue before it syncs."""

    def work(self, messages: list[Message]) -> None:
        io("edge", "delete", tuple(message.id for message in messages))
        Design.work(self, messages)


class AnswersFirst(Design):
    """Sends the response to the webhook before the event is on the queue."""

    def ingest_webhook(self, body: bytes, header: str) -> None:
        later = _Unsent()
        replace(self.ingest, queue=later)(body, header)
        io("edge", "answer", 200)
        for request in later.requests:
            QueuePort().send(request)


class _Unsent(QueuePort):
    def __init__(self) -> None:
        self.requests: list[SyncRequest] = []

    def send(self, request: SyncRequest, delay: int = 0) -> None:
        self.requests.append(request)


def covered_at_once(row: Row, requests: Requests) -> bool:
    """No margin: assumes that a fetch contains every event created before it."""
    return all(request.up_to <= row.as_of for request in requests)


def covered_to_the_second(row: Row, requests: Requests) -> bool:
    """A margin that ignores rounding: each timestamp may be almost a second too low."""
    return all(request.up_to + MARGIN_SECONDS <= row.as_of for request in requests)


def covered_if_recorded(row: Row, requests: Requests) -> bool:
    """Takes even a confirm that the row records for an orphan."""
    return covered(row, requests) or all(
        request.is_confirm and row.confirm_at <= request.up_to + MARGIN_SECONDS
        for request in requests
    )


def covered_beside_an_orphan(row: Row, requests: Requests) -> bool:
    """Takes an orphan for a proof that nothing else of its batch needs a fetch."""
    return any(each.is_confirm and covered(row, [each]) for each in requests) or covered(
        row, requests
    )


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong design, the invariant that it breaks, and the small world where that shows. Most are
    the real design with an edit of its source."""

    name: str
    make: Make
    breaks: type[Invariant]
    where: str
    covered: Callable[[Row, Requests], bool] = billing.sync.covered
    edits: tuple[Edit, ...] = ()


def _sync(kind: type[Sync] = Sync, **parts: Any) -> Make:
    def make(*, issuers: Issuers = (ISSUER,)) -> Design:
        sync = real_sync(kind, issuers=issuers, **parts)
        return design(sync=sync, issuers=issuers, strands=False)

    return make


def _batch(kind: type[Batch]) -> Make:
    def make(*, issuers: Issuers = (ISSUER,)) -> Design:
        return design(batch=kind, issuers=issuers, strands=False)

    return make


def _other(kind: type[Design]) -> Make:
    def make(*, issuers: Issuers = (ISSUER,)) -> Design:
        real = cases.real(issuers=issuers)
        return kind(real.ingest, real.batch, real.checkout, real.issuers)

    return make


def _edit(
    name: str, module: str, old: str, new: str, breaks: type[Invariant], where: str
) -> Mutant:
    return Mutant(name, cases.real, breaks, where, edits=(Edit(module, old, new),))


TWO, LAGS = "two workers", "two reads lag"
LATE_CONFIRM = "a read lags past a pending confirm"
CRASH = "a late webhook, a crash, a lagging read"
MARGIN_CASE = "a late webhook, reads at the margin"
WAITS = "time passes"
HOLDER_DELETED = "the empty holder is deleted"
CLAIM_GIVEN_UP = "the holder gives its claim up, and a crash"
DATE_JUMPS, DATE_AND_LAGS = "a Date jumps", "a Date jumps while reads lag"
READER = "a reader comes during a takeover"

MUTANTS = (
    Mutant(
        "timestamp guard <",
        _sync(AcknowledgesOnConflict, store=GuardedByLess()),
        AcknowledgedMeansCovered,
        TWO,
    ),
    Mutant(
        "timestamp guard <=",
        _sync(AcknowledgesOnConflict, store=GuardedByLessOrEqual()),
        NeverBackwards,
        TWO,
    ),
    Mutant("blind fetch-latest", _sync(store=Blind()), NeverBackwards, TWO),
    Mutant("fetch before reading the revision", _sync(FetchesFirst), NeverBackwards, TWO),
    Mutant(
        "stamp after fetch",
        _sync(StampsAfterwards, store=GuardedByLess()),
        NeverBackwards,
        WAITS,
    ),
    Mutant(
        "acknowledge on conflict",
        _sync(AcknowledgesOnConflict),
        AcknowledgedMeansCovered,
        TWO,
    ),
    Mutant(
        "claim the event id first",
        _sync(ClaimsTheEventFirst),
        AcknowledgedMeansCovered,
        "a crash",
    ),
    Mutant(
        "commit without bumping the revision",
        _sync(store=Unbumped()),
        RevisionCountsCommits,
        TWO,
    ),
    Mutant("acknowledge before write", _other(DeletesFirst), AcknowledgedMeansCovered, TWO),
    Mutant("200 before SendMessage", _other(AnswersFirst), AnsweredMeansKept, TWO),
    Mutant(
        "swallow a partial failure",
        _batch(SwallowsFailures),
        AcknowledgedMeansCovered,
        "two calls fail",
    ),
    Mutant(
        "acknowledge a second 404",
        _batch(GivesUpAfterTwo404s),
        AcknowledgedMeansCovered,
        LAGS,
    ),
    Mutant("first page only", _sync(stripe=FirstPageOnly()), CommitGivesWhatStripeSays, "upgrade"),
    Mutant("snapshot from the payload", _sync(AppliesThePayload), NeverBackwards, TWO),
    Mutant("no confirm under stale reads", _sync(NeverConfirms), QuietStoreEqualsStripe, LAGS),
    Mutant(
        "tombstone raised",
        _sync(store=ForgetsTombstones()),
        TombstoneStays,
        "the customer is deleted",
    ),
    Mutant(
        "confirm sent after the commit",
        _sync(ConfirmsAfterwards),
        QuietStoreEqualsStripe,
        CRASH,
    ),
    Mutant(
        "a pending confirm, due too early, serves",
        _sync(ConfirmsTooEarly),
        QuietStoreEqualsStripe,
        LATE_CONFIRM,
    ),
    Mutant(
        "a confirm is outgrown as its sender is",
        _sync(ConfirmsForItselfOnly),
        QuietStoreEqualsStripe,
        LATE_CONFIRM,
    ),
    Mutant(
        "every confirm is an orphan",
        _sync(),
        QuietStoreEqualsStripe,
        LAGS,
        covered_if_recorded,
    ),
    Mutant(
        "an orphan covers its whole batch",
        _sync(),
        AcknowledgedMeansCovered,
        "an orphan comes with an event",
        covered_beside_an_orphan,
    ),
    Mutant("no margin", _sync(), AcknowledgedMeansCovered, LAGS, covered_at_once),
    Mutant(
        "margin between floors",
        _sync(),
        AcknowledgedMeansCovered,
        MARGIN_CASE,
        covered_to_the_second,
    ),
    Mutant(
        "link without its condition",
        _sync(store=LinksBlindly()),
        OneCustomerOneSubject,
        "two customers claim one subject",
    ),
    Mutant(
        "a claimant is not woken",
        _sync(replica=WakesNobody),
        OneCustomerOneSubject,
        HOLDER_DELETED,
    ),
    Mutant(
        "woken only after a commit",
        _sync(replica=WakesAfterCommits),
        OneCustomerOneSubject,
        HOLDER_DELETED,
    ),
    Mutant(
        "the holder before keeps the subject too",
        _sync(store=ReleasesNobody()),
        OneCustomerOneSubject,
        CLAIM_GIVEN_UP,
    ),
    Mutant("404 means deleted", _sync(stripe=NotFoundMeansDeleted()), QuietStoreEqualsStripe, LAGS),
    # The clocks.
    _edit(
        "dated by Stripe's clock alone",
        "sync",
        "sorted((began, fetched.date))",
        "(fetched.date, fetched.date)",
        AcknowledgedMeansCovered,
        DATE_JUMPS,
    ),
    _edit(
        "dated by our clock alone",
        "sync",
        "sorted((began, fetched.date))",
        "(began, began)",
        AcknowledgedMeansCovered,
        "our clocks are wrong",
    ),
    _edit(
        "a pending confirm is judged by Stripe's clock alone",
        "sync",
        "sorted((began, fetched.date))",
        "(min(began, fetched.date), fetched.date)",
        QuietStoreEqualsStripe,
        DATE_AND_LAGS,
    ),
    _edit(
        "a pending confirm is judged by our clock alone",
        "sync",
        "sorted((began, fetched.date))",
        "(min(began, fetched.date), began)",
        QuietStoreEqualsStripe,
        "one of our clocks is behind while reads lag",
    ),
    _edit(
        "a confirm is due by the later clock",
        "sync",
        "due = as_of + CONFIRM_DELAY_SECONDS",
        "due = latest + CONFIRM_DELAY_SECONDS",
        QuietStoreEqualsStripe,
        DATE_AND_LAGS,
    ),
    _edit(
        "no confirm where Stripe's Date went back",
        "sync",
        "if row.confirm_at > latest + MARGIN_SECONDS:",
        "if row.as_of > as_of or row.confirm_at > latest + MARGIN_SECONDS:",
        QuietStoreEqualsStripe,
        DATE_AND_LAGS,
    ),
    _edit(
        "dated when the fetch ends",
        "sync",
        "as_of, latest = sorted((began, fetched.date))",
        "as_of = latest = int(self.clock())",
        AcknowledgedMeansCovered,
        "a fetch is slow",
    ),
    _edit(
        "an event beside a confirm begets no confirm",
        "sync",
        "if requests and all(request.is_follow_up",
        "if requests and any(request.is_follow_up",
        QuietStoreEqualsStripe,
        "a confirm comes with an event",
    ),
    _edit(
        "a document is covered by any fetch",
        "sync",
        "    return all(\n",
        "    return (row.key.kind != 'CUS' and row.as_of > 0) or all(\n",
        AcknowledgedMeansCovered,
        "a configuration changes",
    ),
    # The claims.
    _edit(
        "a changed claim is not written",
        "link",
        "                store.commit(row)\n                return row\n            # Whoever",
        "                return row\n            # Whoever",
        AcknowledgedMeansCovered,
        CLAIM_GIVEN_UP,
    ),
    _edit(
        "a holder moves before its row says so",
        "link",
        "if not yields(over, issuers):",
        "if False:",
        OneCustomerOneSubject,
        "the holder gives its claim up",
    ),
    _edit(
        "a holder that moves wakes nobody",
        "link",
        "_request(_waiting(over, issuers, store), over, queue)",
        "pass",
        OneCustomerOneSubject,
        CLAIM_GIVEN_UP,
    ),
    _edit(
        "a refused claimant does not look again",
        "link",
        "if not found.refuses(row.key):",
        "if row.subject is not None and not found.refuses(row.key):",
        OneCustomerOneSubject,
        "a claim and a deletion show late",
    ),
    _edit(
        "a takeover forgets the others that wait",
        "link",
        "claimants=tuple(key for key in found.claimants if key != row.key)",
        "claimants=()",
        OneCustomerOneSubject,
        "a second holder is deleted",
    ),
    _edit(
        "only the latest issuer counts",
        "link",
        "    for issuer in issuers:\n        link = store.load_link",
        "    for issuer in issuers[:1]:\n        link = store.load_link",
        OneCustomerOneSubject,
        "the issuer changes",
    ),
    # The reader.
    _edit(
        "a reader believes the link",
        "customers",
        "            if row.subject != subject:\n                continue\n",
        "",
        NobodyElsesAccess,
        READER,
    ),
    _edit(
        "a reader believes a link that it remembers",
        "customers",
        "if row.subject == subject and not row.deleted:",
        "if not row.deleted:",
        NobodyElsesAccess,
        "a reader comes while a claim is given up",
    ),
    _edit(
        "a tombstone has access",
        "customers",
        "            if row.deleted:\n                return None\n",
        "",
        NobodyElsesAccess,
        READER,
    ),
    # What never succeeds.
    _edit(
        "a row that does not fit is tried for ever",
        "batch",
        'self._dead_letter(message, f"StoreRefused {error.reason}", deferred)',
        "self._defer(message, 900, deferred)",
        Progress,
        "a row never fits again",
    ),
    _edit(
        "throttles are swallowed",
        "batch",
        'self.report("SyncDeferred", key=key.pk, reason=type(error).__name__)',
        "return",
        AcknowledgedMeansCovered,
        "reads of one customer are throttled for good",
    ),
    # Checkout.
    _edit(
        "earlier sessions stay open",
        "checkout.earlier",
        "if product not in products_of(session):\n            continue",
        "if True:\n            continue",
        NobodyPaysTwice,
        "two tabs buy",
    ),
    _edit(
        "what is paid is sold again",
        "checkout.sessions",
        "                self._refuse_what_is_paid(row, product, earlier)\n",
        "",
        NobodyPaysTwice,
        "two tabs buy",
    ),
    _edit(
        "the way back waits for the webhook",
        "checkout.sessions",
        "                row = self.buyers.synced(customer)\n",
        "                row = self.buyers.row(customer)\n",
        WhatIsBoughtShows,
        "a buyer comes back before the webhook",
    ),
)

#: A mutant survives if no invariant catches it within this many moments.
MAX_STATES = 400_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which invariant caught the mutant (None if it survived), after how many histories."""

    mutant: Mutant
    killed_by: str | None
    histories: int

    @property
    def good(self) -> bool:
        return self.killed_by == self.mutant.breaks.__name__

    def __str__(self) -> str:
        if self.killed_by is None:
            return f"{self.mutant.name}: SURVIVED {self.histories} histories"
        wrong = "" if self.good else f", NOT by {self.mutant.breaks.__name__}"
        by = f"{self.killed_by}{wrong}"
        return f"{self.mutant.name}: killed by {by} after {self.histories} histories"


def judge(mutant: Mutant) -> Verdict:
    """Explore the mutant's small world until an invariant catches it, or up to MAX_STATES."""
    with patch.object(billing.sync, "covered", mutant.covered), edited(*mutant.edits):
        setup = cases.case(mutant.where, mutant.make)
        found = explore(setup, limit=MAX_STATES)
    killed_by = found.violation.invariant if found.violation else None
    return Verdict(mutant, killed_by, found.histories)
