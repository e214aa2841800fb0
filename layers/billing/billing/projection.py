"""From Stripe's objects to the facts that the row stores: a pure function of one customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from billing.debt import Bills, paid_items
from billing.facts import Debt, Facts, Item, PaymentMethod, Subscription, TaxId
from billing.grants import grants_of
from billing.stripe_objects import (
    StripeObject,
    is_metered,
    period_edge,
    product_id,
    scheduled_end,
)


class Invoices(NamedTuple):
    """The invoices of a past_due subscription that decide its access.

    lines    the lines of each of `bills.paid` that decide
    metered  the prices (ids) of those lines that are billed by usage
    """

    bills: Bills
    lines: Sequence[Sequence[StripeObject]] = ()
    metered: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeState:
    """A customer's whole billing state as fetched: Stripe's objects, every list with all its pages.

    date              Stripe's Date at the first read, in epoch seconds
    customer          with its default payment method, default source and test clock expanded, or
                      `deleted: true`
    subscriptions     the current ones, all their items, payment methods and sources expanded
    invoices          by the id of each past_due subscription
    product_features  lookup keys of the features attached to each product, where they were read
    ended             the subscriptions that the row still has and that are not current any more
    """

    date: int
    customer: StripeObject
    subscriptions: Sequence[StripeObject] = ()
    invoices: Mapping[str, Invoices] = field(default_factory=dict)
    tax_ids: Sequence[StripeObject] = ()
    active_entitlements: Sequence[StripeObject] = ()
    product_features: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ended: Sequence[StripeObject] = ()


class Projected(NamedTuple):
    """Facts, and the metadata keys of grants that cannot be read."""

    facts: Facts
    malformed_grants: tuple[str, ...] = ()


def project(state: StripeState, subject_metadata_key: str) -> Projected:
    """The facts in the state that Stripe reported."""
    customer = state.customer
    if customer.get("deleted"):
        return Projected(Facts(deleted=True))

    metadata: Mapping[str, str] = customer.get("metadata") or {}
    grants, malformed = grants_of(metadata)
    default = _default_payment_method(customer)
    claim = metadata.get(subject_metadata_key) or None
    facts = Facts(
        delinquent=bool(customer.get("delinquent")),
        subscriptions=tuple(_subscription(each, state, default) for each in state.subscriptions),
        entitlements=tuple(each["lookup_key"] for each in state.active_entitlements),
        product_features={
            product: tuple(features) for product, features in state.product_features.items()
        },
        grants=grants,
        payment_method=default,
        tax_ids=tuple(
            TaxId(type=tax_id["type"], status=(tax_id.get("verification") or {}).get("status"))
            for tax_id in state.tax_ids
        ),
        test_clock=_frozen_time(customer),
        claimed_subject=claim,
        claimed_issuer=metadata.get(issuer_key(subject_metadata_key)) if claim else None,
    )
    return Projected(facts, malformed)


def issuer_key(subject_metadata_key: str) -> str:
    """The metadata key that names the issuer of a customer's subject."""
    return f"{subject_metadata_key}_issuer"


def _subscription(
    subscription: StripeObject, state: StripeState, default: PaymentMethod | None
) -> Subscription:
    own = _payment_method(
        subscription.get("default_payment_method"), subscription.get("default_source")
    )
    invoices = state.invoices.get(subscription["id"])
    return Subscription(
        id=subscription["id"],
        status=subscription["status"],
        items=tuple(_item(subscription, item) for item in subscription["items"]["data"]),
        cancel_at=scheduled_end(subscription),
        trial_end=subscription.get("trial_end"),
        collection_paused=bool(subscription.get("pause_collection")),
        debt=_debt(subscription, invoices, own or default) if invoices else None,
        payment_method=own if default is None else None,
    )


def _item(subscription: StripeObject, item: StripeObject) -> Item:
    quantity = None if is_metered(item["price"]) else item.get("quantity")
    return Item(
        price=item["price"]["id"],
        product=product_id(item["price"]),
        lookup_key=item["price"].get("lookup_key"),
        quantity=quantity,
        period_end=period_edge(subscription, item, "end"),
    )


def _debt(
    subscription: StripeObject, invoices: Invoices, method: PaymentMethod | None
) -> Debt | None:
    """Without any invoice, the debt began with the last period: a renewal moves it before it is
    paid."""
    since = invoices.bills.since
    if since is None:
        items = subscription["items"]["data"]
        starts = [period_edge(subscription, item, "start") for item in items]
        since = max((start for start in starts if start is not None), default=None)
    if since is None:
        return None
    return Debt(
        since=since,
        method=method.type if method else None,
        paid=paid_items(invoices.lines, invoices.metered.__contains__),
    )


def _default_payment_method(customer: StripeObject) -> PaymentMethod | None:
    settings: StripeObject = customer.get("invoice_settings") or {}
    return _payment_method(settings.get("default_payment_method"), customer.get("default_source"))


def _payment_method(*methods: object) -> PaymentMethod | None:
    """The first of these payment methods or legacy sources. A source that is a card or a bank
    account has its details on itself. An id is one that Stripe could not expand: it is gone."""
    method = next((each for each in methods if isinstance(each, Mapping)), None)
    if method is None:
        return None
    kind, details = method["object"], method
    if kind in ("payment_method", "source"):
        kind = method["type"]
        details = method.get(kind) or {}
    return PaymentMethod(
        type=kind,
        brand=details.get("brand"),
        last4=details.get("last4"),
        exp_month=details.get("exp_month"),
        exp_year=details.get("exp_year"),
    )


def _frozen_time(customer: StripeObject) -> int | None:
    clock = customer.get("test_clock")
    return int(clock["frozen_time"]) if isinstance(clock, Mapping) else None
