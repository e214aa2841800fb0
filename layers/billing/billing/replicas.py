"""How each kind of row is kept equal to Stripe: loaded, fetched and committed for sync.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from billing import link, stripe_state
from billing.access import AccessPolicy
from billing.documents import Document, DocumentReads, catalog_of, portal_configuration
from billing.keys import CATALOG, CONFIGURATION, CUSTOMER, CustomerKey, DocumentKey
from billing.link import ClaimQueue, Issuers, Store
from billing.model import CustomerRow, DocumentRow
from billing.projection import StripeState, project
from billing.reporter import Reporter
from billing.stripe_state import StripeReads
from billing.sync import Replica
from billing.sync_request import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerReplica:
    """Customers: the facts of their billing state, with the subject that their metadata claims.

    `policy` decides nothing that is stored, except what the history calls gained and lost.
    """

    store: Store
    queue: ClaimQueue
    stripe: StripeReads
    policy: AccessPolicy
    issuers: Issuers
    subject_metadata_key: str
    report: Reporter

    def load(self, key: CustomerKey) -> CustomerRow:
        return self.store.load(key)

    def fetch(self, over: CustomerRow, in_time: Callable[[], None]) -> StripeState:
        return stripe_state.fetch(self.stripe, over.key.id, over.facts, in_time)

    def commit(
        self, over: CustomerRow, fetched: StripeState, *, as_of: int, confirm_at: int, cause: Cause
    ) -> CustomerRow:
        facts, malformed = project(fetched, self.subject_metadata_key)
        if malformed:
            self.report("GrantMalformed", customer=over.key.id, metadata=list(malformed))
        row = over.advanced(
            facts,
            as_of=as_of,
            confirm_at=confirm_at,
            cause=cause,
            policy=self.policy,
            ended=fetched.ended,
        )
        return link.commit(
            row,
            over=over,
            issuers=self.issuers,
            store=self.store,
            queue=self.queue,
            report=self.report,
        )

    def settled(self, row: CustomerRow) -> None:
        link.wake(row, issuers=self.issuers, store=self.store, queue=self.queue)


class DocumentStore(Protocol):
    """Documents' rows, by consistent reads. Both may raise StoreUnavailable."""

    def load_document(self, key: DocumentKey) -> DocumentRow:
        """The row; revision 0 where there is none."""
        ...

    def commit(self, row: DocumentRow) -> None:
        """Write the row if the stored revision is one less. Raises Conflict."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReplica:
    """Documents of one kind: `read` fetches one from Stripe and calls its second argument before
    each read."""

    store: DocumentStore
    read: Callable[[DocumentKey, Callable[[], None]], Document]

    def load(self, key: DocumentKey) -> DocumentRow:
        return self.store.load_document(key)

    def fetch(self, over: DocumentRow, in_time: Callable[[], None]) -> Document:
        return self.read(over.key, in_time)

    def commit(
        self,
        over: DocumentRow,
        fetched: Document,
        *,
        as_of: int,
        confirm_at: int,
        cause: Cause,  # noqa: ARG002 (a document keeps no history)
    ) -> DocumentRow:
        row = DocumentRow(
            key=over.key,
            revision=over.revision + 1,
            as_of=as_of,
            confirm_at=confirm_at,
            content=fetched.content,
        )
        self.store.commit(row)
        return row

    def settled(self, row: DocumentRow) -> None:
        """Nobody waits for a document."""


def replicas(
    *,
    customers: CustomerReplica,
    documents: DocumentStore,
    reads: DocumentReads,
    for_sale: Callable[[], Sequence[str]],
) -> Mapping[str, Replica]:
    """Every kind of row, by the kind of its key. `for_sale` returns lookup keys or ids of
    prices."""
    return {
        CUSTOMER: customers,
        CONFIGURATION: DocumentReplica(store=documents, read=partial(portal_configuration, reads)),
        CATALOG: DocumentReplica(store=documents, read=partial(catalog_of, reads, for_sale)),
    }
