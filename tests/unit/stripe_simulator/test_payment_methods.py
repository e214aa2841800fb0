"""Payment methods other than cards, legacy sources, and which of them is charged."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from tests.unit.stripe_simulator.conftest import Shop

SYNC_EXPAND = [
    "default_source",
    "test_clock",
    "subscriptions.data.default_source",
    "invoice_settings.default_payment_method",
    "subscriptions.data.default_payment_method",
    "tax_ids",
]
DEBITS = [
    ("sepa_debit", {"iban": "AT61 1904 3002 3457 3201"}, "3201", "pm_success_at"),
    (
        "us_bank_account",
        {
            "account_number": "000123456789",
            "routing_number": "110000000",
            "account_holder_type": "individual",
        },
        "6789",
        "pm_usBankAccount_success",
    ),
    (
        "bacs_debit",
        {"account_number": "00012345", "sort_code": "108800"},
        "2345",
        "pm_bacsDebit_success",
    ),
]


@pytest.mark.parametrize(("kind", "details", "last4", "token"), DEBITS)
def test_a_bank_debit_is_created_by_its_account_or_token_and_pays(
    api: Any, shop: Shop, kind: str, details: dict[str, str], last4: str, token: str
) -> None:
    made = api.payment_methods.create(
        {"type": kind, kind: details, "billing_details": {"name": "Ada"}}
    )
    assert (made.type, made.billing_details.name) == (kind, "Ada")
    assert made[kind].last4 == last4
    customer = shop.customer(token)
    subscription = shop.subscription(customer)
    assert subscription.status == "active"
    found = api.customers.retrieve(customer.id, {"expand": SYNC_EXPAND})
    default = found.invoice_settings.default_payment_method
    assert (default.type, default[kind].last4) == (kind, last4)
    assert not hasattr(default, "card")


@pytest.mark.parametrize(
    "token", ["pm_failed_at", "pm_usBankAccount_accountClosed", "pm_bacsDebit_insufficientFunds"]
)
def test_a_bank_debit_can_fail(shop: Shop, token: str) -> None:
    assert shop.subscription(shop.customer(token)).status == "incomplete"


def test_a_payment_method_needs_a_known_type_its_details_and_a_test_account(api: Any) -> None:
    for params, param in (
        ({"type": "klarna", "klarna": {}}, "type"),
        ({"type": "sepa_debit"}, "type"),
        ({"type": "sepa_debit", "sepa_debit": {"iban": "DE1"}}, "sepa_debit[iban]"),
        (
            {"type": "us_bank_account", "us_bank_account": {"routing_number": "110000000"}},
            "us_bank_account[account_number]",
        ),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            api.payment_methods.create(params)
        assert caught.value.param == param


def test_a_legacy_source_becomes_the_default_and_pays(api: Any, shop: Shop) -> None:
    sepa = api.sources.create({"type": "sepa_debit", "currency": "eur"})
    ach = api.sources.create({"type": "ach_credit_transfer", "currency": "usd"})
    for token, kind in (
        ("tok_visa", "card"),
        ("btok_us_verified", "bank_account"),
        (sepa.id, "source"),
        (ach.id, "source"),
    ):
        customer = api.customers.create()
        added = api.customers.payment_sources.create(customer.id, {"source": token})
        assert shop.subscription(customer).status == "active"
        found = api.customers.retrieve(customer.id, {"expand": SYNC_EXPAND})
        assert (found.default_source.id, found.default_source.object) == (added.id, kind)
    card = api.customers.create({"source": "tok_visa"})
    shown = api.customers.retrieve(card.id, {"expand": SYNC_EXPAND}).default_source
    assert (shown.brand, shown.last4, shown.exp_month, shown.exp_year) == ("Visa", "4242", 12, 2034)
    assert api.sources.retrieve(sepa.id).sepa_debit.last4 == "3201"


def test_the_most_specific_payment_method_is_charged(api: Any, shop: Shop) -> None:
    """A method is charged only while the subscription has no method of its own, and so on."""
    customer = api.customers.create({"source": "tok_chargeCustomerFail"})
    good = api.customers.payment_sources.create(customer.id, {"source": "tok_visa"})
    status = "incomplete"

    def subscribe(**params: Any) -> str:
        return str(shop.subscription(customer, **params).status)

    assert subscribe() == status
    method = api.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    settings = {"default_payment_method": method.id}
    api.customers.update(customer.id, {"invoice_settings": settings})
    assert subscribe() == "active"
    assert subscribe(default_source=customer.default_source) == status
    assert (
        subscribe(default_source=customer.default_source, default_payment_method=method.id)
        == "active"
    )
    assert api.customers.update(customer.id, {"default_source": good.id}).default_source == good.id


def test_a_subscriptions_source_is_expanded_changed_and_unset(api: Any, shop: Shop) -> None:
    customer = api.customers.create({"source": "btok_us_verified"})
    subscription = shop.subscription(customer, default_source=customer.default_source)
    found = api.customers.retrieve(customer.id, {"expand": SYNC_EXPAND})
    assert found.subscriptions.data[0].default_source.last4 == "6789"
    other = shop.customer()
    with pytest.raises(stripe.InvalidRequestError, match="No such source"):
        shop.subscription(other, default_source=customer.default_source)
    with pytest.raises(stripe.InvalidRequestError, match="No such source"):
        api.customers.update(other.id, {"default_source": customer.default_source})
    unset = api.subscriptions.update(subscription.id, {"default_source": ""})
    assert unset.default_source is None


def test_a_deleted_source_hands_the_default_to_another(api: Any) -> None:
    customer = api.customers.create({"source": "tok_visa"})
    second = api.customers.payment_sources.create(customer.id, {"source": "btok_us_verified"})
    listed = api.customers.payment_sources.list(customer.id)
    assert {each.id for each in listed} == {customer.default_source, second.id}
    api.customers.payment_sources.delete(customer.id, customer.default_source)
    assert api.customers.retrieve(customer.id).default_source == second.id
    api.customers.payment_sources.delete(customer.id, second.id)
    assert api.customers.retrieve(customer.id).default_source is None
    types = [event.type for event in api.events.list()]
    assert types.count("customer.source.created") == types.count("customer.source.deleted") == 2
    assert types.count("customer.updated") == 2
    api.customers.payment_sources.create(customer.id, {"source": "tok_visa"})
    api.customers.delete(customer.id)
    with pytest.raises(stripe.InvalidRequestError):
        api.customers.payment_sources.list(customer.id)


def test_the_portal_shows_a_method_that_is_no_card(shop: Shop, browser: httpx.Client) -> None:
    page = browser.get(shop.portal(shop.customer("pm_success_at").id).url)
    assert "Sepa debit" in page.text
    assert "•••• 3201" in page.text


def test_an_update_of_a_payment_method_has_an_event_with_what_it_was(api: Any, shop: Shop) -> None:
    method = api.payment_methods.attach("pm_card_visa", {"customer": shop.customer(card=None).id})
    api.payment_methods.update(method.id, {"card": {"exp_month": 1, "exp_year": 2031}})
    (event,) = api.events.list({"type": "payment_method.updated"}).data
    assert event.data.object["card"]["exp_year"] == 2031
    before = event.data.previous_attributes.to_dict()
    assert before == {"card": {"exp_month": 12, "exp_year": 2034}}
    api.payment_methods.update(method.id, {"card": {"exp_month": 1, "exp_year": 2031}})
    assert len(api.events.list({"type": "payment_method.updated"}).data) == 1
