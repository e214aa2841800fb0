"""What Stripe says about a customer, normalized and small: the facts that a row holds. Pure.

A row holds no decision. access.py decides what the facts allow, each time that somebody asks.

All times are epoch seconds by Stripe's clock. Facts are stored as JSON without what is empty; a
reader ignores what it does not know, so that it can read the rows of a later release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A subscription item, or what a paid invoice billed for one. `quantity` None: metered."""

    price: str
    product: str
    lookup_key: str | None = None
    quantity: int | None = None
    period_end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """A payment method or a legacy source: its type, and the rest as far as the type has it."""

    type: str
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """What a past_due subscription owes: since when, by which type of payment method it is charged,
    and what was last paid for."""

    since: int
    method: str | None = None
    paid: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A current subscription.

    cancel_at          the effective scheduled end, whichever way it was scheduled
    collection_paused  whether `pause_collection` is set
    payment_method     its own default; only where the customer has none
    """

    id: str
    status: str
    items: tuple[Item, ...] = ()
    cancel_at: int | None = None
    trial_end: int | None = None
    collection_paused: bool = False
    debt: Debt | None = None
    payment_method: PaymentMethod | None = None

    @property
    def current_period_end(self) -> int | None:
        """The last of the items' period ends."""
        ends = [item.period_end for item in self.items if item.period_end is not None]
        return max(ends, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxId:
    """A tax id: its type (`eu_vat`, …) and verification status. The value itself is not kept."""

    type: str
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A feature that the customer's metadata grants until a time."""

    feature: str
    until: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A customer at one moment.

    subscriptions     the current ones
    entitlements      lookup keys that Stripe lists as active
    product_features  lookup keys of the features attached to each product, where that can matter
    payment_method    the customer's default payment method or source
    test_clock        the frozen time of the customer's test clock
    claimed_subject   what the customer's metadata says; link.py decides whether it holds
    claimed_issuer    the issuer of that subject, where the metadata names one
    """

    deleted: bool = False
    delinquent: bool = False
    subscriptions: tuple[Subscription, ...] = ()
    entitlements: tuple[str, ...] = ()
    product_features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    payment_method: PaymentMethod | None = None
    tax_ids: tuple[TaxId, ...] = ()
    test_clock: int | None = None
    claimed_subject: str | None = None
    claimed_issuer: str | None = None

    def to_stored(self) -> dict[str, Any]:
        """As JSON can hold it, without what is empty."""
        stored: dict[str, Any] = without_defaults(self)
        return stored

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Facts:
        """What `to_stored` made, in this release or in a later one that only adds to it."""
        found = known(cls, stored)
        return cls(
            **found
            | {
                "subscriptions": tuple(map(_subscription, found.get("subscriptions", ()))),
                "entitlements": tuple(found.get("entitlements", ())),
                "product_features": {
                    product: tuple(features)
                    for product, features in found.get("product_features", {}).items()
                },
                "grants": tuple(Grant(**known(Grant, each)) for each in found.get("grants", ())),
                "payment_method": _payment_method(found.get("payment_method")),
                "tax_ids": tuple(TaxId(**known(TaxId, each)) for each in found.get("tax_ids", ())),
            }
        )


def without_defaults(value: Any) -> Any:
    """Dataclasses as dicts without the fields that have their default, tuples as lists."""
    if is_dataclass(value):
        found = {}
        for each in fields(value):
            part = getattr(value, each.name)
            default = each.default
            if default is MISSING and each.default_factory is not MISSING:
                default = each.default_factory()
            if default is MISSING or part != default:
                found[each.name] = without_defaults(part)
        return found
    if isinstance(value, Mapping):
        return {name: without_defaults(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [without_defaults(part) for part in value]
    return value


def known(cls: type[_T], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of `stored` that are fields of `cls`."""
    names = [each.name for each in fields(cls)]  # type: ignore[arg-type]
    return {name: stored[name] for name in names if name in stored}


def _subscription(stored: Mapping[str, Any]) -> Subscription:
    found = known(Subscription, stored)
    return Subscription(
        **found
        | {
            "items": _items(found.get("items", ())),
            "debt": _debt(found.get("debt")),
            "payment_method": _payment_method(found.get("payment_method")),
        }
    )


def _items(stored: Sequence[Mapping[str, Any]]) -> tuple[Item, ...]:
    return tuple(Item(**known(Item, each)) for each in stored)


def _debt(stored: Mapping[str, Any] | None) -> Debt | None:
    if stored is None:
        return None
    found = known(Debt, stored)
    return Debt(**found | {"paid": _items(found.get("paid", ()))})


def _payment_method(stored: Mapping[str, Any] | None) -> PaymentMethod | None:
    return None if stored is None else PaymentMethod(**known(PaymentMethod, stored))
