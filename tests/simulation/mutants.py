"""Known wrong designs: `python -m tests.simulation.mutants` breaks one step at a time.

Each mutant must be found out by the promise that it breaks. One that survives, or dies of something
else, fails the run: then the simulation is blind there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import billing.sync
from billing import link, stripe_state
from billing.batch import Batch, Message
from billing.errors import Conflict, CustomerNotFound
from billing.events import CONFIRM, Hint
from billing.model import CustomerKey, CustomerRow, SubjectKey
from billing.projection import StripeObject, project
from billing.stripe_state import Page
from billing.sync import CONFIRM_DELAY, MARGIN, Sync
from tests.simulation import cases
from tests.simulation.actors import QueuePort, StorePort, StripePort, clock, io
from tests.simulation.design import Design, design, real_sync
from tests.simulation.exhaustive import explore
from tests.simulation.invariants import (
    AcknowledgedMeansCovered,
    AnsweredMeansKept,
    Invariant,
    NeverBackwards,
    OneCustomerOneSubject,
    QuietStoreEqualsStripe,
    RevisionCountsCommits,
    TombstoneStays,
)
from tests.simulation.stripe_model import State

Remaining = Callable[[], int]


# Steps done wrong: the store.


class Blind(StorePort):
    """Writes whatever was fetched last, over whatever is there."""

    newer = ""

    def commit(self, row: CustomerRow) -> None:
        io("store", "put", row, None, self.newer)

    def commit_and_link(
        self, row: CustomerRow, subject: SubjectKey, *, replacing: CustomerKey | None
    ) -> None:
        io("store", "put", row, subject, self.newer)


class GuardedByLess(Blind):
    """Writes only over what is older by its timestamp."""

    newer = "<"


class GuardedByLessOrEqual(Blind):
    """Writes only over what is not newer by its timestamp."""

    newer = "<="


class Unbumped(StorePort):
    """Checks the revision and leaves it as it was."""

    def commit(self, row: CustomerRow) -> None:
        io("store", "put_unbumped", row)


class LinksBlindly(StorePort):
    """Links a subject without the condition that nobody has it."""

    def commit_and_link(
        self, row: CustomerRow, subject: SubjectKey, *, replacing: CustomerKey | None
    ) -> None:
        io("store", "put", row, subject, "")


class ForgetsTombstones(StorePort):
    """Treats a deleted customer as any other."""

    def load(self, key: CustomerKey) -> CustomerRow:
        row = super().load(key)
        return replace(row, billing=replace(row.billing, deleted=False))


# Steps done wrong: Stripe's reads.


class FirstPageOnly(StripePort):
    """Believes that no list has a second page."""

    def active_entitlements(self, customer: str, after: str | None) -> Page:
        return {**super().active_entitlements(customer, after), "has_more": False}


class NotFoundMeansDeleted(StripePort):
    """Takes a 404 for a deletion."""

    def customer(self, customer: str) -> tuple[StripeObject, int]:
        try:
            return super().customer(customer)
        except CustomerNotFound:
            return {"id": customer, "deleted": True}, int(clock())


# Steps done wrong: the sync.


class AcknowledgesOnConflict(Sync):
    """Somebody else wrote, so it must be done."""

    def __call__(self, key: CustomerKey, hints: Sequence[Hint], remaining_ms: Remaining) -> None:
        losing = replace(self, store=_GivesUp(self.store))
        try:
            Sync.__call__(losing, key, hints, remaining_ms)
        except _GaveUp:
            return


class _GaveUp(Exception):
    """A conflict that is not to be tried again."""


@dataclass(frozen=True, slots=True)
class _GivesUp:
    """A store whose conflicts end the sync."""

    store: link.Store

    def load(self, key: CustomerKey) -> CustomerRow:
        return self.store.load(key)

    def customer_of(self, subject: SubjectKey) -> CustomerKey | None:
        return self.store.customer_of(subject)

    def commit(self, row: CustomerRow) -> None:
        try:
            self.store.commit(row)
        except Conflict:
            raise _GaveUp from None

    def commit_and_link(
        self, row: CustomerRow, subject: SubjectKey, *, replacing: CustomerKey | None
    ) -> None:
        try:
            self.store.commit_and_link(row, subject, replacing=replacing)
        except Conflict:
            raise _GaveUp from None


class FetchesFirst(Sync):
    """Fetches before it reads the revision, or once for all tries, which is the same."""

    def __call__(self, key: CustomerKey, hints: Sequence[Hint], remaining_ms: Remaining) -> None:
        state = stripe_state.fetch(self.stripe, key.customer)
        row = self.store.load(key)
        self._write(row, state, hints)

    def _write(self, row: CustomerRow, state: Any, hints: Sequence[Hint]) -> None:
        """The rest of a sync, in order."""
        if billing.sync.covered(row, hints):
            return
        advanced = row.advanced(
            project(state, self.policy, self.subject_metadata_key),
            as_of=state.as_of,
            confirm_at=self._confirm(row, hints, fetched_at=state.as_of),
            event=hints[0].id,
            event_type=hints[0].type,
        )
        link.commit(advanced, over=row, issuer=self.issuer, store=self.store, report=self.report)


class StampsAfterwards(FetchesFirst):
    """Guards by a timestamp, and takes it when the fetch is over."""

    def __call__(self, key: CustomerKey, hints: Sequence[Hint], remaining_ms: Remaining) -> None:
        row = self.store.load(key)
        state = stripe_state.fetch(self.stripe, key.customer)
        self.store.load(key)  # whatever takes its time
        self._write(row, replace(state, as_of=int(clock())), hints)


class AppliesThePayload(FetchesFirst):
    """Applies what the event says instead of asking Stripe."""

    def __call__(self, key: CustomerKey, hints: Sequence[Hint], remaining_ms: Remaining) -> None:
        newest = max(hints, key=lambda hint: hint.created)
        if newest.type == CONFIRM:
            return
        row = self.store.load(key)
        payload: State = io("stripe", "payload", newest.id, None)
        advanced = row.advanced(
            payload.billing,
            as_of=newest.created,
            confirm_at=0,
            event=newest.id,
            event_type=newest.type,
        )
        link.commit(advanced, over=row, issuer=self.issuer, store=self.store, report=self.report)


class ClaimsTheEventFirst(Sync):
    """Records an event's id, then does its work; a second delivery finds the id and is done."""

    def __call__(self, key: CustomerKey, hints: Sequence[Hint], remaining_ms: Remaining) -> None:
        ours: list[Hint] = []
        for hint in hints:
            try:
                self.store.commit(
                    CustomerRow(key=CustomerKey("claim", "test", hint.id), revision=1)
                )
            except Conflict:
                continue
            ours.append(hint)
        if ours:
            Sync.__call__(self, key, ours, remaining_ms)


class NeverConfirms(Sync):
    """Trusts that a read of Stripe is never behind."""

    def _confirm(self, row: CustomerRow, hints: Sequence[Hint], *, fetched_at: int) -> int:
        return row.confirm_at


class ConfirmsTooEarly(Sync):
    """Takes any pending confirm for its own, however soon it is due."""

    def _confirm(self, row: CustomerRow, hints: Sequence[Hint], *, fetched_at: int) -> int:
        if row.confirm_at > fetched_at:
            return row.confirm_at
        return Sync._confirm(self, row, hints, fetched_at=fetched_at)


class ConfirmsForItselfOnly(Sync):
    """Lets a confirm be outgrown by the fetch that outgrew its sender, whomever else it serves."""

    def _confirm(self, row: CustomerRow, hints: Sequence[Hint], *, fetched_at: int) -> int:
        if all(hint.type == CONFIRM for hint in hints) or row.confirm_at > fetched_at + MARGIN:
            return row.confirm_at
        self.queue.send_confirm(Hint.confirm(row.key, created=fetched_at), CONFIRM_DELAY)
        return fetched_at + CONFIRM_DELAY


class ConfirmsAfterwards(Sync):
    """Sends the confirm when the commit that records it is done."""

    def __call__(self, key: CustomerKey, hints: Sequence[Hint], remaining_ms: Remaining) -> None:
        later = _Later()
        Sync.__call__(replace(self, queue=later), key, hints, remaining_ms)
        if later.sent is not None:
            self.queue.send_confirm(*later.sent)


@dataclass(slots=True)
class _Later:
    sent: tuple[Hint, int] | None = None

    def send_confirm(self, hint: Hint, delay: int) -> None:
        self.sent = hint, delay


# Steps done wrong: batch and functions.


class SwallowsFailures(Batch):
    """Reports every message as done."""

    def __call__(self, messages: Any, remaining_ms: Remaining) -> list[str]:
        Batch.__call__(self, messages, remaining_ms)
        return []


class DeletesFirst(Design):
    """Takes the messages off the queue, then works."""

    def work(self, messages: list[Message]) -> None:
        io("edge", "delete", tuple(message.id for message in messages))
        Design.work(self, messages)


class AnswersFirst(Design):
    """Answers the webhook, then puts its event on the queue."""

    def take_in(self, body: bytes, header: str) -> None:
        later = _Unsent()
        replace(self.ingest, queue=later)(body, header)
        io("edge", "answer", 200)
        for hint in later.hints:
            QueuePort().send(hint)


class _Unsent(QueuePort):
    def __init__(self) -> None:
        self.hints: list[Hint] = []

    def send(self, hint: Hint) -> None:
        self.hints.append(hint)


def covered_at_once(row: CustomerRow, hints: Sequence[Hint]) -> bool:
    """No margin: a row fetched after an event was created is taken to have seen it."""
    return row.deleted or all(hint.created <= row.as_of for hint in hints)


def covered_to_the_second(row: CustomerRow, hints: Sequence[Hint]) -> bool:
    """The margin between two numbers of which each may be a second short."""
    return row.deleted or all(hint.created + MARGIN <= row.as_of for hint in hints)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong design, the promise it breaks, and the small world in which that shows."""

    name: str
    make: Callable[[], Design]
    breaks: type[Invariant]
    where: str
    covered: Callable[[CustomerRow, Sequence[Hint]], bool] = billing.sync.covered


def _sync(kind: type[Sync] = Sync, **parts: Any) -> Callable[[], Design]:
    return lambda: design(sync=replace(real_sync(kind), **parts), strands=False)


def _other(kind: type[Design]) -> Callable[[], Design]:
    def make() -> Design:
        real = design(strands=False)
        return kind(real.ingest, real.batch)

    return make


TWO, LAGS = "two workers", "two reads lag"
LATE_CONFIRM = "a read lags past a pending confirm"
CRASH = "a late webhook, a crash, a lagging read"
MARGIN_CASE = "a late webhook, reads at the margin"
WAITS = "time passes"

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
        lambda: design(batch=SwallowsFailures, strands=False),
        AcknowledgedMeansCovered,
        "two calls fail",
    ),
    Mutant("first page only", _sync(stripe=FirstPageOnly()), QuietStoreEqualsStripe, "upgrade"),
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
    Mutant("404 means deleted", _sync(stripe=NotFoundMeansDeleted()), QuietStoreEqualsStripe, LAGS),
)

#: A mutant that lives through so many moments of its small world has survived.
MOST_STATES = 400_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a mutant fared: what found it out (None: nothing), after how many histories."""

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
    """Let the mutant loose."""
    with patch.object(billing.sync, "covered", mutant.covered):
        setup = cases.case(mutant.where, mutant.make())
        found = explore(setup, limit=MOST_STATES)
    killed_by = found.violation.invariant if found.violation else None
    return Verdict(mutant, killed_by, found.histories)


def main() -> int:
    killed = 0
    for mutant in MUTANTS:
        verdict = judge(mutant)
        killed += verdict.good
        print(verdict, flush=True)
    print(f"mutants: {killed}/{len(MUTANTS)} killed")
    return 0 if killed == len(MUTANTS) else 1


if __name__ == "__main__":
    sys.exit(main())
