"""The entitlement responses for an unchanged row as time passes."""

from __future__ import annotations

from billing.keys import CustomerKey
from billing.model import Billing, CustomerRow, PaymentMethod, ProductGrant, Subscription
from billing.responses import entitlement, entitlements, iso
from tests.unit.stripe_objects import DAY, NOW

ROW = CustomerRow(
    key=CustomerKey("own", "test", "cus_1"),
    revision=3,
    as_of=NOW,
    subject="user-1",
    billing=Billing(
        features={"sso": NOW + DAY, "api": NOW + 2 * DAY},
        products={"prod_a": ProductGrant(quantity=5, until=NOW + DAY)},
        subscriptions=(
            Subscription(
                id="sub_1",
                status="active",
                until=NOW + DAY,
                cancel_at=NOW + DAY,
                current_period_end=NOW + DAY,
                trial_end=None,
                items=(),
            ),
        ),
        payment_method=PaymentMethod(brand="visa", last4="4242", exp_month=1, exp_year=2030),
    ),
)


def test_an_entitlement_past_its_until_is_left_out() -> None:
    before = entitlements("user-1", ROW, NOW + DAY - 1)
    after = entitlements("user-1", ROW, NOW + DAY)
    assert set(before["features"]) == {"sso", "api"}
    assert before["products"] == {"prod_a": {"quantity": 5, "until": iso(NOW + DAY)}}
    assert set(after["features"]) == {"api"}
    assert after["products"] == {}


def test_a_subscription_gives_access_only_until_its_end() -> None:
    assert entitlements("u", ROW, NOW)["subscriptions"][0]["gives_access"] is True
    assert entitlements("u", ROW, NOW + DAY)["subscriptions"][0]["gives_access"] is False


def test_valid_until_is_the_earliest_until_in_the_response() -> None:
    assert entitlements("u", ROW, NOW)["valid_until"] == iso(NOW + DAY)
    assert entitlements("u", ROW, NOW + DAY)["valid_until"] == iso(NOW + 2 * DAY)
    assert entitlements("u", ROW, NOW + 2 * DAY)["valid_until"] is None


def test_a_feature_is_entitled_only_before_its_until() -> None:
    assert entitlement("sso", ROW, NOW) == {
        "feature": "sso",
        "entitled": True,
        "until": iso(NOW + DAY),
    }
    assert entitlement("sso", ROW, NOW + DAY) == {"feature": "sso", "entitled": False}
    assert entitlement("unknown", ROW, NOW) == {"feature": "unknown", "entitled": False}


def test_a_subject_without_a_customer_is_entitled_to_nothing() -> None:
    response = entitlements("user-2", None, NOW)
    assert response["customer"] is None
    assert response["features"] == {}
    assert response["products"] == {}
    assert entitlement("sso", None, NOW)["entitled"] is False


def test_times_are_iso_8601_in_utc() -> None:
    assert iso(0) == "1970-01-01T00:00:00Z"
    assert iso(None) is None
