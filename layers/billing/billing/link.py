"""Which customer a subject belongs to: one to one. Refused claims are remembered.

A customer claims a subject by its metadata. The first one holds it, until it *yields*: it was
deleted, or its metadata does not claim the subject any more. A claim that is refused meanwhile is
remembered with the link, and its customer is synced as soon as the holder yields.

*No claim is missed.* A claimant is remembered first and looks at the holder's row afterwards; the
holder commits its row first and looks for claimants afterwards. One of them sees the other.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol

from billing.facts import Facts
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow, Link
from billing.reporter import Reporter
from billing.subjects import why_unusable
from billing.sync_request import SyncRequest

#: Refused claims that are remembered with a subject. A further one replaces those of deleted
#: customers, or else the oldest.
MAX_CLAIMANTS = 20

#: When a customer that has lost its subject is synced, in seconds. It is requested before the
#: commit, so it is due later than any function that syncs may run.
RELEASE_DELAY_SECONDS = 90


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
    if over.issuer in issuers and over.subject not in (None, claimed):
        # The row alone does not hold: another customer may have the subject by a later issuer.
        holder = look(over.subject).holder
        if holder is not None and holder.key == row.key:
            report("SubjectChanged", customer=row.key.id, held=over.subject, claimed=claimed)
            store.commit(row)
            return row

    found = look(claimed)
    if found.refuses(row.key) and row.key not in found.claimants:
        _remember(row.key, found, store, report)
        # The holder may have yielded before it could find this claim.
        found = look(claimed)
    holder = found.holder
    if holder is not None and found.refuses(row.key):
        report("SubjectTaken", customer=row.key.id, claimed=claimed, held_by=holder.key.id)
        if row.subject == claimed:
            # It had the subject by an issuer that was not trusted when the other was linked.
            row = replace(row, subject=None, issuer=None)
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
        queue.send(request, RELEASE_DELAY_SECONDS)
    store.commit_and_link(row, link, released=holder.released())
    report("SubjectTakenOver", customer=row.key.id, claimed=claimed, held_by=holder.key.id)
    return row


def wake(row: CustomerRow, *, issuers: Issuers, store: Links, queue: ClaimQueue) -> None:
    """Request a sync of every customer that waits for the subject which `row` holds and yields.

    Not of one that holds another subject: it cannot take this one over, and is synced when it loses
    its own. So no two customers wake each other. Raises StoreUnavailable, QueueUnavailable.
    """
    if row.subject is None or row.issuer not in issuers or not yields(row, issuers):
        return
    found = held(row.subject, mode=row.key.mode, issuers=issuers, store=store)
    for key in found.claimants:
        claimant = store.load(key)
        holds_another = claimant.subject not in (None, row.subject) and claimant.issuer in issuers
        if not (claimant.deleted or holds_another):
            queue.send(SyncRequest.claim(key, cause=row.key.id, up_to=row.as_of), 0)


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


def _remember(key: CustomerKey, found: Held, store: Store, report: Reporter) -> None:
    """Add `key` to those who wait. The link may be the first one under the current issuer."""
    assert found.holder is not None
    claimants = (*found.claimants, key)
    if len(claimants) > MAX_CLAIMANTS:
        # Those who are gone first: they take nothing over.
        claimants = tuple(each for each in claimants if not store.load(each).deleted)
    for forgotten in claimants[:-MAX_CLAIMANTS]:
        report("ClaimForgotten", customer=forgotten.id, claimed=found.link.key.subject)
    link = replace(
        found.link,
        revision=found.link.revision + 1,
        customer=found.holder.key,
        claimants=claimants[-MAX_CLAIMANTS:],
    )
    store.commit(link)
