"""Objects have exactly the fields and types that Stripe's libraries declare."""

from __future__ import annotations

import stripe

from local.stripe_simulator import library, routes
from local.stripe_simulator.fields import TABLE, completed
from tests.unit.stripe_simulator.shapes import check


def test_the_check_finds_a_wrong_field() -> None:
    shape = {"id": "feat_1", "object": "entitlements.feature", "active": 1, "extra": None}
    found = check(shape)
    assert "entitlements.feature.extra: not declared" in found
    assert "entitlements.feature.active: 1 is no bool" in found
    assert "entitlements.feature.lookup_key: missing" in found


def test_every_endpoint_returns_an_object_that_the_library_knows() -> None:
    unknown = [route.path for route in routes.ROUTES if library.object_class(route.returns) is None]
    assert unknown == []


def test_the_newest_version_is_the_librarys() -> None:
    assert stripe.api_version == library.CURRENT_VERSION
    assert TABLE["api_version"] == library.CURRENT_VERSION


def test_the_check_finds_a_missing_field_and_a_null_where_there_is_none() -> None:
    plan = completed({"id": "price_1", "object": "plan", "created": None})
    found = check(plan)
    assert "plan.usage_type: missing" in found
    assert "plan.created: null" in found
    assert not any("meter" in each for each in found)


def test_only_a_field_that_stripe_always_sends_is_completed_with_null() -> None:
    paid = completed(
        {"id": "in_1", "object": "invoice", "parent": {}, "lines": [{"object": "line_item"}]}
    )
    assert paid["number"] is None
    assert paid["parent"] == {
        "quote_details": None,
        "subscription_details": None,
    }
    assert paid["lines"][0]["quantity"] is None
    assert "auto_advance" not in paid
    assert completed({"id": "cus_1", "object": "customer", "deleted": True}) == {
        "id": "cus_1",
        "object": "customer",
        "deleted": True,
    }
