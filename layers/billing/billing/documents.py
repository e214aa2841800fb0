"""The account's documents, read whole from Stripe: portal configurations and what is for sale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from billing import catalog
from billing.keys import DocumentKey
from billing.stripe_objects import Page, StripeObject, all_pages, product_id


class Document(NamedTuple):
    """A document's content, and Stripe's Date (epoch seconds) at the first read of its fetch."""

    content: Mapping[str, Any]
    date: int


class DocumentReads(Protocol):
    """The reads behind a document. Each raises StripeUnavailable, StripeRefused."""

    def retrieve_portal_configuration(self, configuration: str) -> tuple[StripeObject, int]:
        """The portal configuration, and Stripe's Date of this response."""
        ...

    def list_prices(self, names: Sequence[str]) -> tuple[list[StripeObject], int]:
        """The active prices with these lookup keys or ids, `product` expanded, and Stripe's Date
        of the first response."""
        ...

    def list_product_features(self, product: str, after: str | None) -> Page: ...


def portal_configuration(
    reads: DocumentReads, key: DocumentKey, in_time: Callable[[], None]
) -> Document:
    """What a portal configuration is called and what it offers, by the name of each feature."""
    in_time()
    configuration, date = reads.retrieve_portal_configuration(key.id)
    features: Mapping[str, Any] = configuration["features"]
    login_page: Mapping[str, Any] = configuration.get("login_page") or {}
    content = {
        "name": configuration.get("name") or "",
        "active": bool(configuration["active"]),
        "is_default": bool(configuration["is_default"]),
        "login_page": login_page.get("url") or "",
        "features": {name: bool(feature["enabled"]) for name, feature in features.items()},
    }
    return Document(content, date)


def catalog_of(
    reads: DocumentReads,
    for_sale: Callable[[], Sequence[str]],
    _: DocumentKey,
    in_time: Callable[[], None],
) -> Document:
    """What is for sale under the lookup keys and price ids of `for_sale`, with each product's
    features."""

    def features_after(product: str, after: str | None) -> Page:
        in_time()
        return reads.list_product_features(product, after)

    in_time()
    prices, date = reads.list_prices(for_sale())
    features = {
        product: all_pages(partial(features_after, product))
        for product in {product_id(price): None for price in prices}
    }
    return Document(catalog.content(prices, features), date)
