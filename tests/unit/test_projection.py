"""The projection of Stripe's state: subscriptions, items, quantities, grace, profile."""

from __future__ import annotations

from typing import Any

from billing.model import Billing, Item, PaymentMethod, ProductGrant, TaxId
from billing.projection import StripeState, products_in_grace, project
from tests.unit.stripe_objects import DAY, NOW, POLICY, customer, entitlements, item, subscription

SLACK = POLICY.renewal_slack


def projected(**state: Any) -> Billing:
    state.setdefault("customer", customer())
    return project(StripeState(as_of=NOW, **state), POLICY, "user_id")


def test_products_are_the_union_over_all_items_of_all_subscriptions_that_give_access() -> None:
    billing = projected(
        subscriptions=[
            subscription(items=[item("prod_a"), item("prod_b")]),
            subscription(id="sub_2", items=[item("prod_c")]),
            subscription("unpaid", id="sub_3", items=[item("prod_d")]),
        ]
    )
    assert set(billing.products) == {"prod_a", "prod_b", "prod_c"}


def test_quantities_of_one_product_add_up_and_the_latest_until_counts() -> None:
    billing = projected(
        subscriptions=[
            subscription(items=[item("prod_seat", quantity=3)]),
            subscription(
                id="sub_2",
                items=[item("prod_seat", quantity=4, ends=NOW + 90 * DAY)],
            ),
        ]
    )
    assert billing.products == {"prod_seat": ProductGrant(quantity=7, until=NOW + 90 * DAY + SLACK)}


def test_a_metered_item_without_quantity_counts_as_one() -> None:
    billing = projected(subscriptions=[subscription(items=[item(quantity=None)])])
    assert billing.products["prod_team"].quantity == 1


def test_features_are_all_active_entitlements() -> None:
    keys = [f"feature-{number}" for number in range(130)]
    billing = projected(subscriptions=[subscription()], active_entitlements=entitlements(*keys))
    assert set(billing.features) == set(keys)


def test_features_last_as_long_as_the_longest_subscription_that_gives_access() -> None:
    billing = projected(
        subscriptions=[
            subscription(cancel_at=NOW + DAY),
            subscription(id="sub_2", items=[item("prod_b", ends=NOW + 60 * DAY)]),
        ],
        active_entitlements=entitlements("sso"),
    )
    assert billing.features == {"sso": NOW + 60 * DAY + SLACK}


def test_without_any_subscription_that_gives_access_no_entitlement_counts() -> None:
    billing = projected(
        subscriptions=[subscription("unpaid")], active_entitlements=entitlements("sso")
    )
    assert billing.features == {}
    assert billing.products == {}


def test_the_end_of_one_subscription_revokes_nothing_that_another_one_grants() -> None:
    both = [subscription(), subscription(id="sub_2")]
    before = projected(subscriptions=both, active_entitlements=entitlements("sso"))
    after = projected(subscriptions=both[:1], active_entitlements=entitlements("sso"))
    assert before.products["prod_team"].quantity == 2
    assert after.products["prod_team"].quantity == 1
    assert after.features == before.features


def test_in_grace_the_features_of_the_products_are_added_to_stripes_entitlements() -> None:
    unpaid = {"status": "open", "created": NOW}
    past_due = subscription("past_due", latest_invoice=unpaid)
    billing = projected(
        subscriptions=[past_due], product_features={"prod_team": ["sso", "audit-log"]}
    )
    assert billing.features == {"sso": NOW + 7 * DAY, "audit-log": NOW + 7 * DAY}
    assert products_in_grace([past_due, subscription(items=[item("prod_x")])]) == {"prod_team"}


def test_a_feature_from_two_subscriptions_keeps_the_later_end() -> None:
    unpaid = {"status": "open", "created": NOW}
    billing = projected(
        subscriptions=[
            subscription("past_due", latest_invoice=unpaid),
            subscription(id="sub_2", items=[item("prod_b")]),
        ],
        product_features={"prod_team": ["sso", "only-in-grace"]},
        active_entitlements=entitlements("sso"),
    )
    assert billing.features["sso"] == NOW + 30 * DAY + SLACK
    assert billing.features["only-in-grace"] == NOW + 7 * DAY


def test_a_subscription_is_kept_with_its_effective_end_and_all_its_items() -> None:
    billing = projected(
        subscriptions=[
            subscription(
                "trialing",
                trial_end=NOW + 14 * DAY,
                cancel_at_period_end=True,
                items=[item("prod_a"), item("prod_b", quantity=5)],
            )
        ]
    )
    (kept,) = billing.subscriptions
    assert kept.status == "trialing"
    assert kept.trial_end == NOW + 14 * DAY
    assert kept.cancel_at == kept.current_period_end == kept.until == NOW + 30 * DAY
    assert kept.items == (
        Item(price="price_prod_a", product="prod_a", lookup_key="prod_a_monthly", quantity=1),
        Item(price="price_prod_b", product="prod_b", lookup_key="prod_b_monthly", quantity=5),
    )


def test_a_subscription_that_gives_no_access_is_kept_without_until() -> None:
    billing = projected(subscriptions=[subscription("paused")])
    assert billing.subscriptions[0].until is None


def test_an_expanded_product_is_read_by_its_id() -> None:
    expanded = item()
    expanded["price"]["product"] = {"id": "prod_expanded", "object": "product"}
    assert set(projected(subscriptions=[subscription(items=[expanded])]).products) == {
        "prod_expanded"
    }


def test_the_profile_has_the_default_card_the_tax_ids_and_the_delinquency() -> None:
    card = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030}
    billing = projected(
        customer=customer(
            delinquent=True,
            metadata={"user_id": "user-7"},
            invoice_settings={"default_payment_method": {"type": "card", "card": card}},
        ),
        tax_ids=[
            {"id": "txi_1", "type": "eu_vat", "value": "X", "verification": {"status": "verified"}},
            {"id": "txi_2", "type": "us_ein", "value": "Y", "verification": None},
        ],
    )
    assert billing.payment_method == PaymentMethod(
        brand="visa", last4="4242", exp_month=12, exp_year=2030
    )
    assert billing.tax_ids == (
        TaxId(type="eu_vat", status="verified"),
        TaxId(type="us_ein", status=None),
    )
    assert billing.delinquent
    assert billing.claimed_subject == "user-7"


def test_a_payment_method_that_is_not_a_card_is_kept_by_its_type() -> None:
    billing = projected(
        customer=customer(invoice_settings={"default_payment_method": {"type": "sepa_debit"}})
    )
    assert billing.payment_method == PaymentMethod(
        brand="sepa_debit", last4=None, exp_month=None, exp_year=None
    )


def test_the_card_of_a_subscription_is_the_payment_method_if_the_customer_has_none() -> None:
    card = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030}
    bought = subscription(default_payment_method={"type": "card", "card": card})
    method = projected(subscriptions=[subscription(), bought]).payment_method
    assert method is not None
    assert method.last4 == "4242"
    own = {"type": "card", "card": {**card, "last4": "1111"}}
    both = projected(
        customer=customer(invoice_settings={"default_payment_method": own}), subscriptions=[bought]
    )
    assert both.payment_method is not None
    assert both.payment_method.last4 == "1111"


def test_a_deleted_customer_projects_to_a_tombstone() -> None:
    deleted = {"id": "cus_1", "object": "customer", "deleted": True}
    assert projected(customer=deleted) == Billing(deleted=True)
