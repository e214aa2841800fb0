"""Who buys: the subject's customer, looked for before one is created."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from billing.errors import Conflict, CustomerNotFound, StoreUnavailable, StripeUnavailable
from billing.keys import CustomerKey
from billing.link import Held, Issuers, Links, held
from billing.model import CustomerRow
from billing.projection import issuer_key


class BuyersApi(Protocol):
    """Raises StripeUnavailable or StripeRefused."""

    def create_customer(self, metadata: Mapping[str, str], key: str) -> str:
        """The id of a new customer; of the same one for everybody with the same `key`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyers:
    """The customers of subjects, as checkout needs them: read consistently, and synced at once.

    `sync` makes a customer's row equal to Stripe now. Every method raises any Unavailable.
    """

    store: Links
    stripe: BuyersApi
    sync: Callable[[CustomerKey], None]
    account: str
    mode: str
    issuers: Issuers
    subject_metadata_key: str

    def held(self, subject: str) -> Held:
        """What the table says about the subject."""
        return held(subject, mode=self.mode, issuers=self.issuers, store=self.store)

    def row(self, customer: CustomerKey) -> CustomerRow:
        """The customer's row as it is stored."""
        return self.store.load(customer)

    def synced(self, customer: CustomerKey) -> CustomerRow:
        """The row after the worker's own sync; the webhook that follows changes nothing."""
        try:
            self._sync(customer)
        except CustomerNotFound as error:
            # A stale read after its creation, or a key of another account: never "deleted".
            raise StripeUnavailable("the customer is not found (yet)") from error
        return self.row(customer)

    def living(
        self, subject: str, deleted: CustomerKey | None
    ) -> tuple[CustomerKey | None, CustomerKey | None]:
        """The subject's living customer, if it has one; and the last one that was deleted.

        Where the holder is gone, the customers whose claim was refused are synced, until one takes
        the subject over: nobody is sold what they already pay for.
        """
        found = self.held(subject)
        for claimant in found.claimants:
            if found.holder is not None and not found.yields:
                break
            if self.row(claimant).deleted:
                continue
            try:
                self._sync(claimant)
            except CustomerNotFound:
                # Of an account that is not served any more: it takes nothing over.
                continue
            found = self.held(subject)
        holder = found.holder
        if holder is None or not holder.deleted:
            return holder.key if holder else None, deleted
        return None, deleted or holder.key

    def created(self, subject: str, deleted: CustomerKey | None) -> CustomerKey:
        """The subject's new customer, the same for all requests at once. After a deleted one the
        idempotency key differs: Stripe would return that one for a day."""
        metadata = {
            self.subject_metadata_key: subject,
            issuer_key(self.subject_metadata_key): self.issuers[0],
        }
        key = idempotency_key(
            "customer", self.mode, json.dumps(metadata), deleted.id if deleted else ""
        )
        created = self.stripe.create_customer(metadata, key)
        return CustomerKey(self.account, self.mode, created)

    def _sync(self, customer: CustomerKey) -> None:
        try:
            self.sync(customer)
        except Conflict as error:
            raise StoreUnavailable("too many writers at once") from error


def idempotency_key(*parts: str) -> str:
    """The same for the same parts, without showing them."""
    return f"portcullis-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"
