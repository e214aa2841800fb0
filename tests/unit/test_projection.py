"""From Stripe's objects to facts: subscriptions, debts, payment methods, profile, claims."""

from __future__ import annotations

from typing import Any

import pytest

from billing.debt import bills
from billing.facts import Debt, Facts, Grant, Item, PaymentMethod, Subscription, TaxId
from billing.projection import Invoices, Projected, StripeState, project
from tests.unit.stripe_objects import (
    DAY,
    NOW,
    customer,
    entitlements,
    invoice,
    item,
    line,
    subscription,
)

END = NOW + 30 * DAY
CARD = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030}


def method(kind: str = "card", **details: Any) -> dict[str, Any]:
    return {"object": "payment_method", "type": kind, kind: {**CARD, **details}}


def projected(**state: Any) -> Projected:
    state.setdefault("customer", customer())
    return project(StripeState(date=NOW, **state), "user_id")


def facts(**state: Any) -> Facts:
    return projected(**state).facts


def only(**state: Any) -> Subscription:
    (found,) = facts(**state).subscriptions
    return found


def test_a_subscription_keeps_its_status_its_end_its_trial_and_all_its_items() -> None:
    kept = only(
        subscriptions=[
            subscription(
                "trialing",
                trial_end=NOW + 14 * DAY,
                pause_collection={"behavior": "void"},
                items=[item("prod_a"), item("prod_b", quantity=5), item("prod_c", quantity=None)],
            )
        ]
    )
    assert kept == Subscription(
        id="sub_1",
        status="trialing",
        trial_end=NOW + 14 * DAY,
        collection_paused=True,
        items=tuple(
            Item(
                price=f"price_{product}",
                product=product,
                lookup_key=f"{product}_monthly",
                quantity=quantity,
                period_end=END,
            )
            for product, quantity in (("prod_a", 1), ("prod_b", 5), ("prod_c", None))
        ),
    )
    assert kept.current_period_end == END


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"cancel_at": NOW + DAY}, NOW + DAY),
        ({"cancel_at_period_end": True}, END),
        ({"cancel_at": NOW + DAY, "cancel_at_period_end": True}, NOW + DAY),
        ({"cancel_at": NOW + 330 * DAY, "cancel_at_period_end": True}, END),
        ({}, None),
    ],
)
def test_the_scheduled_end_is_the_same_whichever_way_it_was_scheduled(
    fields: dict[str, Any], end: int | None
) -> None:
    assert only(subscriptions=[subscription(**fields)]).cancel_at == end


def test_the_scheduled_end_of_items_with_different_periods_is_the_latest_period_end() -> None:
    mixed = [
        item(ends=NOW + DAY),
        item("prod_x", ends=NOW + 9 * DAY),
        item("prod_y", ends=None),
    ]
    kept = only(subscriptions=[subscription(items=mixed, cancel_at_period_end=True)])
    assert kept.cancel_at == kept.current_period_end == NOW + 9 * DAY


def test_the_period_end_is_that_of_the_item_or_in_older_api_versions_of_the_subscription() -> None:
    old_shape = subscription(items=[item(ends=None)], current_period_end=NOW + 2 * DAY)
    assert only(subscriptions=[old_shape]).current_period_end == NOW + 2 * DAY
    scheduled = subscription(
        items=[item(ends=None)], current_period_end=NOW + 2 * DAY, cancel_at_period_end=True
    )
    assert only(subscriptions=[scheduled]).cancel_at == NOW + 2 * DAY
    without = subscription(items=[item(ends=None)], cancel_at_period_end=True)
    assert only(subscriptions=[without]).current_period_end is None
    assert only(subscriptions=[without]).cancel_at is None


def test_an_expanded_product_is_kept_by_its_id() -> None:
    expanded = item()
    expanded["price"]["product"] = {"id": "prod_expanded", "object": "product"}
    assert only(subscriptions=[subscription(items=[expanded])]).items[0].product == "prod_expanded"


def test_entitlements_and_the_features_of_products_are_kept_by_lookup_key() -> None:
    kept = facts(
        active_entitlements=entitlements("sso", "api"), product_features={"prod_a": ["sso"]}
    )
    assert kept.entitlements == ("sso", "api")
    assert kept.product_features == {"prod_a": ("sso",)}


# ---------------------------------------------------------------- debts


def debt(*invoices: dict[str, Any], metered: frozenset[str] = frozenset(), **fields: Any) -> Any:
    found = bills(invoices, ())
    lines = [each["_all_lines"] for each in found.paid]
    return only(
        subscriptions=[subscription("past_due", **fields)],
        invoices={"sub_1": Invoices(found, lines, metered)},
        customer=customer(invoice_settings={"default_payment_method": method("link")}),
    ).debt


def test_a_debt_has_its_start_the_method_it_is_charged_with_and_what_was_paid_for() -> None:
    paid = invoice("paid", line(quantity=5), line("prod_api", quantity=99), finalized=NOW - DAY)
    assert debt(invoice("open"), paid, metered=frozenset({"price_prod_api"})) == Debt(
        since=NOW,
        method="link",
        paid=(
            Item(price="price_prod_team", product="prod_team", quantity=5),
            Item(price="price_prod_api", product="prod_api", quantity=None),
        ),
    )


def test_the_subscriptions_own_method_is_charged_before_the_customers() -> None:
    own = debt(invoice("open"), default_payment_method=method("sepa_debit"))
    assert own.method == "sepa_debit"
    source = {"object": "bank_account", "last4": "6789"}
    assert debt(invoice("open"), default_source=source).method == "bank_account"


def test_without_any_invoice_the_last_period_began_the_debt() -> None:
    assert debt().since == NOW
    without_period = item()
    del without_period["current_period_start"]
    assert debt(items=[without_period]) is None
    older = item("prod_older") | {"current_period_start": NOW - DAY}
    assert debt(items=[older, item(), without_period]).since == NOW


def test_the_invoices_say_when_a_debt_began_whatever_the_period_is() -> None:
    assert debt(invoice("open", finalized=NOW - DAY)).since == NOW - DAY


# ---------------------------------------------------------------- payment methods


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (
            method(),
            PaymentMethod(type="card", brand="visa", last4="4242", exp_month=12, exp_year=2030),
        ),
        (
            {
                "object": "payment_method",
                "type": "sepa_debit",
                "sepa_debit": {"last4": "3000", "country": "DE"},
            },
            PaymentMethod(type="sepa_debit", last4="3000"),
        ),
        (
            {
                "object": "payment_method",
                "type": "us_bank_account",
                "us_bank_account": {"last4": "6789"},
            },
            PaymentMethod(type="us_bank_account", last4="6789"),
        ),
        (
            {"object": "payment_method", "type": "paypal", "paypal": {}},
            PaymentMethod(type="paypal"),
        ),
        ({"object": "payment_method", "type": "new_type"}, PaymentMethod(type="new_type")),
        (
            {"object": "card", **CARD},
            PaymentMethod(type="card", brand="visa", last4="4242", exp_month=12, exp_year=2030),
        ),
        (
            {"object": "bank_account", "last4": "6789", "bank_name": "B"},
            PaymentMethod(type="bank_account", last4="6789"),
        ),
        (
            {"object": "source", "type": "sepa_debit", "sepa_debit": {"last4": "3000"}},
            PaymentMethod(type="sepa_debit", last4="3000"),
        ),
    ],
    ids=lambda value: getattr(value, "type", None) or value.get("type") or value["object"],
)
def test_a_payment_method_is_kept_as_far_as_its_type_has_details(
    found: dict[str, Any], kept: PaymentMethod
) -> None:
    """A legacy source is kept the same way."""
    default = customer(invoice_settings={"default_payment_method": found})
    assert facts(customer=default).payment_method == kept
    assert facts(customer=customer(default_source=found)).payment_method == kept


def test_the_customers_default_comes_before_the_source_and_the_subscriptions() -> None:
    settings = {"default_payment_method": method(last4="1111")}
    source = {"object": "card", **CARD, "last4": "2222"}
    bought = subscription(default_payment_method=method(last4="3333"))

    def last4(**profile: Any) -> tuple[str | None, str | None]:
        found = facts(customer=customer(**profile), subscriptions=[bought])
        default, own = found.payment_method, found.subscriptions[0].payment_method
        return (default.last4 if default else None, own.last4 if own else None)

    assert last4(invoice_settings=settings, default_source=source) == ("1111", None)
    assert last4(default_source=source) == ("2222", None)
    assert last4() == (None, "3333")


def test_a_method_that_stripe_did_not_expand_is_none() -> None:
    assert facts(customer=customer(default_source="card_gone")).payment_method is None
    settings = {"default_payment_method": "pm_gone"}
    source = {"object": "card", **CARD}
    found = facts(customer=customer(invoice_settings=settings, default_source=source))
    assert found.payment_method is not None
    assert found.payment_method.last4 == "4242"


# ---------------------------------------------------------------- the profile


def test_the_profile_has_the_tax_ids_the_delinquency_the_clock_and_the_claim() -> None:
    kept = facts(
        customer=customer(
            delinquent=True,
            metadata={"user_id": "user-7", "user_id_issuer": "https://issuer/"},
            test_clock={"id": "clock_1", "frozen_time": NOW - DAY},
        ),
        tax_ids=[
            {"id": "txi_1", "type": "eu_vat", "value": "X", "verification": {"status": "verified"}},
            {"id": "txi_2", "type": "us_ein", "value": "Y", "verification": None},
        ],
    )
    assert kept.tax_ids == (TaxId(type="eu_vat", status="verified"), TaxId(type="us_ein"))
    assert kept.delinquent
    assert kept.test_clock == NOW - DAY
    assert (kept.claimed_subject, kept.claimed_issuer) == ("user-7", "https://issuer/")


def test_an_issuer_without_a_subject_claims_nothing() -> None:
    kept = facts(customer=customer(metadata={"user_id_issuer": "https://issuer/"}))
    assert (kept.claimed_subject, kept.claimed_issuer) == (None, None)


def test_grants_are_read_from_the_metadata_and_malformed_ones_are_named() -> None:
    found = projected(customer=customer(metadata={"grant.sso": "forever", "grant.api": "soon"}))
    assert [grant.feature for grant in found.facts.grants] == ["sso"]
    assert isinstance(found.facts.grants[0], Grant)
    assert found.malformed_grants == ("grant.api",)


def test_a_deleted_customer_projects_to_a_tombstone() -> None:
    deleted = {"id": "cus_1", "object": "customer", "deleted": True}
    assert facts(customer=deleted) == Facts(deleted=True)
