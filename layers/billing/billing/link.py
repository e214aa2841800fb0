"""Which customer a subject belongs to: one to one. Refused claims are remembered.

A customer claims a subject by its metadata. The first one holds it, until it *yields*: it was
deleted, or its metadata does not claim the subject any more. A claim that is refused meanwhile is
remembered with the link, and its customer is synced as soon as the holder yields. A holder that
claims another subject moves to it, if that one can be had.

*No claim is missed.* A claimant is remembered, commits its row, and looks at the holder's row
afterwards; a holder commits its row and looks for claimants afterwards. One of them sees the other.
So a holder's row has to say that it yields before the holder may leave the subject.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol

from billing.facts import Facts
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow, Link
from billing.reporter import Reporter
from billing.subjects import why_unusable
from billing.sync_request import SyncRequest

#: Refused claims that are remembered with a subject. A further one replaces those of customers that
#: claim it no more, or else the oldest.
MAX_CLAIMANTS = 20

#: The issuer of the tokens, then the former ones that name the same subjects, the latest first.
Issuers = tuple[str, ...]


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

    def send(self, request: SyncRequest, delay: int) -> None:
        """Enqueue `request`, visible after `delay` seconds. Raises QueueUnavailable."""
        ...


class Held(NamedTuple):
    """What the table says about a subject.

    link       the link under the current issuer, which is the one that is written
    holder     the row of the customer that holds the subject, deleted or not
    yields     whether the holder leaves the subject to the next customer that claims it
    claimants  the customers whose claim was refused, the oldest first
    """

    link: Link
    holder: CustomerRow | None
    yields: bool
    claimants: tuple[CustomerKey, ...]

    def refuses(self, key: CustomerKey) -> bool:
        """Whether another customer than `key` holds the subject and does not yield it."""
        return self.holder is not None and self.holder.key != key and not self.yields


def held(subject: str, *, mode: str, issuers: Issuers, store: Links) -> Held:
    """Who holds `subject`, under the current issuer or else under a former one.

    A link counts only where the row of its customer says the same.
    """
    links: list[Link] = []
    claimants: dict[CustomerKey, None] = {}
    for issuer in issuers:
        link = store.load_link(SubjectKey(mode, issuer, subject))
        links.append(link)
        claimants |= dict.fromkeys(link.claimants)
        row = store.load(link.customer) if link.customer else None
        if row is not None and row.subject == subject:
            return Held(links[0], row, yields(row, issuers), tuple(claimants))
    return Held(links[0], None, False, tuple(claimants))


def yields(holder: CustomerRow, issuers: Issuers) -> bool:
    """Whether a holder leaves its subject to the next customer that claims it."""
    return holder.deleted or _claimed(holder.facts, issuers) != holder.subject


def commit(
    row: CustomerRow,
    *,
    over: CustomerRow,
    issuers: Issuers,
    store: Store,
    queue: ClaimQueue,
    report: Reporter,
) -> CustomerRow:
    """Commit `row` over the row it was made from, and link the subject that its metadata claims.

    A claim that is refused is reported; the row is written all the same. Returns the row as
    written. Raises Conflict, StoreUnavailable, QueueUnavailable.
    """
    claimed, issuer = _usable_claim(row, issuers, report), issuers[0]
    if claimed is None or (claimed, issuer) == (over.subject, over.issuer):
        store.commit(row)
        return row
    look = partial(held, mode=row.key.mode, issuers=issuers, store=store)
    found = look(claimed)
    holder = found.holder
    if holder is not None and found.refuses(row.key):
        report("SubjectTaken", customer=row.key.id, claimed=claimed, held_by=holder.key.id)
        if row.key not in found.claimants:
            _remember(row.key, found, issuers, store, report)
        if row.subject == claimed:
            # It had the subject by an issuer that was not trusted when the other was linked.
            row = replace(row, subject=None, issuer=None)
        store.commit(row)
        return row

    if over.subject not in (None, claimed):
        # The row alone does not hold: another customer may have the subject by a later issuer.
        leaves = _held_by(over, issuers, store).holder
        if leaves is not None and leaves.key == row.key:
            if not yields(over, issuers):
                # First this row says so. The next sync, which `wake` requests, then moves it.
                store.commit(row)
                return row
            # Whoever waits for the subject was woken after that commit, unless its function ended.
            _request(_waiting(over, issuers, store), over, queue)
            report("SubjectChanged", customer=row.key.id, held=over.subject, claimed=claimed)

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
    store.commit_and_link(row, link, released=holder.released())
    report("SubjectTakenOver", customer=row.key.id, claimed=claimed, held_by=holder.key.id)
    return row


def wake(row: CustomerRow, *, issuers: Issuers, store: Links, queue: ClaimQueue) -> None:
    """Request a sync of every customer whose claim can succeed now: of those that wait for the
    subject which `row` holds and yields, and of the row's own customer.

    Each of these syncs ends a claim, so customers do not wake each other for ever. Raises
    StoreUnavailable, QueueUnavailable.
    """
    woken = _waiting(row, issuers, store)
    claimed = _living_claim(row, issuers)
    if claimed is not None and claimed != row.subject:
        found = held(claimed, mode=row.key.mode, issuers=issuers, store=store)
        # Its claim can succeed, or it has to be remembered: it was free when the row was written.
        if not found.refuses(row.key) or row.key not in found.claimants:
            woken.append(row.key)
    _request(woken, row, queue)


def _waiting(row: CustomerRow, issuers: Issuers, store: Links) -> list[CustomerKey]:
    """The customers that wait for the subject which `row` holds and yields. The row of each says
    whether it still claims the subject."""
    if row.subject is None or not yields(row, issuers):
        return []
    found = _held_by(row, issuers, store)
    return [
        key for key in found.claimants if _living_claim(store.load(key), issuers) == row.subject
    ]


def _held_by(row: CustomerRow, issuers: Issuers, store: Links) -> Held:
    """What the table says about the subject in the row, whose issuer another release may have
    written: this one may be the older of the two."""
    assert row.subject is not None
    if row.issuer is not None and row.issuer not in issuers:
        issuers = (*issuers, row.issuer)
    return held(row.subject, mode=row.key.mode, issuers=issuers, store=store)


def _request(customers: Iterable[CustomerKey], row: CustomerRow, queue: ClaimQueue) -> None:
    """Request a sync of each of these customers, because of what `row` says."""
    for key in customers:
        queue.send(SyncRequest.claim(key, cause=row.key.id, up_to=row.as_of), 0)


def _living_claim(row: CustomerRow, issuers: Issuers) -> str | None:
    """The subject that the metadata of a living customer claims, if it can be one."""
    claimed = _claimed(row.facts, issuers)
    return None if row.deleted or claimed is None or why_unusable(claimed) else claimed


def _claimed(facts: Facts, issuers: Issuers) -> str | None:
    """The subject that the metadata claims. Metadata that names another issuer claims none."""
    return facts.claimed_subject if facts.claimed_issuer in (None, *issuers) else None


def _usable_claim(row: CustomerRow, issuers: Issuers, report: Reporter) -> str | None:
    """The subject that the metadata claims, if it can be one."""
    facts, claimed = row.facts, _claimed(row.facts, issuers)
    if claimed is None:
        if facts.claimed_subject is not None:
            report(
                "SubjectOfAnotherIssuer",
                customer=row.key.id,
                claimed=facts.claimed_subject,
                issuer=facts.claimed_issuer,
            )
        return None
    if reason := why_unusable(claimed):
        report("SubjectUnusable", customer=row.key.id, reason=reason)
        return None
    return claimed


def _remember(
    key: CustomerKey, found: Held, issuers: Issuers, store: Store, report: Reporter
) -> None:
    """Add `key` to those who wait. The link may be the first one under the current issuer."""
    assert found.holder is not None
    claimants = (*found.claimants, key)
    if len(claimants) > MAX_CLAIMANTS:
        # Those first who claim it no more. A row that is still to be written claims it again.
        claimants = tuple(
            each
            for each in claimants
            if each == key or _living_claim(store.load(each), issuers) == found.link.key.subject
        )
    for forgotten in claimants[:-MAX_CLAIMANTS]:
        report("ClaimForgotten", customer=forgotten.id, claimed=found.link.key.subject)
    link = replace(
        found.link,
        revision=found.link.revision + 1,
        customer=found.holder.key,
        claimants=claimants[-MAX_CLAIMANTS:],
    )
    store.commit(link)
