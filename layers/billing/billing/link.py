"""Which subject a customer belongs to: one to one, for as long as the customer lives."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from billing.errors import SubjectTaken
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow
from billing.reporter import Reporter
from billing.subjects import why_unusable


class Store(Protocol):
    """Customers' rows and links, by consistent reads. Every method may raise StoreUnavailable."""

    def load(self, key: CustomerKey) -> CustomerRow:
        """The row; revision 0 where there is none."""
        ...

    def linked_customer(self, subject: SubjectKey) -> CustomerKey | None:
        """The customer the subject is linked to."""
        ...

    def commit(self, row: CustomerRow) -> None:
        """Write the row if the stored revision is one less. Raises Conflict."""
        ...

    def commit_and_link(
        self, row: CustomerRow, subject: SubjectKey, *, replacing: CustomerKey | None
    ) -> None:
        """Write the row as `commit` does and link `subject` to it, in one transaction. The subject
        must be linked to nobody, to this customer, or to `replacing`, which must be a tombstone.
        Raises Conflict for the row, SubjectTaken for the link."""
        ...


def commit(
    row: CustomerRow, *, over: CustomerRow, issuer: str, store: Store, report: Reporter
) -> None:
    """Commit `row` over the row it was made from, and link the subject that its metadata claims.

    A link lasts as long as the customer. A claim that contradicts a link is reported and never
    obeyed; the row is written all the same. Raises Conflict, StoreUnavailable.
    """
    claimed = row.facts.claimed_subject
    if claimed is None or (claimed, issuer) == (over.subject, over.issuer):
        store.commit(row)
        return
    if reason := why_unusable(claimed):
        report("SubjectUnusable", customer=row.key.id, reason=reason)
        store.commit(row)
        return
    if over.subject not in (None, claimed):
        report("SubjectChanged", customer=row.key.id, held=over.subject, claimed=claimed)
        store.commit(row)
        return

    subject = SubjectKey(row.key.mode, issuer, claimed)
    holder = store.linked_customer(subject)
    free = holder is None or holder == row.key
    if free or (holder is not None and store.load(holder).deleted):
        try:
            store.commit_and_link(
                replace(row, subject=claimed, issuer=issuer),
                subject,
                replacing=None if free else holder,
            )
            return
        except SubjectTaken:
            # Another customer was linked since we looked. The row must still be written.
            holder = store.linked_customer(subject)
    report(
        "SubjectTaken",
        customer=row.key.id,
        claimed=claimed,
        held_by=holder.id if holder else None,
    )
    store.commit(row)
