"""From Stripe's objects to what the row stores: a pure function, one customer at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from billing.access import (
    AccessPolicy,
    Standing,
    access_until,
    current_period_end,
    scheduled_end,
    standing,
)
from billing.model import Billing, Item, PaymentMethod, ProductGrant, Subscription, TaxId
from billing.stripe_objects import StripeObject, product_id


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeState:
    """A customer's whole billing state as fetched: Stripe's objects, every list with all its pages.

    as_of             Stripe's Date at the first read, in epoch seconds
    customer          with `invoice_settings.default_payment_method` expanded, or `deleted: true`
    subscriptions     the current ones, all their items, `latest_invoice` and
                      `default_payment_method` expanded
    product_features  lookup keys of the features attached to each product that is in grace
    """

    as_of: int
    customer: StripeObject
    subscriptions: Sequence[StripeObject] = ()
    tax_ids: Sequence[StripeObject] = ()
    active_entitlements: Sequence[StripeObject] = ()
    product_features: Mapping[str, Sequence[str]] = field(default_factory=dict)


def products_in_grace(subscriptions: Sequence[StripeObject]) -> set[str]:
    """Products of past_due subscriptions: their features are read product by product.

    Stripe does not document whether it lists the entitlements of a past_due subscription.
    """
    return {
        product_id(item["price"])
        for subscription in subscriptions
        if standing(subscription["status"]) is Standing.GRACE
        for item in subscription["items"]["data"]
    }


def project(state: StripeState, policy: AccessPolicy, subject_metadata_key: str) -> Billing:
    """What the customer has and may use, by `policy`, in the state Stripe reported."""
    if state.customer.get("deleted"):
        return Billing(deleted=True)

    subscriptions: list[Subscription] = []
    products: dict[str, ProductGrant] = {}
    features: dict[str, int] = {}
    longest: int | None = None
    for subscription in state.subscriptions:
        item_ends: list[int] = []
        for item in subscription["items"]["data"]:
            until = access_until(subscription, item, policy)
            if until is None:
                continue
            item_ends.append(until)
            product = product_id(item["price"])
            _grant_product(products, product, quantity=_quantity(item), until=until)
            if standing(subscription["status"]) is Standing.GRACE:
                for lookup_key in state.product_features.get(product, ()):
                    features[lookup_key] = max(until, features.get(lookup_key, until))
        until = max(item_ends, default=None)
        if until is not None:
            longest = until if longest is None else max(longest, until)
        subscriptions.append(_subscription(subscription, until))

    if longest is not None:
        for entitlement in state.active_entitlements:
            features[entitlement["lookup_key"]] = longest

    return Billing(
        delinquent=bool(state.customer.get("delinquent")),
        features=features,
        products=products,
        subscriptions=tuple(subscriptions),
        payment_method=_default_payment_method(state),
        tax_ids=tuple(
            TaxId(type=tax_id["type"], status=(tax_id.get("verification") or {}).get("status"))
            for tax_id in state.tax_ids
        ),
        claimed_subject=(state.customer.get("metadata") or {}).get(subject_metadata_key) or None,
    )


def _quantity(item: StripeObject) -> int:
    """A metered item has no quantity and counts as one."""
    quantity = item.get("quantity")
    return 1 if quantity is None else int(quantity)


def _grant_product(
    products: dict[str, ProductGrant], product: str, *, quantity: int, until: int
) -> None:
    held = products.get(product)
    if held is not None:
        quantity, until = quantity + held.quantity, max(until, held.until)
    products[product] = ProductGrant(quantity=quantity, until=until)


def _subscription(subscription: StripeObject, until: int | None) -> Subscription:
    return Subscription(
        id=subscription["id"],
        status=subscription["status"],
        until=until,
        cancel_at=scheduled_end(subscription),
        current_period_end=current_period_end(subscription),
        trial_end=subscription.get("trial_end"),
        items=tuple(
            Item(
                price=item["price"]["id"],
                product=product_id(item["price"]),
                lookup_key=item["price"].get("lookup_key"),
                quantity=_quantity(item),
            )
            for item in subscription["items"]["data"]
        ),
    )


def _default_payment_method(state: StripeState) -> PaymentMethod | None:
    """The customer's default, else that of a subscription, where checkout puts the card."""
    defaults = [
        (state.customer.get("invoice_settings") or {}).get("default_payment_method"),
        *(each.get("default_payment_method") for each in state.subscriptions),
    ]
    method = next((each for each in defaults if isinstance(each, Mapping)), None)
    if method is None:
        return None
    card = method.get("card") or {}
    return PaymentMethod(
        brand=card.get("brand") or method["type"],
        last4=card.get("last4"),
        exp_month=card.get("exp_month"),
        exp_year=card.get("exp_year"),
    )
