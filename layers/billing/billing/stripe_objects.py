"""Stripe's objects as plain data, and what every reader of them has to know. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

StripeObject = Mapping[str, Any]

#: The largest quantity of a subscription item: Stripe's own limit in checkout.
MAX_QUANTITY = 999_999

#: A page of one of Stripe's lists: {"data": [...], "has_more": bool}.
Page = Mapping[str, Any]


def each_of(
    page_after: Callable[[str | None], Page], *, first: Page | None = None
) -> Iterator[StripeObject]:
    """The objects of a list, page by page as they are taken. `page_after` returns the page that
    follows the object with this id, or the first page for None; `first` is the first page where it
    is at hand already."""
    page = page_after(None) if first is None else first
    yield from page["data"]
    while page["has_more"] and page["data"]:
        page = page_after(page["data"][-1]["id"])
        yield from page["data"]


def all_pages(
    page_after: Callable[[str | None], Page], *, first: Page | None = None
) -> list[StripeObject]:
    """All objects of a list; see each_of."""
    return list(each_of(page_after, first=first))


def product_id(price: StripeObject) -> str:
    """The id of the price's product, expanded or not."""
    product = price["product"]
    return str(product["id"] if isinstance(product, Mapping) else product)


def is_deleted(reference: object) -> bool:
    """Whether a reference to an object, which must be expanded, leads to a deleted one."""
    return isinstance(reference, Mapping) and bool(reference.get("deleted"))


def is_metered(price: StripeObject) -> bool:
    """Whether the price is billed by usage: it then has no quantity."""
    return (price.get("recurring") or {}).get("usage_type") == "metered"


def scheduled_end(subscription: StripeObject) -> int | None:
    """When the subscription is scheduled to end: the earlier, where it is scheduled twice.

    Flexible billing sets `cancel_at` only, classic billing `cancel_at_period_end`
    (https://docs.stripe.com/billing/subscriptions/cancel).
    """
    scheduled = [subscription.get("cancel_at")]
    if subscription.get("cancel_at_period_end"):
        ends = [period_edge(subscription, item, "end") for item in subscription["items"]["data"]]
        scheduled.append(max((end for end in ends if end is not None), default=None))
    return min((int(end) for end in scheduled if end is not None), default=None)


def period_edge(
    subscription: StripeObject, item: StripeObject, edge: Literal["start", "end"]
) -> int | None:
    """An edge of the item's current period: on the subscription before 2025-03-31.basil."""
    name = f"current_period_{edge}"
    found = item.get(name) or subscription.get(name)
    return None if found is None else int(found)
