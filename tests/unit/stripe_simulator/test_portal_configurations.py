"""A portal configuration over HTTP: an update keeps, sets or unsets each field, as at Stripe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import stripe

from tests.unit.stripe_simulator.conftest import Shop

OFF = {"enabled": False}
MONTH = {"interval": "month", "interval_count": 1}


def created(api: Any, **features: Any) -> Any:
    features = features or {"invoice_history": {"enabled": True}}
    return api.billing_portal.configurations.create({"features": features})


def updated(api: Any, made: Any, **features: Any) -> Any:
    found = api.billing_portal.configurations.update(made.id, {"features": features})
    return found.to_dict(for_json=True)["features"]


def test_a_field_that_an_update_omits_keeps_its_value(api: Any, shop: Shop) -> None:
    made = shop.portal_configuration(
        subscription_cancel={
            "enabled": True,
            "cancellation_reason": {
                "enabled": True,
                "options": ["other"],
                "feedback_options": ["fbo_1"],
            },
        },
    )
    before = made.to_dict(for_json=True)
    api.billing_portal.configurations.update(made.id, {"name": "main"})
    now = updated(api, made, subscription_cancel={"enabled": True})
    assert now == before["features"]
    assert now["subscription_cancel"]["cancellation_reason"]["feedback_options"] == ["fbo_1"]


def test_an_empty_string_unsets_a_list(api: Any, shop: Shop) -> None:
    made = shop.portal_configuration(
        subscription_cancel={
            "enabled": True,
            "cancellation_reason": {
                "enabled": True,
                "options": ["other"],
                "feedback_options": ["fbo_1"],
            },
        },
    )
    now = updated(
        api,
        made,
        subscription_cancel={"cancellation_reason": {"enabled": True, "feedback_options": ""}},
        subscription_update={"enabled": False, "products": "", "default_allowed_updates": ""},
    )
    fresh = created(api).to_dict(for_json=True)["features"]
    assert now["subscription_cancel"]["cancellation_reason"] == {
        "enabled": True,
        "options": ["other"],
        "feedback_options": [],
    }
    assert now["subscription_update"] == fresh["subscription_update"]


def test_an_empty_list_is_no_parameter_so_it_unsets_nothing(api: Any) -> None:
    made = created(api, customer_update={"enabled": True, "allowed_updates": ["email"]})
    now = updated(api, made, customer_update={"enabled": False, "allowed_updates": []})
    assert now["customer_update"] == {"enabled": False, "allowed_updates": ["email"]}


def test_a_pause_without_a_duration_lasts_one_month(api: Any) -> None:
    pause = created(api, subscription_pause={"enabled": True}).features.subscription_pause
    assert pause.to_dict(for_json=True) == {
        "enabled": True,
        "duration": {"type": "interval_options", "interval_options": [MONTH]},
    }


def test_the_duration_of_a_pause_is_kept_until_it_is_unset(api: Any) -> None:
    week = {"interval": "week", "interval_count": 2}
    offered = {"type": "interval_options", "interval_options": [week, {"interval": "month"}]}
    made = created(api, subscription_pause={"enabled": True, "duration": offered})
    kept = updated(api, made, subscription_pause={"enabled": True})
    assert kept["subscription_pause"]["duration"]["interval_options"] == [week, MONTH]
    unset = {"type": "indefinite", "interval_options": ""}
    now = updated(api, made, subscription_pause={"duration": unset})
    assert now["subscription_pause"] == {
        "enabled": True,
        "duration": {"type": "indefinite", "interval_options": []},
    }


def test_the_interval_options_of_a_pause_are_required_by_their_type(api: Any) -> None:
    pause = {"enabled": True, "duration": {"type": "interval_options"}}
    with pytest.raises(stripe.InvalidRequestError, match="Missing required param") as caught:
        created(api, subscription_pause=pause)
    assert caught.value.param == "features[subscription_pause][duration][interval_options]"


@pytest.mark.parametrize(
    ("change", "param", "most"),
    [
        ({"business_profile": {"headline": "h" * 61}}, "business_profile[headline]", 60),
        ({"name": "n" * 257}, "name", 256),
    ],
)
def test_a_text_that_is_too_long_is_a_400(
    api: Any, change: dict[str, Any], param: str, most: int
) -> None:
    configurations, features = api.billing_portal.configurations, {"customer_update": OFF}
    made = created(api)
    attempts: list[Callable[[], Any]] = [
        lambda: configurations.create({"features": features, **change}),
        lambda: configurations.update(made.id, change),
    ]
    for attempt in attempts:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            attempt()
        assert (caught.value.http_status, caught.value.param) == (400, param)
        assert f"must be at most {most} characters" in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"business_profile": {"headline": "h" * 60}}, {"name": "n" * 256}]
)
def test_the_longest_text_is_taken(api: Any, change: dict[str, Any]) -> None:
    api.billing_portal.configurations.update(created(api).id, change)
