"""A user of the deployed service over HTTP: their token, entitlements, portal and checkout visits.

The smoke test and the integration tests use it. It reaches the service through its API and hosted
pages only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from local.catalog import create_customer, subscribe
from local.stack import LocalStack

EVENTUALLY_SECONDS = 10.0
_T = TypeVar("_T")


def eventually(
    ask: Callable[[], _T], satisfied: Callable[[_T], bool], *, within: float = EVENTUALLY_SECONDS
) -> _T:
    """Call `ask` until `satisfied` accepts its value, and return that value.

    Raises TimeoutError with the last value after `within` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        value = ask()
        if satisfied(value):
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not satisfied within {within} s; the last value was {value!r}")
        time.sleep(0.05)


class Journey:
    """One subject with a Stripe customer, seen through the API. Create it with `begin`."""

    def __init__(self, stack: LocalStack, subject: str) -> None:
        self.stack = stack
        self.subject = subject
        self.customer = ""
        self.subscription = ""

    @classmethod
    def begin(
        cls,
        stack: LocalStack,
        subject: str,
        *,
        plan: str | None = "team_monthly",
        seats: int = 1,
        trial_days: int = 0,
        card: str | None = "pm_card_visa",
    ) -> Journey:
        """Create a customer for `subject`, and subscribe it to `plan` (a lookup key) if given."""
        journey = cls(stack, subject)
        journey.customer = create_customer(stack.stripe, subject, card=card)
        if plan is not None:
            journey.subscribe(plan, seats=seats, trial_days=trial_days)
        return journey

    def subscribe(self, plan: str, *, seats: int = 1, trial_days: int = 0) -> str:
        """Subscribe the customer. Returns the subscription's id.

        The next portal visit acts on this subscription.
        """
        price = self.stack.catalog.prices[plan]
        self.subscription = subscribe(
            self.stack.stripe, self.customer, price, quantity=seats, trial_days=trial_days
        )
        return self.subscription

    def get(self, path: str) -> httpx.Response:
        """GET a path of the API as this subject."""
        return self.stack.http.get(self.stack.api_url + path, headers=self._authorization())

    def post(self, path: str, body: Any) -> httpx.Response:
        """POST a JSON body to a path of the API as this subject."""
        url = self.stack.api_url + path
        return self.stack.http.post(url, json=body, headers=self._authorization())

    def entitlements(self) -> dict[str, Any]:
        """Return the body of GET /entitlements. Raises httpx.HTTPStatusError for an error."""
        return dict(self.get("/entitlements").raise_for_status().json())

    def features(self) -> set[str]:
        """Return the lookup keys of the features that this subject may use now."""
        return set(self.entitlements()["features"])

    def visit(self, **body: Any) -> PortalVisit:
        """Create a portal session through the API. Raises httpx.HTTPStatusError for an error."""
        response = self.post("/portal-sessions", body).raise_for_status()
        return PortalVisit(self.stack.http, response.json()["url"], self.subscription)

    def buy(self, price: str, **body: Any) -> CheckoutVisit:
        """Create a checkout session through the API. Raises httpx.HTTPStatusError for an error."""
        response = self.post("/checkout-sessions", {"price": price, **body}).raise_for_status()
        return CheckoutVisit(self.stack.http, response.json()["url"], response.json()["id"])

    def come_back(self, session: str) -> dict[str, Any]:
        """Retrieve a checkout session (an id). Raises httpx.HTTPStatusError for an error."""
        return dict(self.get(f"/checkout-sessions/{session}").raise_for_status().json())

    def _authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.stack.token(self.subject)}"}


class PortalVisit:
    """A customer's visit to the hosted portal. It submits the page's own forms."""

    def __init__(self, http: httpx.Client, url: str, subscription: str) -> None:
        self._http = http
        self.url = url.rstrip("/")
        self.subscription = subscription

    def home(self) -> httpx.Response:
        """Return the portal's home page."""
        return self._http.get(self.url, follow_redirects=True)

    def cancel(self) -> None:
        """Cancel. The local portal configuration ends the subscription with its period."""
        self._submit(f"/subscriptions/{self.subscription}/cancel")

    def reactivate(self) -> None:
        """Undo the cancellation."""
        self._submit(f"/subscriptions/{self.subscription}/reactivate")

    def update(self, **form: str) -> None:
        """Change the price or the quantity."""
        self._submit(f"/subscriptions/{self.subscription}/update", **form)

    def pay_by(self, number: str) -> None:
        """Replace the card."""
        self._submit("/payment-method", number=number, exp_month="12", exp_year="2034", cvc="123")

    def _submit(self, path: str, **form: str) -> None:
        response = self._http.post(self.url + path, data=form)
        if response.status_code != httpx.codes.SEE_OTHER:
            raise RuntimeError(f"the portal responded {response.status_code} to {path}")


class CheckoutVisit:
    """A customer's visit to the hosted checkout page. It submits the page's own form."""

    def __init__(self, http: httpx.Client, url: str, session: str) -> None:
        self._http = http
        self.url = url
        self.session = session

    def page(self) -> httpx.Response:
        """Return the page; its status is 410 once the session is complete or expired."""
        return self._http.get(self.url)

    def pay(self, number: str = "4242424242424242") -> str:
        """Pay with this card. Returns the address that the page redirects to.

        Raises RuntimeError if it does not redirect.
        """
        card = {"number": number, "exp_month": "12", "exp_year": "2034", "cvc": "123"}
        response = self._http.post(self.url, data=card)
        if response.status_code != httpx.codes.SEE_OTHER:
            raise RuntimeError(f"checkout responded {response.status_code}")
        return str(response.headers["location"])
