"""Reading a customer's whole billing state from Stripe: every list to its last page.

Two reads for almost everyone. More are needed where lists are long, where a subscription is
past_due (its invoices decide), where subscriptions or items end at different times (their products'
features decide), and once when a subscription has ended (why).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from billing.access import is_held, owes
from billing.debt import billed_in, bills, lines_of
from billing.facts import Facts
from billing.projection import Invoices, StripeState
from billing.stripe_objects import Page, StripeObject, each_of, is_metered, product_id

#: Reads of one fetch that ask why a subscription ended. A row's history is no longer than that.
MAX_ENDED_READS = 10


class StripeReads(Protocol):
    """The reads a customer's sync needs. Each raises StripeUnavailable, StripeRefused.

    `after` is the id of the last object seen, None for the first page.
    """

    def retrieve_customer(self, customer_id: str) -> tuple[StripeObject, int]:
        """The customer, with `subscriptions` and their payment methods, `tax_ids`, the default
        payment method or source and the test clock expanded, and Stripe's Date (epoch seconds) of
        this response. Raises CustomerNotFound."""
        ...

    def list_subscriptions(self, customer_id: str, after: str | None) -> Page: ...
    def list_subscription_items(self, subscription: str, after: str | None) -> Page: ...
    def list_tax_ids(self, customer_id: str, after: str | None) -> Page: ...
    def list_active_entitlements(self, customer_id: str, after: str | None) -> Page: ...
    def list_invoices(self, subscription: str, after: str | None) -> Page:
        """The subscription's invoices, newest first."""
        ...

    def list_invoice_lines(self, invoice: str, after: str | None) -> Page: ...

    # Optional: what Stripe does not have (`resource_missing`) is empty or None.

    def list_product_features(self, product: str, after: str | None) -> Page: ...
    def retrieve_ended_subscription(self, subscription: str) -> StripeObject | None: ...
    def retrieve_price(self, price: str) -> StripeObject | None: ...


def fetch(
    reads: StripeReads, customer_id: str, before: Facts, in_time: Callable[[], None]
) -> StripeState:
    """The customer's whole state, where the row still has the facts `before`.

    Calls `in_time` before each read. Raises what that raises, and what StripeReads raises.
    """
    return _Fetch(reads, in_time).state(customer_id, before)


class _Fetch:
    """One fetch: each of its reads begins with `in_time`."""

    def __init__(self, reads: StripeReads, in_time: Callable[[], None]) -> None:
        self._reads = reads
        self._in_time = in_time

    def state(self, customer_id: str, before: Facts) -> StripeState:
        reads = self._reads
        self._in_time()
        customer, date = reads.retrieve_customer(customer_id)
        if customer.get("deleted"):
            return StripeState(date=date, customer=customer)

        subscriptions: list[StripeObject] = []
        for each in self._all(reads.list_subscriptions, customer_id, customer["subscriptions"]):
            items = list(self._all(reads.list_subscription_items, each["id"], each["items"]))
            subscriptions.append({**each, "items": {"data": items}})
        invoices = {
            each["id"]: self._invoices(each) for each in subscriptions if owes(each["status"])
        }
        current = {each["id"] for each in subscriptions}
        gone = [each.id for each in before.subscriptions if each.id not in current]
        return StripeState(
            date=date,
            customer=customer,
            subscriptions=subscriptions,
            invoices=invoices,
            tax_ids=list(self._all(reads.list_tax_ids, customer_id, customer["tax_ids"])),
            active_entitlements=list(self._all(reads.list_active_entitlements, customer_id)),
            product_features={
                product: [
                    feature["entitlement_feature"]["lookup_key"]
                    for feature in self._all(reads.list_product_features, product)
                ]
                for product in _deciding_products(subscriptions, invoices.values())
            },
            ended=[found for name in gone[:MAX_ENDED_READS] if (found := self._ended(name))],
        )

    def _all(
        self, read: Callable[[str, str | None], Page], name: str, first: Page | None = None
    ) -> Iterator[StripeObject]:
        """The objects of a list of the object `name`; `first` is its first page, if at hand."""

        def page_after(after: str | None) -> Page:
            self._in_time()
            return read(name, after)

        return each_of(page_after, first=first)

    def _invoices(self, subscription: StripeObject) -> Invoices:
        """As many of the subscription's invoices as decide its access."""
        reads = self._reads
        items = {item["id"]: item for item in subscription["items"]["data"]}
        found = bills(self._all(reads.list_invoices, subscription["id"]), items)
        lines = [
            list(self._all(reads.list_invoice_lines, invoice["id"], invoice["lines"]))
            for invoice in found.paid
        ]
        # What was billed before the last whole period counts only for items that are still there.
        lines[found.whole :] = [lines_of(each, items) for each in lines[found.whole :]]
        prices = {item["price"]["id"]: item["price"] for item in items.values()}
        for name in sorted({price for price, _ in billed_in(lines)} - prices.keys()):
            # A line does not say whether its quantity is a usage.
            self._in_time()
            if (price := reads.retrieve_price(name)) is not None:
                prices[name] = price
        return Invoices(
            found, lines, frozenset(name for name, price in prices.items() if is_metered(price))
        )

    def _ended(self, subscription: str) -> StripeObject | None:
        self._in_time()
        return self._reads.retrieve_ended_subscription(subscription)


def _deciding_products(
    subscriptions: Sequence[StripeObject], invoices: Collection[Invoices]
) -> list[str]:
    """The products whose features decide when a feature ends: none where all items end together."""
    # Of a subscription whose first payment never came, nothing is ever given.
    held = [each for each in subscriptions if is_held(each["status"])]
    items = [(each, item) for each in held for item in each["items"]["data"]]
    ends = {(each["id"], item.get("current_period_end")) for each, item in items}
    if len(ends) < 2 and not invoices:
        return []
    subscribed = {product_id(item["price"]) for _, item in items}
    paid = {product for each in invoices for _, product in billed_in(each.lines)}
    return sorted(subscribed | paid)
