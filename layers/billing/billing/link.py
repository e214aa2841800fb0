"""Which subject a customer belongs to: one to one, for as long as the customer lives."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from billing.errors import SubjectTaken
from billing.model import CustomerKey, CustomerRow, SubjectKey


class Store(Protocol):
    """The entitlement table, as the sync sees it. Every method may raise StoreUnavailable."""

    def load(self, key: CustomerKey) -> CustomerRow:
        """The row by a consistent read; revision 0 where there is none."""
        ...

    def customer_of(self, subject: SubjectKey) -> CustomerKey | None:
        """The customer the subject is linked to, by a consistent read."""
        ...

    def commit(self, row: CustomerRow) -> None:
        """Write the row if the stored revision is one less. Raises Conflict."""
        ...

    def commit_and_link(
        self, row: CustomerRow, subject: SubjectKey, *, replacing: CustomerKey | None
    ) -> None:
        """Write the row as `commit` does and link `subject` to it, in one transaction: only if the
        subject is linked to nobody (or to this customer already), or to `replacing`, a tombstone.
        Raises Conflict for the row, SubjectTaken for the link."""
        ...


class Report(Protocol):
    """How a flow says that something happened."""

    def __call__(self, name: str, /, **details: object) -> None:
        """Count the occurrence `name` and log it with its details."""
        ...


def commit(
    row: CustomerRow, *, over: CustomerRow, issuer: str, store: Store, report: Report
) -> None:
    """Commit `row` over the row it was made from, linking the subject its metadata claims.

    A link lasts as long as the customer. A claim that contradicts one, on either side, is reported
    and never obeyed: the billing is written all the same. Raises Conflict, StoreUnavailable.
    """
    claimed = row.billing.claimed_subject
    if claimed is None or (claimed, issuer) == (over.subject, over.issuer):
        store.commit(row)
        return
    if over.subject not in (None, claimed):
        report("SubjectChanged", customer=row.key.customer, held=over.subject, claimed=claimed)
        store.commit(row)
        return

    subject = SubjectKey(row.key.mode, issuer, claimed)
    holder = store.customer_of(subject)
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
            # Somebody linked it a moment ago. This write still has to land; the report is true.
            holder = store.customer_of(subject)
    report(
        "SubjectTaken",
        customer=row.key.customer,
        claimed=claimed,
        held_by=holder.customer if holder else None,
    )
    store.commit(row)
