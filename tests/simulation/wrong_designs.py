"""Parts of known wrong designs: the real ones with one step broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import billing.sync
from billing import link
from billing.batch import Batch, Message
from billing.errors import Conflict, CustomerNotFound
from billing.keys import CustomerKey, Key
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
from tests.simulation.actors import QueuePort, StorePort, StripePort, clock, io
from tests.simulation.design import Design
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
