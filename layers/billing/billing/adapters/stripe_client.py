"""The official Stripe library as we use it: pinned, without surprises, its errors as our own.

Stripe's errors become ours here and nowhere else, by their class and `code`, never by their text.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import stripe

from billing.errors import SecretUnavailable, StripeRefused, StripeUnavailable
from billing.keys import OWN_ACCOUNT
from billing.stripe_objects import Page, StripeObject
from billing.timeouts import STRIPE_TIMEOUT_SECONDS

#: Instead of STRIPE_TIMEOUT_SECONDS where a person waits: an attempt and its retry end well within
#: the function's time.
INTERACTIVE_TIMEOUT_SECONDS = (2, 4)

#: Objects on one page of a list: Stripe's maximum.
MAX_PAGE_SIZE = 100

#: Idempotency keys that stand for one, where Stripe has recorded a failure under the first.
MAX_IDEMPOTENCY_KEYS = 3

# Its state would be written under a home folder, which Lambda does not have.
stripe.enable_telemetry = False

# At INFO it logs two lines a request, and the text of each error, which is Stripe's to choose.
logging.getLogger("stripe").setLevel(logging.WARNING)

_T = TypeVar("_T")


def connect(
    api_key: str,
    *,
    api_base: str,
    api_version: str,
    account: str,
    timeout: tuple[int, int] = STRIPE_TIMEOUT_SECONDS,
    retries: int = 0,
    refreshed_key: Callable[[], str] | None = None,
) -> stripe.StripeClient:
    """A client that keeps its connections. By default it never retries by itself: the caller has a
    better retry policy. Where Stripe refuses the key, it repeats the request once with the one that
    `refreshed_key` returns, if that is another."""
    return stripe.StripeClient(
        api_key,
        stripe_account=None if account == OWN_ACCOUNT else account,
        stripe_version=api_version,
        base_addresses={"api": api_base},
        max_network_retries=retries,
        http_client=_HttpClient(refreshed_key, timeout=timeout),
    )


class _HttpClient(stripe.RequestsClient):
    """The library's client, below its retries and ours: a repeated request has the headers of the
    first, with its idempotency key. Stripe records no response to a request without a valid key."""

    def __init__(
        self, refreshed_key: Callable[[], str] | None, *, timeout: tuple[float, float]
    ) -> None:
        super().__init__(timeout=timeout)
        self._refreshed_key = refreshed_key

    def request(  # type: ignore[override]  # as in the library
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        response = super().request(method, url, headers, post_data)
        if response[1] != 401 or self._refreshed_key is None or headers is None:
            return response
        try:
            authorization = f"Bearer {self._refreshed_key()}"
        except SecretUnavailable:
            return response
        if authorization == headers["Authorization"]:
            return response
        return super().request(method, url, {**headers, "Authorization": authorization}, post_data)


def plain(value: stripe.StripeObject) -> dict[str, Any]:
    """The library's object as plain dicts and lists, which a StripeObject is not."""
    return value.to_dict(for_json=True)


def date_of(found: stripe.StripeObject) -> int:
    """Stripe's Date, in epoch seconds, of the response that `found` came in."""
    return int(parsedate_to_datetime(_header(found, "date") or "").timestamp())


def is_replayed(found: stripe.StripeObject) -> bool:
    """Whether Stripe repeated a response that it recorded under our idempotency key."""
    return _header(found, "idempotent-replayed") == "true"


def _header(found: stripe.StripeObject, name: str) -> str | None:
    response = found.last_response
    assert response is not None
    headers: Mapping[str, str] = response.headers
    return next((headers[each] for each in headers if each.lower() == name), None)


def page_after(after: str | None) -> Any:
    """The paging parameters of the page after this object; all lists take the same two."""
    if after is None:
        return {"limit": MAX_PAGE_SIZE}
    return {"limit": MAX_PAGE_SIZE, "starting_after": after}


def for_library(parameters: Mapping[str, Any]) -> Any:
    """Parameters that are built elsewhere, for the library's closed types."""
    return dict(parameters)


def list_page(
    list_objects: Callable[[Any], Any], after: str | None, parameters: Mapping[str, Any]
) -> Page:
    """The page of a list after this object. Raises StripeUnavailable, StripeRefused."""
    with translated():
        return plain(list_objects({**parameters, **page_after(after)}))


def list_page_or_empty(list_objects: Callable[[Any], Any], after: str | None) -> Page:
    """As `list_page`; an empty one where Stripe does not have the object whose list it is."""
    with translated():
        try:
            return plain(list_objects(page_after(after)))
        except stripe.InvalidRequestError as error:
            if is_missing(error):
                return {"data": [], "has_more": False}
            raise


def is_missing(error: stripe.InvalidRequestError) -> bool:
    """Whether Stripe has no such object."""
    return error.code == "resource_missing"


def retrieve_or_none(retrieve: Callable[[], Any]) -> StripeObject | None:
    """The object that `retrieve` finds; None where Stripe has no such object.

    Raises StripeUnavailable, StripeRefused.
    """
    with translated():
        try:
            return plain(retrieve())
        except stripe.InvalidRequestError as error:
            if is_missing(error):
                return None
            raise


def with_one_retry(call: Callable[[], _T]) -> _T:
    """`call`, and once more after a random moment where Stripe was unavailable: a person waits."""
    try:
        return call()
    except _RecordedFailure:
        raise
    except StripeUnavailable:
        time.sleep(random.uniform(0.2, 0.6))  # noqa: S311 (spreads retries, guards nothing)
        return call()


class _RecordedFailure(StripeUnavailable):
    """A failure that Stripe recorded under our idempotency key and only repeats."""


def once(create: Callable[[stripe.RequestOptions], _T], key: str) -> _T:
    """`create` under the idempotency key `key`: one object at most for everybody with this key.

    For a day Stripe repeats its first response under a key, even a failure
    (https://docs.stripe.com/api/idempotent_requests). After a recorded failure the next key of a
    series is used, which is the same for everybody.
    """
    for number in range(MAX_IDEMPOTENCY_KEYS):
        options: stripe.RequestOptions = {"idempotency_key": f"{key}-{number}"}
        try:
            return with_one_retry(lambda: create(options))  # noqa: B023 (called at once)
        except _RecordedFailure:
            continue
    raise StripeUnavailable("every key of the series has a recorded failure")


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
        if any(name.lower() == "idempotent-replayed" for name in headers):
            raise _RecordedFailure(f"{type(error).__name__} {status}") from error
        if status >= 500 or status in (0, 409, 429):
            raise StripeUnavailable(f"{type(error).__name__} {status}") from error
        raise StripeRefused(
            status, error.code, getattr(error, "param", None), type(error).__name__
        ) from error
