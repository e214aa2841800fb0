"""Reading a customer's whole billing state from Stripe: every list to its last page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from billing.projection import StripeObject, StripeState, products_in_grace

#: A Stripe list: {"data": [...], "has_more": bool}.
Page = Mapping[str, Any]


class StripeReads(Protocol):
    """The reads a sync needs. Each raises StripeUnavailable, StripeRefused or CustomerNotFound.

    `after` is the id of the last object seen, None for the first page.
    """

    def customer(self, customer: str) -> tuple[StripeObject, int]:
        """The customer, with `subscriptions` (and their latest invoices), `tax_ids` and the default
        payment methods expanded, and Stripe's Date (epoch seconds) of this answer."""
        ...

    def subscriptions(self, customer: str, after: str | None) -> Page: ...
    def subscription_items(self, subscription: str, after: str | None) -> Page: ...
    def tax_ids(self, customer: str, after: str | None) -> Page: ...
    def active_entitlements(self, customer: str, after: str | None) -> Page: ...
    def product_features(self, product: str, after: str | None) -> Page: ...


def fetch(reads: StripeReads, customer_id: str) -> StripeState:
    """The customer's whole state: two reads for almost everyone, more where lists are long.

    Raises what StripeReads raises.
    """
    customer, as_of = reads.customer(customer_id)
    if customer.get("deleted"):
        return StripeState(as_of=as_of, customer=customer)

    subscriptions = [
        {
            **subscription,
            "items": {
                "data": complete(
                    subscription["items"],
                    partial(reads.subscription_items, subscription["id"]),
                )
            },
        }
        for subscription in complete(
            customer["subscriptions"], partial(reads.subscriptions, customer_id)
        )
    ]
    return StripeState(
        as_of=as_of,
        customer=customer,
        subscriptions=subscriptions,
        tax_ids=complete(customer["tax_ids"], partial(reads.tax_ids, customer_id)),
        active_entitlements=complete(
            reads.active_entitlements(customer_id, None),
            partial(reads.active_entitlements, customer_id),
        ),
        product_features={
            product: [
                feature["entitlement_feature"]["lookup_key"]
                for feature in complete(
                    reads.product_features(product, None),
                    partial(reads.product_features, product),
                )
            ]
            for product in sorted(products_in_grace(subscriptions))
        },
    )


def complete(first: Page, next_page: Callable[[str], Page]) -> list[StripeObject]:
    """All objects of a list whose first page is at hand."""
    objects: list[StripeObject] = list(first["data"])
    page = first
    while page["has_more"] and page["data"]:
        page = next_page(page["data"][-1]["id"])
        objects.extend(page["data"])
    return objects
