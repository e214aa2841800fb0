"""A model of the entitlement table, with the condition expressions of store.py.

It has conditional puts, transactions of a row and a link, and two kinds of reads. A consistent read
returns the last write, an eventually consistent read the row before it. `test_models.py` compares
the model with the adapter.
"""

from __future__ import annotations

from dataclasses import replace

from billing.errors import Conflict, SubjectTaken
from billing.keys import CustomerKey, DocumentKey, SubjectKey
from billing.model import CustomerRow, DocumentRow

Rows = dict[CustomerKey, CustomerRow]
Documents = dict[DocumentKey, DocumentRow]
Links = dict[SubjectKey, CustomerKey]


class StoreModel:
    """link.Store and replicas.DocumentStore. A change replaces a field's value."""

    def __init__(self) -> None:
        self.rows: Rows = {}
        self.documents: Documents = {}
        self.links: Links = {}
        self.former: Rows = {}

    def snapshot(self) -> tuple[Rows, Documents, Links, Rows]:
        return self.rows, self.documents, self.links, self.former

    def restore(self, values: tuple[Rows, Documents, Links, Rows]) -> None:
        self.rows, self.documents, self.links, self.former = values

    def load(self, key: CustomerKey, *, consistent: bool = True) -> CustomerRow:
        rows = self.rows if consistent else self.former
        return rows.get(key) or CustomerRow(key=key)

    def load_document(self, key: DocumentKey, *, consistent: bool = True) -> DocumentRow:
        return self.documents.get(key) or DocumentRow(key=key)

    def linked_customer(
        self, subject: SubjectKey, *, consistent: bool = True
    ) -> CustomerKey | None:
        return self.links.get(subject)

    def commit(self, row: CustomerRow | DocumentRow) -> None:
        self._check_revision(row)
        if isinstance(row, DocumentRow):
            self.documents = {**self.documents, row.key: row}
        else:
            self._put(row)

    def commit_and_link(
        self, row: CustomerRow, subject: SubjectKey, *, replacing: CustomerKey | None
    ) -> None:
        self._check_revision(row)
        holder = self.links.get(subject)
        if holder is not None and holder.id != (replacing or row.key).id:
            raise SubjectTaken(subject.pk)
        if replacing is not None and not self.load(replacing).deleted:
            raise SubjectTaken(subject.pk)
        self._put(row)
        self.links = {**self.links, subject: row.key}

    def put(
        self, row: CustomerRow, subject: SubjectKey | None = None, *, newer: str = ""
    ) -> CustomerRow:
        """Write a row without checking its revision; only mutants do this. Return it as written.

        `newer` makes the write depend on the timestamp: the stored `as_of` must be less ("<"), or
        at most equal ("<="). Raises Conflict.
        """
        held = self.load(row.key)
        if held.revision and (
            (newer == "<" and not held.as_of < row.as_of)
            or (newer == "<=" and not held.as_of <= row.as_of)
        ):
            raise Conflict(row.key.pk)
        row = replace(row, revision=held.revision + 1)
        self._put(row)
        if subject is not None:
            self.links = {**self.links, subject: row.key}
        return row

    def _check_revision(self, row: CustomerRow | DocumentRow) -> None:
        """`rev = :before`, or `attribute_not_exists(pk)` for a row's first revision."""
        held: CustomerRow | DocumentRow | None = (
            self.documents.get(row.key) if isinstance(row, DocumentRow) else self.rows.get(row.key)
        )
        if (held.revision if held else None) != (row.revision - 1 if row.revision > 1 else None):
            raise Conflict(row.key.pk)

    def _put(self, row: CustomerRow) -> None:
        if row.key in self.rows:
            self.former = {**self.former, row.key: self.rows[row.key]}
        self.rows = {**self.rows, row.key: row}
