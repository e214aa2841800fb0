"""Stripe's API through the official library: the adapter behind the sync and the portal.

Requests are pinned to STRIPE_API_VERSION. Stripe's errors become ours here and nowhere else, by
their class and `code`, never by their text.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from uuid import uuid4

import stripe

from billing.errors import Conflict, CustomerNotFound, StripeRefused, StripeUnavailable
from billing.projection import StripeObject
from billing.stripe_state import Page

#: Seconds to connect, and to wait for the next byte. The library's own default is 80.
TIMEOUT = (2.0, 8.0)

#: The same where a person waits: a try and its repetition end well within the function's time.
INTERACTIVE_TIMEOUT = (2.0, 4.0)

LONGEST_PAGE = 100

#: Lookup keys that one list of prices may name.
MOST_LOOKUP_KEYS = 10

#: Keys in the series that stands in for one, where Stripe has recorded a failure under the first.
KEY_SERIES = 3

# The library would write its telemetry's state under a home folder that Lambda does not have.
stripe.enable_telemetry = False

_T = TypeVar("_T")


def client(
    api_key: str,
    *,
    api_base: str,
    api_version: str,
    account: str,
    timeout: tuple[float, float] = TIMEOUT,
    retries: int = 0,
) -> stripe.StripeClient:
    """A client that keeps its connections. It never retries by itself where who calls knows better:
    a person waits, or a queue.
    """
    return stripe.StripeClient(
        api_key,
        stripe_account=account or None,
        stripe_version=api_version,
        base_addresses={"api": api_base},
        max_network_retries=retries,
        http_client=stripe.RequestsClient(timeout=timeout),
    )


class StripeApi:
    """stripe_state.StripeReads and the portal's calls.

    `connect` gives the client: it is asked for at each call, so that a rolled key is taken up.
    """

    def __init__(self, connect: Callable[[], stripe.StripeClient]) -> None:
        self._connect = connect

    # -- the sync's reads: stripe_state.StripeReads

    def customer(self, customer: str) -> tuple[StripeObject, int]:
        expand = [
            "invoice_settings.default_payment_method",
            "subscriptions.data.default_payment_method",
            "subscriptions.data.latest_invoice",
            "tax_ids",
        ]
        with translated():
            try:
                found = self._connect().v1.customers.retrieve(customer, {"expand": expand})
            except stripe.InvalidRequestError as error:
                if error.code == "resource_missing":
                    raise CustomerNotFound(customer) from error
                raise
        return plain(found), _date(found)

    def subscriptions(self, customer: str, after: str | None) -> Page:
        page = page_after(after)
        with translated():
            return plain(
                self._connect().v1.subscriptions.list(
                    {
                        "customer": customer,
                        "expand": ["data.default_payment_method", "data.latest_invoice"],
                    }
                    | page
                )
            )

    def subscription_items(self, subscription: str, after: str | None) -> Page:
        with translated():
            return plain(
                self._connect().v1.subscription_items.list(
                    {"subscription": subscription} | page_after(after)
                )
            )

    def tax_ids(self, customer: str, after: str | None) -> Page:
        with translated():
            return plain(self._connect().v1.customers.tax_ids.list(customer, page_after(after)))

    def active_entitlements(self, customer: str, after: str | None) -> Page:
        with translated():
            return plain(
                self._connect().v1.entitlements.active_entitlements.list(
                    {"customer": customer} | page_after(after)
                )
            )

    def product_features(self, product: str, after: str | None) -> Page:
        with translated():
            return plain(self._connect().v1.products.features.list(product, page_after(after)))

    # -- documents

    def portal_configuration(self, configuration: str) -> tuple[StripeObject, int]:
        """The portal configuration and Stripe's Date of this answer."""
        with translated():
            found = self._connect().v1.billing_portal.configurations.retrieve(configuration)
        return plain(found), _date(found)

    # -- what is for sale

    def prices(self, names: Sequence[str]) -> tuple[list[StripeObject], int]:
        """The active prices with these lookup keys or ids, `product` expanded, and Stripe's Date
        of the first answer (0 where nothing was asked). A name nothing is sold under is left out.
        """
        found: dict[str, StripeObject] = {}
        as_of = 0
        for start in range(0, len(names), MOST_LOOKUP_KEYS):
            parameters: Any = {
                "lookup_keys": list(names[start : start + MOST_LOOKUP_KEYS]),
                "active": True,
                "expand": ["data.product"],
            }
            with translated():
                page = self._connect().v1.prices.list(parameters | page_after(None))
            as_of = as_of or _date(page)
            found.update({price["lookup_key"]: price for price in plain(page)["data"]})
        for name in names:
            if name not in found and (price := self._price(name)) is not None and price["active"]:
                found[name] = price
        return [found[name] for name in names if name in found], as_of

    def _price(self, price: str) -> StripeObject | None:
        with translated():
            try:
                return plain(self._connect().v1.prices.retrieve(price, {"expand": ["product"]}))
            except stripe.InvalidRequestError as error:
                if error.code == "resource_missing":
                    return None
                raise

    # -- checkout: checkout.CheckoutApi

    def priced(self, name: str) -> StripeObject | None:
        """The active price with this lookup key or id, `product` expanded."""
        prices, _ = with_one_retry(lambda: self.prices([name]))
        return prices[0] if prices else None

    def create_customer(self, metadata: Mapping[str, str], key: str) -> str:
        """The id of a new customer; of the same one for whoever asks with the same `key` within a
        day. Raises StripeUnavailable, StripeRefused."""

        def create(options: stripe.RequestOptions) -> str:
            with translated():
                made = self._connect().v1.customers.create({"metadata": dict(metadata)}, options)
            return made.id

        return _once(create, key)

    def checkout_sessions(self, customer: str) -> list[StripeObject]:
        """The customer's checkout sessions, newest first, with their line items."""
        sessions: list[StripeObject] = []

        def page(after: str | None) -> Page:
            parameters: Any = {"customer": customer, "expand": ["data.line_items"]}
            with translated():
                return plain(
                    self._connect().v1.checkout.sessions.list(parameters | page_after(after))
                )

        after: str | None = None
        more = True
        while more:
            found = with_one_retry(lambda: page(after))  # noqa: B023 (called before `after` moves on)
            sessions.extend(found["data"])
            more = found["has_more"]
            after = sessions[-1]["id"] if sessions else None
        return sessions

    def checkout_session(self, session: str) -> StripeObject | None:
        """The checkout session as it is now, whosever it is; None where there is none."""

        def retrieve() -> StripeObject | None:
            with translated():
                try:
                    return plain(self._connect().v1.checkout.sessions.retrieve(session))
                except stripe.InvalidRequestError as error:
                    if error.code == "resource_missing":
                        return None
                    raise

        return with_one_retry(retrieve)

    def expire_checkout_session(self, session: str) -> None:
        """See to it that the session cannot be completed any more: it may have been already."""

        def expire() -> None:
            with translated():
                try:
                    self._connect().v1.checkout.sessions.expire(session)
                except stripe.InvalidRequestError:
                    # Stripe has no code for "not open any more", and nothing else can be wrong.
                    return

        with_one_retry(expire)

    def create_checkout_session(self, parameters: Mapping[str, Any], key: str) -> StripeObject:
        """A new checkout session; the same one for whoever asks for the same with the same `key`.

        `parameters` are those of https://docs.stripe.com/api/checkout/sessions/create.
        Raises Conflict where `key` was used for something else, StripeUnavailable, StripeRefused.
        """

        def create(options: stripe.RequestOptions) -> StripeObject:
            with translated():
                try:
                    return plain(
                        self._connect().v1.checkout.sessions.create(
                            dict(parameters),  # type: ignore[arg-type]
                            options,
                        )
                    )
                except stripe.IdempotencyError as error:
                    raise Conflict("the key was used for another checkout session") from error

        return _once(create, key)

    # -- the portal: portal.PortalApi

    def subscription(self, subscription: str) -> StripeObject | None:
        """The subscription as it is now, whosever it is; None where there is none."""

        def retrieve() -> StripeObject | None:
            with translated():
                try:
                    return plain(self._connect().v1.subscriptions.retrieve(subscription))
                except stripe.InvalidRequestError as error:
                    if error.code == "resource_missing":
                        return None
                    raise

        return with_one_retry(retrieve)

    def price_by_lookup_key(self, lookup_key: str) -> str | None:
        """The id of the active price with this lookup key; None where there is none."""

        def find() -> str | None:
            with translated():
                found = self._connect().v1.prices.list(
                    {"lookup_keys": [lookup_key], "active": True, "limit": 1}
                )
            return found.data[0].id if found.data else None

        return with_one_retry(find)

    def create_portal_session(self, parameters: Mapping[str, Any]) -> str:
        """Open a portal session and return its URL: a bearer link, never to be logged.

        `parameters` are those of https://docs.stripe.com/api/customer_portal/sessions/create.
        Raises CustomerNotFound, StripeUnavailable, StripeRefused.
        """
        # One key for both tries: a first one that got through unheard is not repeated.
        options: stripe.RequestOptions = {"idempotency_key": str(uuid4())}

        def create() -> str:
            with translated():
                try:
                    session = self._connect().v1.billing_portal.sessions.create(
                        dict(parameters),  # type: ignore[arg-type]
                        options,
                    )
                except stripe.InvalidRequestError as error:
                    if error.code == "resource_missing" and error.param in ("customer", "id"):
                        raise CustomerNotFound(str(parameters.get("customer"))) from error
                    raise
            return session.url

        return with_one_retry(create)


def _date(found: stripe.StripeObject) -> int:
    """Stripe's own Date (epoch seconds) of the answer that `found` is."""
    response = found.last_response
    assert response is not None
    headers: Mapping[str, str] = response.headers
    date = next(value for name, value in headers.items() if name.lower() == "date")
    return int(parsedate_to_datetime(date).timestamp())


def page_after(after: str | None) -> Any:
    """The paging parameters; every list of Stripe's takes the same two."""
    if after is None:
        return {"limit": LONGEST_PAGE}
    return {"limit": LONGEST_PAGE, "starting_after": after}


def plain(value: stripe.StripeObject) -> dict[str, Any]:
    """The library's object as plain dicts and lists: a StripeObject is neither."""
    return value.to_dict(for_json=True)


def with_one_retry(call: Callable[[], _T]) -> _T:
    """`call`, once more after a random moment when Stripe was unavailable: a person is waiting."""
    try:
        return call()
    except _FailureOnRecord:
        raise
    except StripeUnavailable:
        time.sleep(random.uniform(0.2, 0.6))  # noqa: S311 (spreads retries, guards nothing)
        return call()


class _FailureOnRecord(StripeUnavailable):
    """A failure that Stripe had recorded under our idempotency key and only repeats."""


def _once(create: Callable[[stripe.RequestOptions], _T], key: str) -> _T:
    """`create` under the idempotency key `key`: at most one object for whoever uses that key.

    For a day Stripe repeats its first answer under a key, be it a failure
    (https://docs.stripe.com/api/idempotent_requests). Past one on record we take the next key of a
    series, which is the same for everybody.
    """
    for number in range(KEY_SERIES):
        options: stripe.RequestOptions = {"idempotency_key": f"{key}-{number}"}
        try:
            return with_one_retry(lambda: create(options))  # noqa: B023 (called at once)
        except _FailureOnRecord:
            continue
    raise StripeUnavailable("every key of the series has a failure on record")


@contextmanager
def translated() -> Iterator[None]:
    """Stripe's errors as ours: https://docs.stripe.com/api/errors/handling?lang=python."""
    try:
        yield
    except (stripe.RateLimitError, stripe.APIConnectionError) as error:
        raise StripeUnavailable(type(error).__name__) from error
    except stripe.StripeError as error:
        status = error.http_status or 0
        headers: Mapping[str, str] = error.headers or {}
        if status >= 500 and any(name.lower() == "idempotent-replayed" for name in headers):
            raise _FailureOnRecord(f"{type(error).__name__} {status}") from error
        if status >= 500 or status in (0, 409, 429):
            raise StripeUnavailable(f"{type(error).__name__} {status}") from error
        raise StripeRefused(
            status, error.code, getattr(error, "param", None), type(error).__name__
        ) from error
