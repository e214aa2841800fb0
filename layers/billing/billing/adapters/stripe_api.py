"""Stripe's API as the syncs, checkout and the portal use it. Each method names the call it makes.

Every method raises StripeUnavailable or StripeRefused; its docstring names any other error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import stripe

from billing.adapters.stripe_client import (
    date_of,
    for_library,
    is_missing,
    is_replayed,
    list_page,
    list_page_or_empty,
    once,
    plain,
    retrieve_or_none,
    translated,
    with_one_retry,
)
from billing.errors import Conflict, CustomerNotFound
from billing.stripe_objects import Page, StripeObject, all_pages

if TYPE_CHECKING:
    from stripe._v1_services import V1Services

#: Lookup keys that one list of prices may name: Stripe's maximum.
MAX_LOOKUP_KEYS = 10

#: Checkout sessions of one customer that are read whatever their status. One that was just paid is
#: among them, unless the customer has opened this many since.
NEWEST_SESSIONS = 10

#: What a customer's sync reads in its first call; expansions end at four levels.
_CUSTOMER_EXPANSIONS = [
    "default_source",
    "invoice_settings.default_payment_method",
    "subscriptions.data.default_payment_method",
    "subscriptions.data.default_source",
    "tax_ids",
    "test_clock",
]

#: What a price's id can look like. Nothing else becomes part of a path.
_PRICE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,255}")


class StripeApi:
    """stripe_state.StripeReads, documents.DocumentReads, checkout.CheckoutApi, portal.PortalApi.

    `connect` returns the client. It is called for each method, so that a rotated key is used.
    """

    def __init__(self, connect: Callable[[], stripe.StripeClient]) -> None:
        self._connect = connect

    @property
    def _v1(self) -> V1Services:
        return self._connect().v1

    # -- a customer's sync

    def retrieve_customer(self, customer_id: str) -> tuple[StripeObject, int]:
        with translated():
            try:
                found = self._expanded_customer(customer_id)
            except stripe.InvalidRequestError as error:
                if is_missing(error):
                    raise CustomerNotFound(customer_id) from error
                raise
        return plain(found), date_of(found)

    def _expanded_customer(self, customer_id: str) -> stripe.Customer:
        """The customer with its expansions; without any if Stripe refuses them to a deleted one."""
        try:
            return self._v1.customers.retrieve(customer_id, {"expand": _CUSTOMER_EXPANSIONS})
        except stripe.InvalidRequestError as refused:
            if is_missing(refused):
                raise
            found = self._v1.customers.retrieve(customer_id)
            if not getattr(found, "deleted", False):
                raise
            return found

    def list_subscriptions(self, customer_id: str, after: str | None) -> Page:
        expand = ["data.default_payment_method", "data.default_source"]
        return list_page(
            self._v1.subscriptions.list, after, {"customer": customer_id, "expand": expand}
        )

    def list_subscription_items(self, subscription: str, after: str | None) -> Page:
        return list_page(self._v1.subscription_items.list, after, {"subscription": subscription})

    def list_tax_ids(self, customer_id: str, after: str | None) -> Page:
        tax_ids = self._v1.customers.tax_ids
        return list_page(lambda page: tax_ids.list(customer_id, page), after, {})

    def list_active_entitlements(self, customer_id: str, after: str | None) -> Page:
        entitlements = self._v1.entitlements.active_entitlements
        return list_page(entitlements.list, after, {"customer": customer_id})

    def list_invoices(self, subscription: str, after: str | None) -> Page:
        return list_page(self._v1.invoices.list, after, {"subscription": subscription})

    def list_invoice_lines(self, invoice: str, after: str | None) -> Page:
        lines = self._v1.invoices.line_items
        return list_page(lambda page: lines.list(invoice, page), after, {})

    # -- its optional reads: what Stripe does not have is empty or None

    def list_product_features(self, product: str, after: str | None) -> Page:
        features = self._v1.products.features
        return list_page_or_empty(lambda page: features.list(product, page), after)

    def retrieve_ended_subscription(self, subscription: str) -> StripeObject | None:
        return retrieve_or_none(lambda: self._v1.subscriptions.retrieve(subscription))

    def retrieve_price(self, price: str) -> StripeObject | None:
        return retrieve_or_none(lambda: self._v1.prices.retrieve(price))

    # -- documents, and what is for sale

    def retrieve_portal_configuration(self, configuration: str) -> tuple[StripeObject, int]:
        """The portal configuration, and Stripe's Date of this response."""
        with translated():
            found = self._v1.billing_portal.configurations.retrieve(configuration)
        return plain(found), date_of(found)

    def list_prices(self, names: Sequence[str]) -> tuple[list[StripeObject], int]:
        """The active prices with these lookup keys or ids, `product` expanded, and Stripe's Date
        of the first response (0 without any name). A name without an active price is left out.
        """
        found: dict[str, StripeObject] = {}
        as_of = 0
        for start in range(0, len(names), MAX_LOOKUP_KEYS):
            lookup_keys = list(names[start : start + MAX_LOOKUP_KEYS])
            parameters = {"lookup_keys": lookup_keys, "active": True, "expand": ["data.product"]}
            with translated():
                page = self._v1.prices.list(for_library({"limit": MAX_LOOKUP_KEYS, **parameters}))
            as_of = as_of or date_of(page)
            found.update({price["lookup_key"]: price for price in plain(page)["data"]})
        for name in names:
            if name not in found and (price := self._price(name)) is not None and price["active"]:
                found[name] = price
        return [found[name] for name in names if name in found], as_of

    def _price(self, name: str) -> StripeObject | None:
        if not _PRICE_ID.fullmatch(name):
            return None
        return retrieve_or_none(lambda: self._v1.prices.retrieve(name, {"expand": ["product"]}))

    # -- checkout

    def find_price(self, name: str) -> StripeObject | None:
        """The active price with this lookup key or id, `product` expanded."""
        prices, _ = with_one_retry(lambda: self.list_prices([name]))
        return prices[0] if prices else None

    def create_customer(self, metadata: Mapping[str, str], key: str) -> str:
        """The id of a new customer; of the same one for everybody with this `key` within a day."""

        def create(options: stripe.RequestOptions) -> str:
            with translated():
                return str(self._v1.customers.create({"metadata": dict(metadata)}, options).id)

        return once(create, key)

    def newest_checkout_sessions(self, customer_id: str) -> list[StripeObject]:
        """The customer's newest checkout sessions, newest first, whatever their status, with line
        items: one page."""
        parameters = {
            "customer": customer_id,
            "limit": NEWEST_SESSIONS,
            "expand": ["data.line_items"],
        }

        def newest() -> list[StripeObject]:
            with translated():
                found = self._v1.checkout.sessions.list(for_library(parameters))
            return list(plain(found)["data"])

        return with_one_retry(newest)

    def list_open_checkout_sessions(self, customer_id: str) -> list[StripeObject]:
        """The customer's open checkout sessions, newest first, with line items and customer."""
        expand = ["data.line_items", "data.customer"]
        parameters = {"customer": customer_id, "status": "open", "expand": expand}
        sessions = self._v1.checkout.sessions
        return all_pages(
            lambda after: with_one_retry(lambda: list_page(sessions.list, after, parameters))
        )

    def retrieve_checkout_session(self, session: str) -> StripeObject | None:
        """The checkout session as it is now, whosever it is; None where there is none."""
        sessions = self._v1.checkout.sessions
        return with_one_retry(lambda: retrieve_or_none(lambda: sessions.retrieve(session)))

    def expire_checkout_session(self, session: str) -> bool:
        """Whether this call made the session expire. If not, it was not open any more."""

        def expire() -> bool:
            with translated():
                try:
                    self._v1.checkout.sessions.expire(session)
                except stripe.InvalidRequestError:
                    # Stripe has no code for "not open any more", and nothing else can be wrong.
                    return False
            return True

        return with_one_retry(expire)

    def list_all_subscriptions(self, customer_id: str) -> list[StripeObject]:
        """The customer's subscriptions, ended ones too, each with all its items (Stripe embeds ten
        of at most twenty)."""
        parameters = {"customer": customer_id, "status": "all"}
        subscriptions, items = self._v1.subscriptions, self._v1.subscription_items

        def all_items(subscription: StripeObject) -> list[StripeObject]:
            def list_items(page: dict[str, Any]) -> Any:
                return items.list(for_library({"subscription": subscription["id"], **page}))

            return all_pages(
                lambda after: with_one_retry(lambda: list_page_or_empty(list_items, after)),
                first=subscription["items"],
            )

        found = all_pages(
            lambda after: with_one_retry(lambda: list_page(subscriptions.list, after, parameters))
        )
        return [{**each, "items": {"data": all_items(each)}} for each in found]

    def create_checkout_session(self, parameters: Mapping[str, Any], key: str) -> StripeObject:
        """A new checkout session; the same one, as it is now, for everybody who asks for the same
        with this `key`.

        `parameters` are those of https://docs.stripe.com/api/checkout/sessions/create.
        Raises Conflict where `key` was used for something else.
        """

        def create(options: stripe.RequestOptions) -> tuple[StripeObject, bool]:
            with translated():
                try:
                    created = self._v1.checkout.sessions.create(for_library(parameters), options)
                except stripe.IdempotencyError as error:
                    raise Conflict("the key was used for another checkout session") from error
            return plain(created), is_replayed(created)

        session, replayed = once(create, key)
        # A replayed response shows the session as it was when it was created.
        return (self.retrieve_checkout_session(session["id"]) or session) if replayed else session

    # -- the portal

    def retrieve_subscription(self, subscription: str) -> StripeObject | None:
        """The subscription as it is now, whosever it is; None where there is none."""
        subscriptions = self._v1.subscriptions
        return with_one_retry(
            lambda: retrieve_or_none(lambda: subscriptions.retrieve(subscription))
        )

    def find_price_id(self, lookup_key: str) -> str | None:
        """The id of the active price with this lookup key; None where there is none."""

        def find() -> str | None:
            with translated():
                found = self._v1.prices.list(
                    {"lookup_keys": [lookup_key], "active": True, "limit": 1}
                )
            return str(found.data[0].id) if found.data else None

        return with_one_retry(find)

    def create_portal_session(self, parameters: Mapping[str, Any]) -> str:
        """Create a portal session and return its URL: a bearer link, never to be logged.

        `parameters` are those of https://docs.stripe.com/api/customer_portal/sessions/create.
        Raises CustomerNotFound.
        """
        # One key for both attempts: if only the response to the first was lost, it is repeated.
        options: stripe.RequestOptions = {"idempotency_key": str(uuid4())}

        def create() -> str:
            with translated():
                try:
                    session = self._v1.billing_portal.sessions.create(
                        for_library(parameters), options
                    )
                except stripe.InvalidRequestError as error:
                    if is_missing(error) and error.param in ("customer", "id"):
                        raise CustomerNotFound(str(parameters.get("customer"))) from error
                    raise
            return str(session.url)

        return with_one_retry(create)
