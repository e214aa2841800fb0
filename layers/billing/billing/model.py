"""The rows of the entitlement table, and the DynamoDB items they are stored as. Pure.

All times are epoch seconds by Stripe's clock.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from billing import first_format, history
from billing.access import Access, AccessPolicy, decide
from billing.facts import Facts, without_defaults
from billing.history import TAKEN_OVER, Transition
from billing.keys import CustomerKey, DocumentKey, SubjectKey, key_of
from billing.stripe_objects import StripeObject
from billing.sync_request import Cause

#: The format of customers' rows. A later one may only add to it; a reader reads this format and the
#: one before.
FORMAT = 2

#: Bytes of facts and history together that are stored as text, so that a typical row costs one
#: write unit (1,024 bytes) and can be read in the console. Above that, the history is compressed
#: first, and then the facts.
MAX_TEXT_BYTES = 800


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRow:
    """The row of one customer. `revision` 0: nothing is stored yet.

    as_of       when the fetch behind this row began: by Stripe's Date or our clock, the earlier one
    confirm_at  when the last requested confirm is due, by the same clock; 0: none was requested
    subject     the subject that this customer holds; a tombstone keeps it until it is taken over
    issuer      the issuer of that subject
    """

    key: CustomerKey
    revision: int = 0
    as_of: int = 0
    confirm_at: int = 0
    subject: str | None = None
    issuer: str | None = None
    facts: Facts = field(default_factory=Facts)
    transitions: tuple[Transition, ...] = ()

    @property
    def deleted(self) -> bool:
        return self.facts.deleted

    def access(self, policy: AccessPolicy, now: float) -> Access:
        """What the customer may use at `now`, in epoch seconds."""
        return decide(self.facts, policy, now)

    def advanced(
        self,
        facts: Facts,
        *,
        as_of: int,
        confirm_at: int,
        cause: Cause,
        policy: AccessPolicy,
        ended: Iterable[StripeObject] = (),
    ) -> CustomerRow:
        """The next revision of this row: `facts` as fetched at `as_of`.

        `ended` are subscriptions (Stripe's objects) that this row still has as current ones. The
        history compares what was allowed when this row was fetched with what is allowed now.
        """
        transition = history.transition(
            (self.facts, self.access(policy, self.as_of)),
            (facts, decide(facts, policy, as_of)),
            at=as_of,
            cause=cause,
            ended=ended,
        )
        return replace(
            self,
            revision=self.revision + 1,
            as_of=as_of,
            confirm_at=confirm_at,
            facts=facts,
            transitions=history.added(self.transitions, transition),
        )

    def taken_over(self, from_customer: CustomerKey) -> CustomerRow:
        """This row with the transition which says whose subject it has taken over."""
        transition = Transition(at=self.as_of, event=from_customer.id, type=TAKEN_OVER)
        return replace(self, transitions=history.added(self.transitions, transition))

    def released(self) -> CustomerRow:
        """The next revision of this row, without its subject."""
        return replace(self, revision=self.revision + 1, subject=None, issuer=None)

    def to_item(self) -> dict[str, Any]:
        """The DynamoDB item, as plain Python values. Empty attributes are left out to save size."""
        facts = _text(self.facts.to_stored())
        transitions = _packed(
            _text(without_defaults(self.transitions)), MAX_TEXT_BYTES - len(facts)
        )
        attributes: dict[str, Any] = {
            "pk": self.key.pk,
            "format": FORMAT,
            "rev": self.revision,
            "as_of": self.as_of,
            "confirm_at": self.confirm_at,
            "subject": self.subject,
            "issuer": self.issuer,
            "deleted": self.deleted,
            "facts": _packed(facts, MAX_TEXT_BYTES - len(transitions)),
            "history": transitions,
        }
        return {name: value for name, value in attributes.items() if value}

    @classmethod
    def from_item(cls, key: CustomerKey, item: Mapping[str, Any]) -> CustomerRow:
        """The row in a DynamoDB item made by `to_item`, in this release, in the one before or in a
        later one; an empty item gives revision 0."""
        stored = first_format.converted(item) if item and "format" not in item else item
        return cls(
            key=key,
            revision=int(item.get("rev", 0)),
            as_of=int(item.get("as_of", 0)),
            confirm_at=int(item.get("confirm_at", 0)),
            subject=item.get("subject"),
            issuer=item.get("issuer"),
            facts=Facts.from_stored(_unpacked(stored.get("facts"), {})),
            transitions=tuple(map(Transition.from_stored, _unpacked(stored.get("history"), []))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """The row of one document; the fields mean what CustomerRow's do. `content` is plain data."""

    key: DocumentKey
    revision: int = 0
    as_of: int = 0
    confirm_at: int = 0
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def deleted(self) -> bool:
        """Stripe deletes neither portal configurations nor the catalog."""
        return False

    def to_item(self) -> dict[str, Any]:
        return {
            "pk": self.key.pk,
            "rev": self.revision,
            "as_of": self.as_of,
            "confirm_at": self.confirm_at,
            "content": dict(self.content),
        }

    @classmethod
    def from_item(cls, key: DocumentKey, item: Mapping[str, Any]) -> DocumentRow:
        """The row in a DynamoDB item made by `to_item`; an empty item gives revision 0."""
        return cls(
            key=key,
            revision=int(item.get("rev", 0)),
            as_of=int(item.get("as_of", 0)),
            confirm_at=int(item.get("confirm_at", 0)),
            content=item.get("content", {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The customer that a subject is linked to. `revision` 0: nothing is stored yet.

    claimants  the customers that claimed the subject and were refused, the oldest first
    """

    key: SubjectKey
    revision: int = 0
    customer: CustomerKey | None = None
    claimants: tuple[CustomerKey, ...] = ()

    def to_item(self) -> dict[str, Any]:
        assert self.customer is not None, "nothing is stored about a subject without a customer"
        return {
            "pk": self.key.pk,
            "rev": self.revision,
            "account": self.customer.account,
            "customer": self.customer.id,
            "claimants": [claimant.pk for claimant in self.claimants],
        }

    @classmethod
    def from_item(cls, key: SubjectKey, item: Mapping[str, Any]) -> Link:
        """The link in a DynamoDB item made by `to_item`; an empty item gives revision 0. The first
        release wrote neither `rev` nor `claimants`: that is revision 1."""
        if not item:
            return cls(key=key)
        claimants = map(key_of, item.get("claimants", ()))
        return cls(
            key=key,
            revision=int(item.get("rev", 1)),
            customer=CustomerKey(item["account"], key.mode, item["customer"]),
            claimants=tuple(each for each in claimants if isinstance(each, CustomerKey)),
        )


#: Whatever is written only over the revision before it.
Row = CustomerRow | DocumentRow | Link


def _text(stored: Any) -> bytes:
    """JSON; nothing where there is nothing."""
    text = json.dumps(stored, separators=(",", ":")) if stored else ""
    return text.encode()


def _packed(text: bytes, limit: int) -> str | bytes:
    """As text up to `limit` bytes, compressed above."""
    return text.decode() if len(text) <= max(0, limit) else zlib.compress(text, 9)


def _unpacked(stored: Any, empty: Any) -> Any:
    """What `_packed` was made from; plain data, as the format before stored it, is left as is."""
    if stored is None:
        return empty
    if isinstance(stored, str):
        return json.loads(stored)
    if isinstance(stored, Mapping | Sequence) and not isinstance(stored, bytes):
        return stored
    return json.loads(zlib.decompress(bytes(stored)))
