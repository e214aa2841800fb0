"""The access policy: what a customer may use, decided from the facts each time it is asked. Pure.

standing  Stripe status     gives access   to what                  until
PAID      active, trialing  yes            its items                the item's period end + slack
GRACE     past_due          yes, in grace  what was last paid for   the debt's start + grace
                                                                    (+ delay of a bank debit)
others    see STANDINGS     no             –                        –

A scheduled end is a bound on both, never an extension. tests/cases/access.json states the rules as
examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from billing.facts import Facts, Item, PaymentMethod, Subscription


class Standing(Enum):
    """What a subscription's status means to us. Only this module reads the status itself."""

    PAID = auto()
    GRACE = auto()
    UNPAID = auto()
    PAUSED = auto()
    INCOMPLETE = auto()
    ENDED = auto()
    UNKNOWN = auto()


#: https://docs.stripe.com/api/subscriptions/object#subscription_object-status
STANDINGS: Mapping[str, Standing] = {
    "active": Standing.PAID,
    "trialing": Standing.PAID,
    "past_due": Standing.GRACE,
    "unpaid": Standing.UNPAID,
    "paused": Standing.PAUSED,
    "incomplete": Standing.INCOMPLETE,
    "incomplete_expired": Standing.ENDED,
    "canceled": Standing.ENDED,
}

#: Types of payment methods, and of legacy sources, that tell of a failed payment only days later:
#: https://docs.stripe.com/payments/bank-debits
DELAYED_PAYMENT_METHODS = frozenset(
    {
        "ach_debit",
        "acss_debit",
        "au_becs_debit",
        "bacs_debit",
        "bank_account",
        "nz_bank_account",
        "sepa_debit",
        "us_bank_account",
    }
)

#: What gives a feature: a product that the customer subscribes to, or the customer's metadata.
SUBSCRIPTION, GRANT = "subscription", "grant"


def standing(status: str) -> Standing:
    """The standing of a subscription with this status; UNKNOWN for a status that Stripe added."""
    return STANDINGS.get(status, Standing.UNKNOWN)


def is_held(status: str) -> bool:
    """Whether a customer with such a subscription holds its products, paid for or not.

    An incomplete one is not held: a customer whose card failed may try again.
    """
    return standing(status) not in (Standing.INCOMPLETE, Standing.ENDED)


def owes(status: str) -> bool:
    """Whether such a subscription has a debt that decides its access."""
    return standing(status) is Standing.GRACE


def has_begun(status: str) -> bool:
    """Whether such a subscription ever gave anything: not if its first payment never came."""
    return status not in ("incomplete", "incomplete_expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """The parameters of the policy. Durations are in seconds."""

    past_due_grace: int
    delayed_payment: int
    renewal_slack: int
    pause_collection_keeps_access: bool


class Feature(NamedTuple):
    """A feature that may be used until a time; `source` is SUBSCRIPTION or GRANT."""

    until: int
    source: str = SUBSCRIPTION


class Product(NamedTuple):
    """What all items of one product add up to."""

    quantity: int
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a customer may use at one moment; what has ended is not in it.

    subscriptions   the end of the access that each subscription gives, where it gives any
    payment_method  the customer's default, else that of a subscription that gives access
    """

    features: Mapping[str, Feature] = field(default_factory=dict)
    products: Mapping[str, Product] = field(default_factory=dict)
    subscriptions: Mapping[str, int] = field(default_factory=dict)
    payment_method: PaymentMethod | None = None

    @property
    def valid_until(self) -> int | None:
        """When the first of it ends; None where there is nothing."""
        ends = [feature.until for feature in self.features.values()]
        ends += [product.until for product in self.products.values()]
        return min(ends, default=None)


def decide(facts: Facts, policy: AccessPolicy, now: float) -> Access:
    """What the customer may use at `now`, in epoch seconds.

    A customer on a test clock is judged by that clock.
    """
    if facts.test_clock is not None:
        now = facts.test_clock
    held = [
        each
        for subscription in facts.subscriptions
        for each in _held(subscription, policy)
        if now < each.until
    ]
    subscriptions: dict[str, int] = {}
    for each in held:
        subscriptions[each.subscription] = max(
            each.until, subscriptions.get(each.subscription, each.until)
        )
    features = _features(facts, held)
    for grant in facts.grants:
        given = features.get(grant.feature)
        if now < grant.until and (given is None or given.until < grant.until):
            features[grant.feature] = Feature(grant.until, GRANT)
    methods = (
        facts.payment_method,
        *(each.payment_method for each in facts.subscriptions if each.id in subscriptions),
    )
    return Access(
        features=features,
        products=_products(held),
        subscriptions=subscriptions,
        payment_method=next((method for method in methods if method is not None), None),
    )


class _Held(NamedTuple):
    """An item that gives access. `quantity` None: metered."""

    subscription: str
    product: str
    quantity: int | None
    until: int
    in_grace: bool


def _held(subscription: Subscription, policy: AccessPolicy) -> Iterator[_Held]:
    """What the subscription gives, each item with its end, past or not."""
    if subscription.collection_paused and not policy.pause_collection_keeps_access:
        return
    items: list[tuple[Item, int]] = []
    debt = subscription.debt
    match standing(subscription.status):
        case Standing.PAID:
            items = [
                (item, item.period_end + policy.renewal_slack)
                for item in subscription.items
                if item.period_end is not None
            ]
        case Standing.GRACE if debt is not None:
            is_delayed = debt.method in DELAYED_PAYMENT_METHODS
            grace = policy.past_due_grace + (policy.delayed_payment if is_delayed else 0)
            items = [(item, debt.since + grace) for item in debt.paid]
    in_grace = owes(subscription.status)
    for item, until in items:
        end = until if subscription.cancel_at is None else min(until, subscription.cancel_at)
        yield _Held(subscription.id, item.product, item.quantity, end, in_grace)


def _products(held: list[_Held]) -> dict[str, Product]:
    """Quantities of licensed items add up; metered items alone count as one; zero is nothing."""
    found: dict[str, Product] = {}
    given = [each for each in held if each.quantity != 0]
    for product in {each.product: None for each in given}:
        items = [each for each in given if each.product == product]
        licensed = [each.quantity for each in items if each.quantity is not None]
        until = max(each.until for each in items)
        found[product] = Product(sum(licensed) if licensed else 1, until)
    return found


def _features(facts: Facts, held: list[_Held]) -> dict[str, Feature]:
    """Stripe says which features; the products that carry a feature say until when."""
    found: dict[str, Feature] = {}
    ends: dict[str, int] = {}
    for each in held:
        ends[each.product] = max(each.until, ends.get(each.product, each.until))
    for feature in facts.entitlements:
        carriers = [
            product for product, attached in facts.product_features.items() if feature in attached
        ]
        if carriers:
            until = max((ends[product] for product in carriers if product in ends), default=None)
        else:
            # No product explains it, so it ends with what ends first. A sync comes before that.
            until = min((each.until for each in held), default=None)
        if until is not None:
            found[feature] = Feature(until)
    # Stripe does not document whether it lists the entitlements of a past_due subscription.
    for each in held:
        attached = facts.product_features.get(each.product, ())
        if each.in_grace and each.quantity != 0 and not set(attached) & set(facts.entitlements):
            for feature in attached:
                given = found.get(feature, Feature(each.until))
                found[feature] = Feature(max(each.until, given.until))
    return found
