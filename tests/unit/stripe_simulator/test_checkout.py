"""Checkout sessions for a subscription, paid on the hosted page."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from tests.unit.stripe_simulator.conftest import Shop

CARD = {"number": "4242424242424242", "exp_month": "12", "exp_year": "2034", "cvc": "1"}


def session_for(api: Any, shop: Shop, **params: Any) -> Any:
    return api.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price": shop.pro_price.id, "quantity": 2}],
            "success_url": "https://app.example.com/done?session={CHECKOUT_SESSION_ID}",
            "client_reference_id": "user-1",
            "metadata": {"made_by": "us"},
            **params,
        }
    )


def test_a_payment_creates_the_subscription_and_sends_an_event(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    customer = shop.customer(card=None)
    session = session_for(
        api, shop, customer=customer.id, subscription_data={"metadata": {"team": "a"}}
    )
    assert session.id.startswith("cs_test_")
    assert "$60.00" in browser.get(session.url).text
    done = browser.post(session.url, data=CARD)
    assert done.headers["location"] == f"https://app.example.com/done?session={session.id}"
    found = api.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "line_items"]})
    assert (found.status, found.payment_status, found.url) == ("complete", "paid", None)
    assert found.subscription.status == "active"
    assert found.subscription.metadata.to_dict() == {"team": "a"}
    assert found.subscription.default_payment_method is not None
    assert found.line_items.data[0].quantity == 2
    assert shop.keys(customer.id) == ["export", "priority"]
    (event,) = api.events.list({"type": "checkout.session.completed"}).data
    assert event.data.object["client_reference_id"] == "user-1"
    assert event.data.object["customer"] == customer.id
    assert browser.get(session.url).status_code == 410


def test_a_session_without_a_customer_creates_one(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    session = session_for(api, shop, subscription_data={"trial_period_days": 7})
    browser.post(session.url, data={**CARD, "email": "new@example.com"})
    found = api.checkout.sessions.retrieve(session.id, {"expand": ["customer", "subscription"]})
    assert found.customer.email == "new@example.com"
    assert found.subscription.status == "trialing"
    assert found.payment_status == "no_payment_required"


def test_a_declined_card_keeps_the_session_open_and_creates_nothing(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    session = session_for(api, shop)
    before = len(api.customers.list().data)
    refused = browser.post(session.url, data={**CARD, "number": "4000000000000341", "email": "a@b"})
    assert refused.status_code == 402
    assert "declined" in refused.text
    assert api.checkout.sessions.retrieve(session.id).status == "open"
    assert len(api.customers.list().data) == before


def test_an_expired_session_cannot_be_paid(api: Any, shop: Shop, browser: httpx.Client) -> None:
    session = session_for(api, shop)
    api.checkout.sessions.expire(session.id)
    assert browser.post(session.url, data=CARD).status_code == 410
    with pytest.raises(stripe.InvalidRequestError, match="can be expired"):
        api.checkout.sessions.expire(session.id)
