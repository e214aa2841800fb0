"""Reading a customer's whole billing state from Stripe: every list to its last page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from billing.projection import StripeState, products_in_grace
from billing.stripe_objects import Page, StripeObject, all_pages


class StripeReads(Protocol):
    """The reads a customer's sync needs. Each raises StripeUnavailable, StripeRefused.

    `after` is the id of the last object seen, None for the first page.
    """

    def retrieve_customer(self, customer_id: str) -> tuple[StripeObject, int]:
        """The customer, with `subscriptions` (and their latest invoices), `tax_ids` and the default
        payment methods expanded, and Stripe's Date (epoch seconds) of this response.
        Raises CustomerNotFound."""
        ...

    def list_subscriptions(self, customer_id: str, after: str | None) -> Page: ...
    def list_subscription_items(self, subscription: str, after: str | None) -> Page: ...
    def list_tax_ids(self, customer_id: str, after: str | None) -> Page: ...
    def list_active_entitlements(self, customer_id: str, after: str | None) -> Page: ...
    def list_product_features(self, product: str, after: str | None) -> Page: ...


def fetch(reads: StripeReads, customer_id: str, in_time: Callable[[], None]) -> StripeState:
    """The customer's whole state: two reads for almost everyone, more where lists are long.

    Calls `in_time` before each read. Raises what that raises, and what StripeReads raises.
    """

    def whole(
        read: Callable[[str, str | None], Page], name: str, *, first: Page | None = None
    ) -> list[StripeObject]:
        def page_after(after: str | None) -> Page:
            in_time()
            return read(name, after)

        return all_pages(page_after, first=first)

    in_time()
    customer, as_of = reads.retrieve_customer(customer_id)
    if customer.get("deleted"):
        return StripeState(as_of=as_of, customer=customer)

    subscriptions = [
        {
            **subscription,
            "items": {
                "data": whole(
                    reads.list_subscription_items, subscription["id"], first=subscription["items"]
                )
            },
        }
        for subscription in whole(
            reads.list_subscriptions, customer_id, first=customer["subscriptions"]
        )
    ]
    return StripeState(
        as_of=as_of,
        customer=customer,
        subscriptions=subscriptions,
        tax_ids=whole(reads.list_tax_ids, customer_id, first=customer["tax_ids"]),
        active_entitlements=whole(reads.list_active_entitlements, customer_id),
        product_features={
            product: [
                feature["entitlement_feature"]["lookup_key"]
                for feature in whole(reads.list_product_features, product)
            ]
            for product in sorted(products_in_grace(subscriptions))
        },
    )
