"""The sync: one row made equal to Stripe.

**When the queue is quiet, the row equals Stripe; on the way there it never goes backwards; and
nothing acknowledged is ever lost.** The order of the steps is the whole proof:

1. read the row's revision `r`, consistently
2. fetch the whole state from Stripe
3. write it on the condition that the revision is still `r`, as `r + 1`
4. return, and only then let the caller acknowledge what this write covers

*Never backwards*: the worker that commits `r + 2` read `r + 1` after its commit and fetched after
that, so each stored state was fetched later than the one it replaces. *Nothing lost*: an event
exists after its change, we fetch after receiving the event, and we return only after the commit of
that fetch. On a conflict we start over and never acknowledge: the winner may have fetched before
our change.

A read of Stripe may be stale by up to MARGIN_SECONDS. So every sync requests one delayed *confirm*,
which fetches again and requests none; and an event that is older than the row by the margin needs
no fetch.

A fetch is dated by two clocks, Stripe's Date and ours, and each time the one counts that makes us
do more: the earlier one for what the row covers and for when its confirm is due, the later one for
whether a pending confirm is late enough. So either clock may be wrong by any amount, and two of
Stripe's servers may disagree, as long as not both clocks are wrong in the same direction at once.

A claim begets no confirm either: a change that its read may miss has an event, whose confirm is
still to come. Otherwise a claim of a row that cannot be written would come again for ever.

The row records which confirm it relies on. It is sent before the write that records it, and comes
after the end of the function that sent it. So any other confirm is acknowledged without a fetch:
its sync never wrote its row, or a later sync has sent the one that is recorded, which comes later
and serves the fetches before it too. Otherwise each retry of a sync that cannot write would add a
confirm that is retried as well.

Customers, portal configurations and the catalog are all written here; replicas.py says how each is
loaded, fetched and committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from billing.errors import Conflict, OutOfTime
from billing.keys import Key
from billing.sync_request import DEMAND, Cause, SyncRequest
from billing.timeouts import AWS_CALL_MS, STRIPE_CALL_MS

#: How stale a read of Stripe may be, in seconds by Stripe's clock.
MARGIN_SECONDS = 60

#: How long after a fetch its confirm is due: more than the margin, and longer than any function
#: that sends one may run.
CONFIRM_DELAY_SECONDS = 90

#: In test mode no older request counts as covered: the events of a test clock have its time, which
#: may be any.
MAX_COVERED_AGE_SECONDS = 24 * 3600

#: The calls that follow the last read, at worst: the confirm, and the seven of link.commit. Waking
#: claimants is rare and not counted: if time runs out, the message comes back and they are woken.
MAX_COMMIT_CALLS = 8

#: One read of Stripe and the commit after it may take this long at worst. (Stripe refuses a key at
#: once, so a read that is repeated with another is not counted.)
READ_BUDGET_MS = STRIPE_CALL_MS + MAX_COMMIT_CALLS * AWS_CALL_MS

#: The same for an attempt with one read: the row is loaded first, and the API key may be. With less
#: time left, none begins.
ATTEMPT_BUDGET_MS = 2 * AWS_CALL_MS + READ_BUDGET_MS

#: Attempts of one sync before its messages go back to the queue.
MAX_ATTEMPTS = 4


class Row(Protocol):
    """What the sync reads of a row. `deleted` is a tombstone, which nothing changes any more."""

    @property
    def key(self) -> Key: ...
    @property
    def as_of(self) -> int: ...
    @property
    def confirm_at(self) -> int: ...
    @property
    def deleted(self) -> bool: ...


class Fetched(Protocol):
    """A fetch. `date` is Stripe's Date, in epoch seconds, at the first of its reads."""

    @property
    def date(self) -> int: ...


class Replica(Protocol):
    """How one kind of row is kept. Every method may raise StoreUnavailable, too."""

    def load(self, key: Any) -> Row:
        """The row by a consistent read; revision 0 where there is none."""
        ...

    def fetch(self, over: Any, in_time: Callable[[], None]) -> Fetched:
        """The whole state of the row `over`, which is read as last stored. Calls `in_time` before
        each read. Raises what that raises, StripeUnavailable, StripeRefused, CustomerNotFound."""
        ...

    def commit(self, over: Any, fetched: Any, *, as_of: int, confirm_at: int, cause: Cause) -> Row:
        """Write what was fetched as the next revision of `over`; return it as written. Raises
        Conflict where the stored revision is another, or QueueUnavailable."""
        ...

    def settled(self, row: Any) -> None:
        """Do what the stored row asks for, before the requests are acknowledged: it may have been
        done before. Raises QueueUnavailable."""
        ...


class ConfirmQueue(Protocol):
    """Where a sync requests its confirm."""

    def send(self, request: SyncRequest, delay: int) -> None:
        """Enqueue `request`, visible after `delay` seconds. Raises QueueUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """A sync's dependencies: a replica for each kind of key; `clock` returns epoch seconds;
    `pause(attempt)` waits a random moment before that attempt."""

    replicas: Mapping[str, Replica]
    queue: ConfirmQueue
    clock: Callable[[], float]
    pause: Callable[[int], None]

    def __call__(
        self,
        key: Key,
        requests: Sequence[SyncRequest],
        remaining_ms: Callable[[], int],
        *,
        on_demand: bool = False,
    ) -> None:
        """Make the row of `key` cover all `requests`; returning means they may be acknowledged.

        `on_demand` fetches in any case: the caller needs Stripe's state as it is now. Raises
        Conflict, OutOfTime, CustomerNotFound or any Unavailable: then nothing may be acknowledged.
        """
        replica, cause = self.replicas[key.kind], cause_of(requests)

        def in_time(needed_ms: int = READ_BUDGET_MS) -> None:
            if remaining_ms() < needed_ms:
                raise OutOfTime

        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                self.pause(attempt)
            in_time(ATTEMPT_BUDGET_MS)
            row = replica.load(key)
            if row.deleted or (not on_demand and covered(row, requests)):
                break
            began = int(self.clock())
            fetched = replica.fetch(row, in_time)
            as_of, latest = sorted((began, fetched.date))
            confirm_at = self._confirm(row, requests, as_of=as_of, latest=latest)
            try:
                row = replica.commit(row, fetched, as_of=as_of, confirm_at=confirm_at, cause=cause)
            except Conflict:
                continue
            break
        else:
            raise Conflict(f"{MAX_ATTEMPTS} attempts lost to other writers")
        replica.settled(row)

    def _confirm(
        self, row: Row, requests: Sequence[SyncRequest], *, as_of: int, latest: int
    ) -> int:
        """Make sure that a confirm comes more than the margin after this fetch, which began at
        `as_of` by the earlier clock and at `latest` by the later one; return when.

        It is sent before the commit that records it: a crash in between sends one too many, the
        other order none at all. A pending confirm that is late enough serves this fetch too.
        """
        if requests and all(request.is_follow_up for request in requests):
            return row.confirm_at
        if row.confirm_at > latest + MARGIN_SECONDS:
            return row.confirm_at
        due = as_of + CONFIRM_DELAY_SECONDS
        confirm = SyncRequest.confirm(row.key, up_to=due - MARGIN_SECONDS)
        self.queue.send(confirm, CONFIRM_DELAY_SECONDS)
        return due


def covered(row: Row, requests: Sequence[SyncRequest]) -> bool:
    """Whether no request needs a fetch: the stored row was fetched more than the margin after an
    event, and it relies on another confirm than this one.

    More than: both count whole seconds, so a change may be almost a second later than `up_to`.
    """
    oldest = row.as_of - MAX_COVERED_AGE_SECONDS if row.key.mode == "test" else 0
    return all(
        row.confirm_at != request.up_to + MARGIN_SECONDS
        if request.is_confirm
        else oldest <= request.up_to < row.as_of - MARGIN_SECONDS
        for request in requests
    )


def cause_of(requests: Sequence[SyncRequest]) -> Cause:
    """The cause of the latest request; without any, somebody demands the sync."""
    if not requests:
        return Cause("demand", DEMAND)
    return max(requests, key=lambda request: request.up_to).cause
