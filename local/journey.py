"""Somebody's way through the deployed service over HTTP: their token, their entitlements, their
visit to the portal.

Smoke and the integration tests walk it; neither touches the table or calls a function directly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from local.catalogue import create_customer, subscribe
from local.stack import LocalStack

PATIENCE = 10.0
_T = TypeVar("_T")


def eventually(
    ask: Callable[[], _T], satisfied: Callable[[_T], bool], *, within: float = PATIENCE
) -> _T:
    """Ask until the answer satisfies, and answer it.

    Raises TimeoutError with the last answer after `within` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        answer = ask()
        if satisfied(answer):
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within} s; the last answer was {answer!r}")
        time.sleep(0.05)


class Journey:
    """One subject with a Stripe customer, seen through the API. Make them with `begin`."""

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
        """Make a customer for subject, on the plan of this lookup key unless it is None."""
        journey = cls(stack, subject)
        journey.customer = create_customer(stack.stripe, subject, card=card)
        if plan is not None:
            journey.subscribe(plan, seats=seats, trial_days=trial_days)
        return journey

    def subscribe(self, plan: str, *, seats: int = 1, trial_days: int = 0) -> str:
        """Subscribe the customer.

        Answers the subscription's id, which the portal methods then act on.
        """
        price = self.stack.catalogue.prices[plan]
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
        """Answer the body of GET /entitlements. Raises httpx.HTTPStatusError when it is no 200."""
        return dict(self.get("/entitlements").raise_for_status().json())

    def features(self) -> set[str]:
        """Answer the lookup keys of the features this subject may use now."""
        return set(self.entitlements()["features"])

    def visit(self, **body: Any) -> PortalVisit:
        """Open the portal through the API. Raises httpx.HTTPStatusError when it is no 201."""
        answer = self.post("/portal-sessions", body).raise_for_status()
        return PortalVisit(self.stack.http, answer.json()["url"], self.subscription)

    def buy(self, price: str, **body: Any) -> CheckoutVisit:
        """Begin a checkout through the API. Raises httpx.HTTPStatusError when it is no 201."""
        answer = self.post("/checkout-sessions", {"price": price, **body}).raise_for_status()
        return CheckoutVisit(self.stack.http, answer.json()["url"], answer.json()["id"])

    def come_back(self, session: str) -> dict[str, Any]:
        """Answer the body of GET /checkout-sessions/{id}.

        Raises httpx.HTTPStatusError when it is no 200.
        """
        return dict(self.get(f"/checkout-sessions/{session}").raise_for_status().json())

    def _authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.stack.token(self.subject)}"}


class PortalVisit:
    """What a customer does on the hosted portal page, by its own forms."""

    def __init__(self, http: httpx.Client, url: str, subscription: str) -> None:
        self._http = http
        self.url = url.rstrip("/")
        self.subscription = subscription

    def home(self) -> httpx.Response:
        """Answer the page itself."""
        return self._http.get(self.url, follow_redirects=True)

    def cancel(self) -> None:
        """Cancel as the portal's configuration says: here, at the period's end."""
        self._submit(f"/subscriptions/{self.subscription}/cancel")

    def reactivate(self) -> None:
        """Take the cancellation back."""
        self._submit(f"/subscriptions/{self.subscription}/reactivate")

    def update(self, **form: str) -> None:
        """Change the price or the quantity."""
        self._submit(f"/subscriptions/{self.subscription}/update", **form)

    def pay_by(self, number: str) -> None:
        """Give another card."""
        self._submit("/payment-method", number=number, exp_month="12", exp_year="2034", cvc="123")

    def _submit(self, path: str, **form: str) -> None:
        answer = self._http.post(self.url + path, data=form)
        if answer.status_code != httpx.codes.SEE_OTHER:
            raise RuntimeError(f"the portal answered {answer.status_code} to {path}")


class CheckoutVisit:
    """What a customer does on the hosted checkout page, by its own form."""

    def __init__(self, http: httpx.Client, url: str, session: str) -> None:
        self._http = http
        self.url = url
        self.session = session

    def page(self) -> httpx.Response:
        """Answer the page itself; 410 once it has been completed or has expired."""
        return self._http.get(self.url)

    def pay(self, number: str = "4242424242424242") -> str:
        """Pay by this card. Answers the address that the browser is then sent to.

        Raises RuntimeError when it is sent nowhere.
        """
        card = {"number": number, "exp_month": "12", "exp_year": "2034", "cvc": "123"}
        answer = self._http.post(self.url, data=card)
        if answer.status_code != httpx.codes.SEE_OTHER:
            raise RuntimeError(f"checkout answered {answer.status_code}")
        return str(answer.headers["location"])
