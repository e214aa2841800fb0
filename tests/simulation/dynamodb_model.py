"""The entitlement table, with the condition expressions of store.py.

It has conditional puts, transactions of rows and a link, and consistent reads. A read that is not
consistent returns the row before the last write. `test_models.py` compares it with the adapter.
"""

from __future__ import annotations

from dataclasses import replace

from billing.errors import Conflict, StoreRefused
from billing.keys import CustomerKey, DocumentKey, SubjectKey
from billing.model import CustomerRow, DocumentRow, Link, Row

Rows = dict[CustomerKey, CustomerRow]
Documents = dict[DocumentKey, DocumentRow]
Links = dict[SubjectKey, Link]
Tables = tuple[Rows, Documents, Links, Rows, Links]


class StoreModel:
    """link.Store and replicas.DocumentStore. Fields are immutable values: a change replaces one.

    A row with more than `max_subscriptions` does not fit.
    """

    def __init__(self, max_subscriptions: int | None = None) -> None:
        self.max_subscriptions = max_subscriptions
        self.rows: Rows = {}
        self.documents: Documents = {}
        self.links: Links = {}
        self.former: Rows = {}
        self.former_links: Links = {}

    def snapshot(self) -> Tables:
        return self.rows, self.documents, self.links, self.former, self.former_links

    def restore(self, values: Tables) -> None:
        self.rows, self.documents, self.links, self.former, self.former_links = values

    def load(self, key: CustomerKey, *, consistent: bool = True) -> CustomerRow:
        rows = self.rows if consistent else self.former
        return rows.get(key) or CustomerRow(key=key)

    def load_document(self, key: DocumentKey, *, consistent: bool = True) -> DocumentRow:
        return self.documents.get(key) or DocumentRow(key=key)

    def load_link(self, key: SubjectKey, *, consistent: bool = True) -> Link:
        links = self.links if consistent else self.former_links
        return links.get(key) or Link(key=key)

    def commit(self, row: Row) -> None:
        self._check_size(row)
        self._check_revision(row)
        self._put(row)

    def commit_and_link(
        self, row: CustomerRow, link: Link, *, released: CustomerRow | None = None
    ) -> None:
        rows: list[Row] = [row, link] if released is None else [row, link, released]
        for each in rows:
            self._check_size(each)
        for each in rows:
            self._check_revision(each)
        for each in rows:
            self._put(each)

    def put(self, row: CustomerRow, link: Link | None = None, *, newer: str = "") -> CustomerRow:
        """Write without checking the revision, which only a mutant does. `newer` ("<" or "<=") is
        the condition between the stored `as_of` and the new one. Returns the row as written."""
        held = self.load(row.key)
        if held.revision and (
            (newer == "<" and not held.as_of < row.as_of)
            or (newer == "<=" and not held.as_of <= row.as_of)
        ):
            raise Conflict(row.key.pk)
        row = replace(row, revision=held.revision + 1)
        self._put(row)
        if link is not None:
            self._put(link)
        return row

    def _check_size(self, row: Row) -> None:
        if self.max_subscriptions is None or not isinstance(row, CustomerRow):
            return
        if len(row.facts.subscriptions) > self.max_subscriptions:
            raise StoreRefused("too large")

    def _check_revision(self, row: Row) -> None:
        """`rev = :before`, or `attribute_not_exists(pk)` for a row's first revision."""
        held: Row | None
        match row:
            case CustomerRow():
                held = self.rows.get(row.key)
            case DocumentRow():
                held = self.documents.get(row.key)
            case Link():
                held = self.links.get(row.key)
        if (held.revision if held else None) != (row.revision - 1 if row.revision > 1 else None):
            raise Conflict(row.key.pk)

    def _put(self, row: Row) -> None:
        match row:
            case CustomerRow():
                if row.key in self.rows:
                    self.former = {**self.former, row.key: self.rows[row.key]}
                self.rows = {**self.rows, row.key: row}
            case DocumentRow():
                self.documents = {**self.documents, row.key: row}
            case Link():
                if row.key in self.links:
                    self.former_links = {**self.former_links, row.key: self.links[row.key]}
                self.links = {**self.links, row.key: row}
