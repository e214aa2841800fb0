"""The entitlement responses for an unchanged row as time passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from billing.access import GRANT, SUBSCRIPTION
from billing.facts import Facts, Grant, Item, PaymentMethod, Subscription, TaxId
from billing.keys import CustomerKey
from billing.model import CustomerRow
from billing.responses import entitlement, entitlements, iso
from tests.unit.stripe_objects import DAY, NOW, POLICY

ROW = CustomerRow(
    key=CustomerKey("own", "test", "cus_1"),
    revision=3,
    as_of=NOW,
    subject="user-1",
    facts=Facts(
        subscriptions=(
            Subscription(
                id="sub_1",
                status="active",
                cancel_at=NOW + DAY,
                items=(
                    Item(price="price_a", product="prod_a", quantity=5, period_end=NOW + DAY),
                    Item(price="price_m", product="prod_m", period_end=NOW + DAY),
                ),
            ),
        ),
        entitlements=("sso",),
        grants=(Grant(feature="api", until=NOW + 2 * DAY),),
        payment_method=PaymentMethod(
            type="card", brand="visa", last4="4242", exp_month=1, exp_year=2030
        ),
    ),
)


def body(now: float) -> dict[str, Any]:
    return entitlements("user-1", ROW, POLICY, now)


def feature(name: str, now: float) -> dict[str, Any]:
    return entitlement(name, ROW, POLICY, now)


def test_the_body_is_the_whole_of_what_the_row_says() -> None:
    owing = replace(
        ROW.facts.subscriptions[0],
        id="sub_2",
        status="unpaid",
        cancel_at=None,
        trial_end=NOW - DAY,
        items=(Item(price="price_b", product="prod_b", lookup_key="team", quantity=0),),
    )
    facts = replace(
        ROW.facts,
        subscriptions=(*ROW.facts.subscriptions, owing),
        tax_ids=(TaxId(type="eu_vat", status="verified"), TaxId(type="us_ein")),
        delinquent=True,
    )
    day, days = iso(NOW + DAY), iso(NOW + 2 * DAY)
    assert entitlements("user-1", replace(ROW, facts=facts), POLICY, NOW) == {
        "subject": "user-1",
        "customer": "cus_1",
        "features": {
            "sso": {"until": day, "source": "subscription"},
            "api": {"until": days, "source": "grant"},
        },
        "products": {
            "prod_a": {"quantity": 5, "until": day},
            "prod_m": {"quantity": 1, "until": day},
        },
        "subscriptions": [
            {
                "id": "sub_1",
                "status": "active",
                "gives_access": True,
                "cancel_at": day,
                "current_period_end": day,
                "trial_end": None,
                "items": [
                    {"price": "price_a", "product": "prod_a", "lookup_key": None, "quantity": 5},
                    {"price": "price_m", "product": "prod_m", "lookup_key": None, "quantity": 1},
                ],
            },
            {
                "id": "sub_2",
                "status": "unpaid",
                "gives_access": False,
                "cancel_at": None,
                "current_period_end": None,
                "trial_end": iso(NOW - DAY),
                "items": [
                    {"price": "price_b", "product": "prod_b", "lookup_key": "team", "quantity": 0}
                ],
            },
        ],
        "payment_method": {
            "type": "card",
            "brand": "visa",
            "last4": "4242",
            "exp_month": 1,
            "exp_year": 2030,
        },
        "tax_ids": [
            {"type": "eu_vat", "status": "verified"},
            {"type": "us_ein", "status": None},
        ],
        "delinquent": True,
        "as_of": iso(NOW),
        "valid_until": day,
    }


def test_an_entitlement_past_its_until_is_left_out() -> None:
    before = body(NOW + DAY - 1)
    after = body(NOW + DAY)
    assert set(before["features"]) == {"sso", "api"}
    assert before["products"] == {
        "prod_a": {"quantity": 5, "until": iso(NOW + DAY)},
        "prod_m": {"quantity": 1, "until": iso(NOW + DAY)},
    }
    assert set(after["features"]) == {"api"}
    assert after["products"] == {}


def test_a_feature_names_what_gives_it() -> None:
    features = body(NOW)["features"]
    assert {name: given["source"] for name, given in features.items()} == {
        "sso": SUBSCRIPTION,
        "api": GRANT,
    }


def test_the_payment_method_has_its_type_and_a_metered_item_counts_as_one() -> None:
    assert body(NOW)["payment_method"] == {
        "type": "card",
        "brand": "visa",
        "last4": "4242",
        "exp_month": 1,
        "exp_year": 2030,
    }
    (subscription,) = body(NOW)["subscriptions"]
    assert [item["quantity"] for item in subscription["items"]] == [5, 1]


def test_a_subscription_gives_access_only_until_its_end() -> None:
    assert body(NOW)["subscriptions"][0]["gives_access"] is True
    assert body(NOW + DAY)["subscriptions"][0]["gives_access"] is False


def test_valid_until_is_the_earliest_until_in_the_response() -> None:
    assert body(NOW)["valid_until"] == iso(NOW + DAY)
    assert body(NOW + DAY)["valid_until"] == iso(NOW + 2 * DAY)
    assert body(NOW + 2 * DAY)["valid_until"] is None


def test_a_feature_is_entitled_only_before_its_until() -> None:
    assert feature("sso", NOW) == {
        "feature": "sso",
        "entitled": True,
        "until": iso(NOW + DAY),
    }
    assert feature("sso", NOW + DAY) == {"feature": "sso", "entitled": False}
    assert feature("unknown", NOW) == {"feature": "unknown", "entitled": False}


def test_a_subject_without_a_customer_is_entitled_to_nothing() -> None:
    assert entitlements("user-2", None, POLICY, NOW) == {
        "subject": "user-2",
        "customer": None,
        "features": {},
        "products": {},
        "subscriptions": [],
        "payment_method": None,
        "tax_ids": [],
        "delinquent": False,
        "as_of": None,
        "valid_until": None,
    }
    assert entitlement("sso", None, POLICY, NOW)["entitled"] is False


def test_times_are_iso_8601_in_utc() -> None:
    assert iso(0) == "1970-01-01T00:00:00Z"
    assert iso(1_790_000_000) == "2026-09-21T14:13:20Z"
    assert iso(None) is None
