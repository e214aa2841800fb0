"""Stripe's objects as plain data, and what every reader of them has to know. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

StripeObject = Mapping[str, Any]

#: The largest quantity of a subscription item: Stripe's own limit in checkout.
MAX_QUANTITY = 999_999

#: A page of one of Stripe's lists: {"data": [...], "has_more": bool}.
Page = Mapping[str, Any]


def all_pages(
    page_after: Callable[[str | None], Page], *, first: Page | None = None
) -> list[StripeObject]:
    """All objects of a list. `page_after` returns the page that follows the object with this id,
    or the first page for None; `first` is the first page where it is at hand already."""
    page = page_after(None) if first is None else first
    objects: list[StripeObject] = list(page["data"])
    while page["has_more"] and page["data"]:
        page = page_after(page["data"][-1]["id"])
        objects.extend(page["data"])
    return objects


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
