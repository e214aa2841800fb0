"""The rows of the entitlement table, and the DynamoDB items they are stored as. Pure.

All times are epoch seconds by Stripe's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from billing.keys import CustomerKey, DocumentKey
from billing.sync_request import Cause

#: Transitions a row keeps, newest first ("why did access end?").
MAX_TRANSITIONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductGrant:
    """What all items of one product add up to."""

    quantity: int
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A subscription item."""

    price: str
    product: str
    lookup_key: str | None
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A current subscription. `until`: the end of the access it gives, None when it gives none."""

    id: str
    status: str
    until: int | None
    cancel_at: int | None
    current_period_end: int | None
    trial_end: int | None
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """The default payment method. Cards have all four fields, others their type as `brand`."""

    brand: str
    last4: str | None
    exp_month: int | None
    exp_year: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxId:
    """A tax id: its type (`eu_vat`, …) and verification status. The value itself is not kept."""

    type: str
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """What a customer has and may use, projected from Stripe's state at one moment.

    `claimed_subject` is what the customer's metadata says; link.py decides whether it holds.
    """

    deleted: bool = False
    delinquent: bool = False
    features: Mapping[str, int] = field(default_factory=dict)
    products: Mapping[str, ProductGrant] = field(default_factory=dict)
    subscriptions: tuple[Subscription, ...] = ()
    payment_method: PaymentMethod | None = None
    tax_ids: tuple[TaxId, ...] = ()
    claimed_subject: str | None = None

    def features_at(self, now: float) -> dict[str, int]:
        """The features that have not ended at `now`, with their ends."""
        return {name: until for name, until in self.features.items() if now < until}

    def products_at(self, now: float) -> dict[str, ProductGrant]:
        """The products that have not ended at `now`."""
        return {name: grant for name, grant in self.products.items() if now < grant.until}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change in what the customer may use, and the event that reported it."""

    at: int
    event: str
    type: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRow:
    """The row of one customer. `revision` 0: nothing is stored yet.

    as_of       Stripe's Date at the first read of the fetch that this row was made from
    confirm_at  when the last requested confirm is due, by the same clock; 0: none was requested
    subject     the subject linked to this customer; a tombstone keeps it without holding it
    issuer      the issuer of that subject
    """

    key: CustomerKey
    revision: int = 0
    as_of: int = 0
    confirm_at: int = 0
    subject: str | None = None
    issuer: str | None = None
    billing: Billing = field(default_factory=Billing)
    transitions: tuple[Transition, ...] = ()

    @property
    def deleted(self) -> bool:
        return self.billing.deleted

    def advanced(
        self, billing: Billing, *, as_of: int, confirm_at: int, cause: Cause
    ) -> CustomerRow:
        """The next revision of this row: `billing` as fetched at `as_of`."""
        before, after = _granted(self.billing), _granted(billing)
        transitions = self.transitions
        if before != after:
            change = Transition(
                at=as_of,
                event=cause.id,
                type=cause.type,
                gained=tuple(sorted(after - before)),
                lost=tuple(sorted(before - after)),
            )
            transitions = (change, *transitions)[:MAX_TRANSITIONS]
        return replace(
            self,
            revision=self.revision + 1,
            as_of=as_of,
            confirm_at=confirm_at,
            billing=billing,
            transitions=transitions,
        )

    def to_item(self) -> dict[str, Any]:
        """The DynamoDB item, as plain Python values. Empty attributes are left out to save size."""
        attributes: dict[str, Any] = {
            "pk": self.key.pk,
            "rev": self.revision,
            "as_of": self.as_of,
            "confirm_at": self.confirm_at,
            "subject": self.subject,
            "issuer": self.issuer,
            "transitions": [asdict(transition) for transition in self.transitions],
            **asdict(self.billing),
        }
        return {
            name: value
            for name, value in attributes.items()
            if value not in (None, False, [], (), {})
        }

    @classmethod
    def from_item(cls, key: CustomerKey, item: Mapping[str, Any]) -> CustomerRow:
        """The row in a DynamoDB item made by `to_item`; an empty item gives revision 0."""
        return cls(
            key=key,
            revision=int(item.get("rev", 0)),
            as_of=int(item.get("as_of", 0)),
            confirm_at=int(item.get("confirm_at", 0)),
            subject=item.get("subject"),
            issuer=item.get("issuer"),
            billing=Billing(
                deleted=item.get("deleted", False),
                delinquent=item.get("delinquent", False),
                features={name: int(until) for name, until in item.get("features", {}).items()},
                products={
                    name: ProductGrant(quantity=int(grant["quantity"]), until=int(grant["until"]))
                    for name, grant in item.get("products", {}).items()
                },
                subscriptions=tuple(
                    _subscription(stored) for stored in item.get("subscriptions", ())
                ),
                payment_method=_payment_method(item.get("payment_method")),
                tax_ids=tuple(TaxId(**stored) for stored in item.get("tax_ids", ())),
                claimed_subject=item.get("claimed_subject"),
            ),
            transitions=tuple(
                Transition(
                    at=int(stored["at"]),
                    event=stored["event"],
                    type=stored["type"],
                    gained=tuple(stored["gained"]),
                    lost=tuple(stored["lost"]),
                )
                for stored in item.get("transitions", ())
            ),
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


def _granted(billing: Billing) -> set[str]:
    """What the billing grants, as one set of names: lookup keys and product ids with quantities."""
    products = {
        name if grant.quantity == 1 else f"{name}×{grant.quantity}"
        for name, grant in billing.products.items()
    }
    return {*billing.features, *products}


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _subscription(stored: Mapping[str, Any]) -> Subscription:
    items: Sequence[Mapping[str, Any]] = stored["items"]
    return Subscription(
        id=stored["id"],
        status=stored["status"],
        until=_optional_int(stored["until"]),
        cancel_at=_optional_int(stored["cancel_at"]),
        current_period_end=_optional_int(stored["current_period_end"]),
        trial_end=_optional_int(stored["trial_end"]),
        items=tuple(
            Item(
                price=item["price"],
                product=item["product"],
                lookup_key=item["lookup_key"],
                quantity=int(item["quantity"]),
            )
            for item in items
        ),
    )


def _payment_method(stored: Mapping[str, Any] | None) -> PaymentMethod | None:
    if stored is None:
        return None
    return PaymentMethod(
        brand=stored["brand"],
        last4=stored["last4"],
        exp_month=_optional_int(stored["exp_month"]),
        exp_year=_optional_int(stored["exp_year"]),
    )
