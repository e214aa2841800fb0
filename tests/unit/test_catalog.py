"""The catalog: from Stripe's prices to the public response."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing import catalog, http
from billing.keys import CATALOG, DocumentKey
from billing.sync_request import SyncRequest


def price(
    price_id: str = "price_1", product: str = "prod_team", says: str | None = None, **fields: Any
) -> dict[str, Any]:
    return {
        "id": price_id,
        "active": True,
        "lookup_key": f"{price_id}_key",
        "currency": "eur",
        "unit_amount": 2400,
        "recurring": {"interval": "month", "interval_count": 1},
        "product": {"id": product, "active": True, "name": "Team", "description": says},
        **fields,
    }


def attached(lookup_key: str) -> dict[str, Any]:
    return {
        "id": "pf",
        "entitlement_feature": {"lookup_key": lookup_key, "name": f"The {lookup_key}"},
    }


def test_a_product_has_its_texts_and_all_its_prices_and_features() -> None:
    document = catalog.content(
        [price("price_m", says="For teams"), price("price_y"), price("price_s", "prod_starter")],
        {"prod_team": [attached("api_access"), attached("audit_log")]},
    )
    team, starter = catalog.response(document, {"price_m_key", "price_y", "price_s_key"})[
        "products"
    ]
    texts = [(each["id"], each["name"], each["description"]) for each in (team, starter)]
    assert texts == [("prod_team", "Team", "For teams"), ("prod_starter", "Team", None)]
    assert team["features"] == [
        {"lookup_key": "api_access", "name": "The api_access"},
        {"lookup_key": "audit_log", "name": "The audit_log"},
    ]
    assert [each["id"] for each in team["prices"]] == ["price_m", "price_y"]
    assert team["prices"][0] == {
        "id": "price_m",
        "lookup_key": "price_m_key",
        "currency": "eur",
        "unit_amount": 2400,
        "interval": "month",
        "interval_count": 1,
    }
    assert starter["features"] == []


@pytest.mark.parametrize(
    "unsold",
    [
        price(recurring=None),
        price() | {"product": {"id": "prod_team", "active": False, "name": "Team"}},
        price() | {"product": {"id": "prod_team", "deleted": True}},
    ],
    ids=["one-off", "archived product", "deleted product"],
)
def test_a_price_that_no_subscription_can_use_is_left_out(unsold: dict[str, Any]) -> None:
    assert catalog.content([unsold], {}) == {"products": []}
    assert catalog.content([unsold, price()], {}) == catalog.content([price()], {})


def test_a_price_that_is_no_longer_listed_is_left_out() -> None:
    document = catalog.content([price("price_m"), price("price_y")], {})
    (team,) = catalog.response(document, {"price_y_key"})["products"]
    assert [each["id"] for each in team["prices"]] == ["price_y"]
    assert catalog.response(document, set()) == {"products": []}


def test_before_the_first_event_nothing_is_for_sale() -> None:
    assert catalog.response({}, {"price_m_key"}) == {"products": []}


def test_numbers_from_dynamodb_and_prices_with_tiers_can_be_serialized() -> None:
    document = catalog.content([price("price_m"), price("price_t", unit_amount=None)], {})
    first, _ = document["products"][0]["prices"]
    first["unit_amount"], first["interval_count"] = Decimal(2400), Decimal(1)
    (team,) = catalog.response(document, {"price_m", "price_t"})["products"]
    assert http.respond(200, team)["statusCode"] == 200
    assert [each["unit_amount"] for each in team["prices"]] == [2400, None]


def test_features_of_returns_the_features_of_the_given_products() -> None:
    document = catalog.content(
        [price("price_m"), price("price_s", "prod_starter")],
        {"prod_team": [attached("audit_log")], "prod_starter": [attached("projects")]},
    )
    assert catalog.features_of(document, ["prod_team", "prod_unknown"]) == {"audit_log"}


def test_a_deploy_can_request_the_catalog_without_an_event() -> None:
    requested = SyncRequest.deploy(DocumentKey(CATALOG, "live"), up_to=7)
    assert requested.key.pk == "CATALOG#live"
    assert SyncRequest.from_message(requested.to_message()) == requested


def request(**headers: str) -> http.Request:
    return http.Request({"headers": headers})


def test_the_response_can_be_cached_and_is_not_sent_again_while_it_is_unchanged() -> None:
    first = http.cacheable(request(), {"products": []}, max_age=60)
    assert first["headers"]["cache-control"] == "public, max-age=60"
    tag = first["headers"]["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = http.cacheable(request(**{"If-None-Match": known}), {"products": []}, max_age=60)
        assert again["statusCode"] == 304
        assert "body" not in again
        assert again["headers"]["etag"] == tag
    changed = http.cacheable(request(**{"If-None-Match": tag}), {"products": [1]}, max_age=60)
    assert changed["statusCode"] == 200
    assert changed["headers"]["etag"] != tag
