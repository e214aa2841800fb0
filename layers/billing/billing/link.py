"""Which customer a subject belongs to: one to one. Refused claims are remembered.

A customer claims a subject by its metadata. The first one holds it, until it *yields*: it was
deleted, or its metadata does not claim the subject any more. A claim that is refused meanwhile is
remembered with the link, and its customer is synced as soon as the holder yields.

*No claim is missed.* A claimant is remembered first and looks at the holder's row afterwards; the
holder commits its row first and looks for claimants afterwards. One of them sees the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Protocol

from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow, Link
from billing.reporter import Reporter
from billing.subjects import why_unusable
from billing.sync_request import SyncRequest

#: Refused claims that are remembered with a subject. A further one replaces the oldest.
MAX_CLAIMANTS = 20

#: When a customer that has lost its subject is synced, in seconds. It is requested before the
#: commit, so it is due later than any function may run (60 s).
RELEASE_DELAY_SECONDS = 90


class Links(Protocol):
    """Customers' rows and links, by consistent reads. Both may raise StoreUnavailable."""

    def load(self, key: CustomerKey) -> CustomerRow:
        """The row; revision 0 where there is none."""
        ...

    def load_link(self, key: SubjectKey) -> Link:
        """The link; revision 0 where there is none."""
        ...


class Store(Links, Protocol):
    """Both writes raise Conflict where a stored revision is not one less, or StoreUnavailable."""

    def commit(self, row: CustomerRow | Link) -> None: ...

    def commit_and_link(
        self, row: CustomerRow, link: Link, *, released: CustomerRow | None = None
    ) -> None:
        """Write the row, the link to it and the released row, in one transaction."""
        ...


class ClaimQueue(Protocol):
    """Where the syncs of others are requested."""

    def send_confirm(self, request: SyncRequest, delay: int) -> None:
        """Enqueue `request`, visible after `delay` seconds. Raises QueueUnavailable."""
        ...


class Held(NamedTuple):
    """What the table says about a subject.

    link       the link, where it is written next
    holder     the row of the customer that holds the subject, deleted or not
    claimants  the customers whose claim was refused, the oldest first
    """

    link: Link
    holder: CustomerRow | None
    claimants: tuple[CustomerKey, ...]

    def refuses(self, key: CustomerKey) -> bool:
        """Whether another customer holds the subject and does not yield it."""
        holder = self.holder
        return holder is not None and holder.key != key and not yields(holder)


def held(subject: SubjectKey, store: Links) -> Held:
    """Who holds `subject`. A link counts only where the row of its customer says the same."""
    link = store.load_link(subject)
    holder = store.load(link.customer) if link.customer else None
    if holder is not None and (holder.subject, holder.issuer) != (subject.subject, subject.issuer):
        holder = None
    return Held(link, holder, link.claimants)


def yields(holder: CustomerRow) -> bool:
    """Whether a holder leaves its subject to the next customer that claims it."""
    return holder.deleted or holder.facts.claimed_subject != holder.subject


def commit(
    row: CustomerRow,
    *,
    over: CustomerRow,
    issuer: str,
    store: Store,
    queue: ClaimQueue,
    report: Reporter,
) -> CustomerRow:
    """Commit `row` over the row it was made from, and link the subject that its metadata claims.

    A claim that is refused is reported; the row is written all the same. Returns the row as
    written. Raises Conflict, StoreUnavailable, QueueUnavailable.
    """
    claimed = _claimed(row, report)
    if claimed is None or (claimed, issuer) == (over.subject, over.issuer):
        store.commit(row)
        return row
    if over.subject not in (None, claimed):
        report("SubjectChanged", customer=row.key.id, held=over.subject, claimed=claimed)
        store.commit(row)
        return row

    subject = SubjectKey(row.key.mode, issuer, claimed)
    found = held(subject, store)
    if found.refuses(row.key) and row.key not in found.claimants:
        _remember(row.key, found, store, report)
        # The holder may have yielded before it could find this claim.
        found = held(subject, store)
    holder = found.holder
    if found.refuses(row.key):
        report(
            "SubjectTaken",
            customer=row.key.id,
            claimed=claimed,
            held_by=holder.key.id if holder else None,
        )
        store.commit(row)
        return row

    row = replace(row, subject=claimed, issuer=issuer)
    link = replace(
        found.link,
        revision=found.link.revision + 1,
        customer=row.key,
        claimants=tuple(key for key in found.claimants if key != row.key),
    )
    if holder is None or holder.key == row.key:
        store.commit_and_link(row, link)
        return row
    row = row.taken_over(holder.key)
    if not holder.deleted:
        # It may claim another subject by now, which it could not have while it held this one.
        request = SyncRequest.claim(holder.key, cause=row.key.id, up_to=row.as_of)
        queue.send_confirm(request, RELEASE_DELAY_SECONDS)
    store.commit_and_link(row, link, released=holder.released())
    report("SubjectTakenOver", customer=row.key.id, claimed=claimed, held_by=holder.key.id)
    return row


def wake(row: CustomerRow, *, store: Links, queue: ClaimQueue) -> None:
    """Request a sync of every customer that waits for the subject which `row` holds and yields.

    Raises StoreUnavailable, QueueUnavailable.
    """
    if row.subject is None or row.issuer is None or not yields(row):
        return
    for key in store.load_link(SubjectKey(row.key.mode, row.issuer, row.subject)).claimants:
        queue.send_confirm(SyncRequest.claim(key, cause=row.key.id, up_to=row.as_of), 0)


def _claimed(row: CustomerRow, report: Reporter) -> str | None:
    """The subject that the metadata claims, if it can be one."""
    claimed = row.facts.claimed_subject
    if claimed is not None and (reason := why_unusable(claimed)):
        report("SubjectUnusable", customer=row.key.id, reason=reason)
        return None
    return claimed


def _remember(key: CustomerKey, found: Held, store: Store, report: Reporter) -> None:
    claimants = (*found.claimants, key)
    for forgotten in claimants[:-MAX_CLAIMANTS]:
        report("ClaimForgotten", customer=forgotten.id, claimed=found.link.key.subject)
    store.commit(
        replace(
            found.link,
            revision=found.link.revision + 1,
            claimants=claimants[-MAX_CLAIMANTS:],
        )
    )
