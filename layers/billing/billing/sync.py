"""The sync: one customer's row made equal to Stripe.

**When the queue is quiet, the row equals Stripe; on the way there it never goes backwards; and
nothing acknowledged is ever lost.** The order of the steps is the whole proof:

1. read the row's revision `r`   (consistently)
2. fetch the customer's whole state from Stripe
3. project it
4. write it on the condition that the revision is still `r`, as `r + 1`
5. acknowledge what this write covers: return, and only then

*Never backwards*: whoever commits `r + 2` read `r + 1` after it was committed and fetched after
that, so each stored state was fetched later than the one it replaces. *Nothing lost*: an event
exists after its change, we fetch after taking the event, and we return only after the commit of
that fetch. On a conflict we start over and never acknowledge: the winner may have fetched before
our change.

A fetch may see Stripe as it was up to MARGIN seconds ago. So every sync asks for one delayed
*confirm*, which fetches again and begets none; and an event that the row has outgrown by the margin
needs no fetch. Both compare Stripe's clock with Stripe's clock: ours does not come into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from billing import link, stripe_state
from billing.access import AccessPolicy
from billing.errors import Conflict, OutOfTime
from billing.events import CONFIRM, Hint
from billing.link import Store
from billing.model import CustomerKey, CustomerRow
from billing.projection import project
from billing.stripe_state import StripeReads

#: How far behind a read of Stripe may be, in seconds by Stripe's clock.
MARGIN = 60

#: How long after a fetch its confirm is due, in seconds. More than MARGIN.
CONFIRM_DELAY = 90

#: With fewer milliseconds left than one try may take at worst, none is begun.
ATTEMPT_BUDGET_MS = 25_000

#: Tries of one sync before its messages go back to the queue.
ATTEMPTS = 4


class ConfirmQueue(Protocol):
    """Where a sync asks for its confirm."""

    def send_confirm(self, hint: Hint, delay: int) -> None:
        """Enqueue `hint`, visible after `delay` seconds. Raises QueueUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """A sync's dependencies. `pause(attempt)` waits a random moment before try `attempt`."""

    store: Store
    stripe: StripeReads
    queue: ConfirmQueue
    policy: AccessPolicy
    issuer: str
    subject_metadata_key: str
    pause: Callable[[int], None]
    report: link.Report

    def __call__(
        self, key: CustomerKey, hints: Sequence[Hint], remaining_ms: Callable[[], int]
    ) -> None:
        """Make the row of `key` cover all `hints`; returning means they may be acknowledged.

        Raises Conflict, OutOfTime, CustomerNotFound or any Unavailable: then nothing may be.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                self.pause(attempt)
            if remaining_ms() < ATTEMPT_BUDGET_MS:
                raise OutOfTime
            row = self.store.load(key)
            if covered(row, hints):
                return
            state = stripe_state.fetch(self.stripe, key.customer)
            billing = project(state, self.policy, self.subject_metadata_key)
            confirm_at = self._confirm(row, hints, fetched_at=state.as_of)
            cause = max(hints, key=lambda hint: hint.created)
            advanced = row.advanced(
                billing,
                as_of=state.as_of,
                confirm_at=confirm_at,
                event=cause.id,
                event_type=cause.type,
            )
            try:
                link.commit(
                    advanced, over=row, issuer=self.issuer, store=self.store, report=self.report
                )
            except Conflict:
                continue
            return
        raise Conflict(f"{ATTEMPTS} tries lost to other writers")

    def _confirm(self, row: CustomerRow, hints: Sequence[Hint], *, fetched_at: int) -> int:
        """See to it that a confirm comes more than MARGIN after this fetch; return when it is due.

        It is sent before the commit that records it: a crash in between sends one too many, the
        other order none at all. A pending one that is late enough serves us too; so a confirm is
        outgrown only by a fetch as late as its own, whoever asked for it.
        """
        if all(hint.type == CONFIRM for hint in hints):
            return row.confirm_at
        if row.confirm_at > fetched_at + MARGIN:
            return row.confirm_at
        due = fetched_at + CONFIRM_DELAY
        self.queue.send_confirm(Hint.confirm(row.key, created=due - MARGIN), CONFIRM_DELAY)
        return due


def covered(row: CustomerRow, hints: Sequence[Hint]) -> bool:
    """Whether the stored row already answers every hint: it is a tombstone, which nothing raises,
    or it was fetched more than the margin after each of them was created.

    More than: both count whole seconds, so a change may be almost one later than `created` says."""
    return row.deleted or all(hint.created + MARGIN < row.as_of for hint in hints)
