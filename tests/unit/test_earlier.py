"""What a customer's earlier checkout sessions mean for a purchase."""

from __future__ import annotations

from typing import Any

import pytest

from billing.checkout.earlier import (
    FRESH_SECONDS,
    Earlier,
    just_paid,
    refused_as_paid,
    settle,
    unshown,
)
from billing.errors import Conflict
from billing.facts import Facts, Subscription
from billing.keys import CustomerKey
from billing.model import CustomerRow
from billing.stripe_objects import StripeObject
from billing.sync import MARGIN_SECONDS
from tests.unit.stripe_objects import NOW, customer
from tests.unit.test_checkout import Stripe

KEY = CustomerKey("own", "test", "cus_1")
URLS = {"success_url": "https://a/done", "cancel_url": "https://a/"}
WANTED = {"mode": "subscription", "line_items": [{"price": "price_team", "quantity": 1}], **URLS}


def session(
    name: str, status: str = "open", *, product: str = "prod_team", quantity: int = 1, **more: Any
) -> dict[str, Any]:
    price = {"id": product.replace("prod", "price"), "product": product}
    return {
        "id": name,
        "customer": "cus_1",
        "mode": "subscription",
        "status": status,
        "created": NOW,
        "expires_at": NOW + 86_400,
        "url": f"https://checkout.stripe.com/{name}",
        "subscription": None,
        "line_items": {"data": [{"price": price, "quantity": quantity}]},
        **URLS,
        **more,
    }


def settled(*sessions: dict[str, Any], now: float = NOW, stripe: Stripe | None = None) -> Earlier:
    """`sessions` are the customer's, the oldest first."""
    stripe = stripe or Stripe()
    stripe.customers["cus_1"] = customer()
    stripe.sessions = list(sessions)
    return settle(stripe, "cus_1", "prod_team", WANTED, now)


def test_without_any_session_nothing_is_covered() -> None:
    assert settled() == Earlier(is_known_customer=True, paid=[])


def test_an_open_session_for_the_same_is_used_and_the_row_still_covers_the_rest() -> None:
    other, same = session("cs_1", product="prod_other"), session("cs_2")
    found = settled(other, same)
    assert found.open is not None
    assert found.open["id"] == "cs_2"
    assert (found.newest, found.paid, found.is_covered) == ("cs_2", [], True)


def test_an_open_session_behind_one_for_another_product_is_found() -> None:
    found = settled(session("cs_1"), session("cs_2", product="prod_other"))
    assert found.open is not None
    assert (found.newest, found.open["id"]) == ("cs_2", "cs_1")


def test_once_a_session_was_ended_the_row_covers_nothing() -> None:
    ended = session("cs_1", quantity=2)
    found = settled(ended, session("cs_2"))
    assert ended["status"] == "expired"
    assert found.open is not None
    assert found.is_covered is False


def test_an_open_session_is_new_for_a_minute() -> None:
    assert settled(session("cs_1"), now=NOW + FRESH_SECONDS).is_covered
    assert not settled(session("cs_1"), now=NOW + FRESH_SECONDS + 1).is_covered


def test_a_session_that_was_paid_or_ended_between_the_two_reads_is_a_conflict() -> None:
    class Lags(Stripe):
        def list_open_checkout_sessions(self, customer_id: str) -> list[dict[str, Any]]:
            return []

    with pytest.raises(Conflict, match=r"^the customer's sessions have changed$"):
        settled(session("cs_1"), stripe=Lags())


def row(as_of: int, *held: str) -> CustomerRow:
    subscriptions = tuple(Subscription(id=name, status="active") for name in held)
    return CustomerRow(key=KEY, revision=1, as_of=as_of, facts=Facts(subscriptions=subscriptions))


def test_a_row_may_be_too_old_for_a_session_until_the_margin_after_its_end() -> None:
    paid = session("cs_1", "complete", subscription="sub_1")
    last = NOW + 86_400 + MARGIN_SECONDS
    assert unshown(row(last), [paid]) == [paid]
    assert unshown(row(last + 1), [paid]) == []
    assert unshown(row(NOW, "sub_1"), [paid]) == []


def test_only_a_subscription_that_the_row_does_not_show_was_just_paid() -> None:
    paid = session("cs_1", "complete", subscription="sub_1")
    stripe = Stripe()
    statuses: dict[str, bool] = {"active": True, "canceled": False}
    for status, is_paid in statuses.items():
        found: StripeObject = {"id": "sub_1", "status": status}
        stripe.subscriptions_of["cus_1"] = [found]
        assert just_paid(stripe, row(NOW), [paid]) is is_paid
    assert just_paid(stripe, row(NOW, "sub_1"), [paid]) is False


def test_the_refusal_says_that_repeating_is_safe() -> None:
    assert refused_as_paid().detail == (
        "This product has just been paid for in another checkout, or is being paid for at this "
        "moment. Try again in a moment; repeating the request is safe."
    )
