"""Stripe's API through the official library: the adapter behind the sync and the portal.

Requests are pinned to STRIPE_API_VERSION. Stripe's errors become ours here and nowhere else, by
their class and `code`, never by their text.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from uuid import uuid4

import stripe

from billing.errors import CustomerNotFound, StripeRefused, StripeUnavailable
from billing.projection import StripeObject
from billing.stripe_state import Page

#: Seconds to connect, and to wait for the next byte. The library's own default is 80.
TIMEOUT = (2.0, 8.0)

LONGEST_PAGE = 100

# The library would write its telemetry's state under a home folder that Lambda does not have.
stripe.enable_telemetry = False

_T = TypeVar("_T")


def client(api_key: str, *, api_base: str, api_version: str, account: str) -> stripe.StripeClient:
    """A client that keeps its connections and never retries by itself: who calls knows better."""
    return stripe.StripeClient(
        api_key,
        stripe_account=account or None,
        stripe_version=api_version,
        base_addresses={"api": api_base},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=TIMEOUT),
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
            "subscriptions.data.latest_invoice",
            "tax_ids",
        ]
        with _translated():
            try:
                found = self._connect().v1.customers.retrieve(customer, {"expand": expand})
            except stripe.InvalidRequestError as error:
                if error.code == "resource_missing":
                    raise CustomerNotFound(customer) from error
                raise
        return _plain(found), _date(found)

    def subscriptions(self, customer: str, after: str | None) -> Page:
        page = _page(after)
        with _translated():
            return _plain(
                self._connect().v1.subscriptions.list(
                    {"customer": customer, "expand": ["data.latest_invoice"]} | page
                )
            )

    def subscription_items(self, subscription: str, after: str | None) -> Page:
        with _translated():
            return _plain(
                self._connect().v1.subscription_items.list(
                    {"subscription": subscription} | _page(after)
                )
            )

    def tax_ids(self, customer: str, after: str | None) -> Page:
        with _translated():
            return _plain(self._connect().v1.customers.tax_ids.list(customer, _page(after)))

    def active_entitlements(self, customer: str, after: str | None) -> Page:
        with _translated():
            return _plain(
                self._connect().v1.entitlements.active_entitlements.list(
                    {"customer": customer} | _page(after)
                )
            )

    def product_features(self, product: str, after: str | None) -> Page:
        with _translated():
            return _plain(self._connect().v1.products.features.list(product, _page(after)))

    # -- documents

    def portal_configuration(self, configuration: str) -> tuple[StripeObject, int]:
        """The portal configuration and Stripe's Date of this answer."""
        with _translated():
            found = self._connect().v1.billing_portal.configurations.retrieve(configuration)
        return _plain(found), _date(found)

    # -- the portal: portal.PortalApi

    def subscription(self, subscription: str) -> StripeObject | None:
        """The subscription as it is now, whosever it is; None where there is none."""

        def retrieve() -> StripeObject | None:
            with _translated():
                try:
                    return _plain(self._connect().v1.subscriptions.retrieve(subscription))
                except stripe.InvalidRequestError as error:
                    if error.code == "resource_missing":
                        return None
                    raise

        return _with_one_retry(retrieve)

    def create_portal_session(self, parameters: Mapping[str, Any]) -> str:
        """Open a portal session and return its URL: a bearer link, never to be logged.

        `parameters` are those of https://docs.stripe.com/api/customer_portal/sessions/create.
        Raises CustomerNotFound, StripeUnavailable, StripeRefused.
        """
        # One key for both tries: a first one that got through unheard is not repeated.
        options: stripe.RequestOptions = {"idempotency_key": str(uuid4())}

        def create() -> str:
            with _translated():
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

        return _with_one_retry(create)


def _date(found: stripe.StripeObject) -> int:
    """Stripe's own Date (epoch seconds) of the answer that `found` is."""
    response = found.last_response
    assert response is not None
    headers: Mapping[str, str] = response.headers
    date = next(value for name, value in headers.items() if name.lower() == "date")
    return int(parsedate_to_datetime(date).timestamp())


def _page(after: str | None) -> Any:
    """The paging parameters; every list of Stripe's takes the same two."""
    if after is None:
        return {"limit": LONGEST_PAGE}
    return {"limit": LONGEST_PAGE, "starting_after": after}


def _plain(value: stripe.StripeObject) -> dict[str, Any]:
    """The library's object as plain dicts and lists: a StripeObject is neither."""
    return value.to_dict(for_json=True)


def _with_one_retry(call: Callable[[], _T]) -> _T:
    """`call`, once more after a random moment when Stripe was unavailable: a person is waiting."""
    try:
        return call()
    except StripeUnavailable:
        time.sleep(random.uniform(0.2, 0.6))  # noqa: S311 (spreads retries, guards nothing)
        return call()


@contextmanager
def _translated() -> Iterator[None]:
    """Stripe's errors as ours: https://docs.stripe.com/api/errors/handling?lang=python."""
    try:
        yield
    except (stripe.RateLimitError, stripe.APIConnectionError) as error:
        raise StripeUnavailable(type(error).__name__) from error
    except stripe.StripeError as error:
        status = error.http_status or 0
        if status >= 500 or status in (0, 409, 429):
            raise StripeUnavailable(f"{type(error).__name__} {status}") from error
        raise StripeRefused(
            status, error.code, getattr(error, "param", None), type(error).__name__
        ) from error
