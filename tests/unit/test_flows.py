"""Portal flows: their fields, their refusals, and Stripe's flow_data."""

from __future__ import annotations

from typing import Any

import pytest

from billing.configuration.file import Checkout, Configuration
from billing.errors import BadRequest, NotFound, StateConflict
from billing.portal.flows import FLOWS, check_coupons, check_fields, check_possible, flow_data

CONFIGURATION = Configuration(
    configurations=(),
    checkout=Checkout(),
    retention_coupons=frozenset({"STAY"}),
    coupons=frozenset({"SPRING"}),
)
REQUIRED: dict[str, Any] = {"subscription": "sub_1", "items": [{"id": "si_1"}]}


def flow(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **{name: REQUIRED[name] for name in FLOWS[kind].required}, **fields}


def subscription(**fields: Any) -> dict[str, Any]:
    price = {"id": "price_1", "recurring": {"usage_type": "licensed"}}
    return {
        "id": "sub_1",
        "status": "active",
        "cancel_at": None,
        "items": {"data": [{"id": "si_1", "price": price}]},
        **fields,
    }


@pytest.mark.parametrize("kind", FLOWS)
def test_a_flow_requires_its_own_fields_and_refuses_those_of_others(kind: str) -> None:
    check_fields(flow(kind))
    for name in FLOWS[kind].required:
        incomplete = {key: value for key, value in flow(kind).items() if key != name}
        missing = rf"^Field flow\.{name} is missing; the flow {kind} requires it\.$"
        with pytest.raises(BadRequest, match=missing):
            check_fields(incomplete)
    others = {name for each in FLOWS.values() for name in (*each.required, *each.optional)}
    for name in others - {*FLOWS[kind].required, *FLOWS[kind].optional}:
        with pytest.raises(BadRequest, match=f"flow.{name} does not belong"):
            check_fields(flow(kind, **{name: "x"}))


def test_a_field_of_another_flow_is_refused_with_those_that_are_allowed() -> None:
    with pytest.raises(BadRequest) as refused:
        check_fields(flow("subscription_cancel", discounts=[]))
    assert refused.value.detail == (
        "Field flow.discounts does not belong to the flow subscription_cancel; allowed: "
        "type, subscription, retention, after_completion."
    )


def belongs(name: str, kind: str) -> str:
    return f"Field flow.after_completion.{name} does not belong to the type {kind}."


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (
            {"type": "redirect"},
            "Field flow.after_completion.return_url is missing; the type redirect requires it.",
        ),
        (
            {"type": "redirect", "return_url": "u", "custom_message": "x"},
            belongs("custom_message", "redirect"),
        ),
        (
            {"type": "portal_homepage", "return_url": "u"},
            belongs("return_url", "portal_homepage"),
        ),
        (
            {"type": "hosted_confirmation", "return_url": "u"},
            belongs("return_url", "hosted_confirmation"),
        ),
    ],
)
def test_after_completion_has_the_fields_of_its_type(after: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_fields(flow("customer_update", after_completion=after))
    assert refused.value.detail == message


def test_each_kind_of_coupon_has_its_own_list() -> None:
    check_coupons(flow("subscription_cancel", retention={"coupon": "STAY"}), CONFIGURATION)
    check_coupons({"discounts": [{"coupon": "SPRING"}]}, CONFIGURATION)
    for refused, kind in (
        ({"retention": {"coupon": "SPRING"}}, "retention_coupons"),
        ({"discounts": [{"coupon": "STAY"}]}, "coupons"),
        ({"discounts": [{"promotion_code": "SPRING"}]}, "promotion_codes"),
    ):
        where = rf"' is not one of the {kind} in the deployment's portcullis\.toml\.$"
        with pytest.raises(BadRequest, match=where):
            check_coupons(refused, CONFIGURATION)


METERED = {"id": "price_2", "recurring": {"usage_type": "metered"}}
SCHEDULED = "A change of this subscription is already scheduled."


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("subscription_cancel", {"status": "canceled"}, "This subscription has ended."),
        (
            "subscription_cancel",
            {"cancel_at": 0},
            "This subscription is already scheduled to end at 1970-01-01T00:00:00Z.",
        ),
        ("subscription_pause", {"status": "paused"}, "This subscription is already paused."),
        ("subscription_pause", {"schedule": "sub_sched_1"}, SCHEDULED),
        ("subscription_update", {"schedule": "sub_sched_1"}, SCHEDULED),
        (
            "subscription_update",
            {"items": {"data": subscription()["items"]["data"] * 2}},
            "This subscription has several products; the portal changes those with one only.",
        ),
        (
            "subscription_update_confirm",
            {"items": {"data": [{"id": "si_1", "price": METERED}]}},
            "This subscription is billed by usage; the portal cannot change it.",
        ),
        (
            "subscription_update",
            {"pending_update": {"expires_at": 1}},
            "A change of this subscription is still waiting for its payment.",
        ),
    ],
)
def test_a_flow_that_the_portal_would_refuse_is_refused_with_the_reason(
    kind: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(StateConflict) as refused:
        check_possible(flow(kind), subscription(**fields))
    assert refused.value.detail == message


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("subscription_cancel", {"schedule": "sub_sched_1"}),
        ("subscription_cancel", {"status": "paused", "pending_update": {"expires_at": 1}}),
        ("subscription_update", {"status": "paused", "cancel_at": 1}),
        ("subscription_pause", {"pending_update": {"expires_at": 1}, "cancel_at": 1}),
    ],
)
def test_what_stops_one_flow_does_not_stop_the_others(kind: str, fields: dict[str, Any]) -> None:
    check_possible(flow(kind), subscription(**fields))


@pytest.mark.parametrize("kind", [kind for kind in FLOWS if "subscription" in kind])
def test_a_flow_on_a_subscription_that_has_ended_is_refused(kind: str) -> None:
    check_possible(flow(kind), subscription())
    with pytest.raises(StateConflict, match="has ended"):
        check_possible(flow(kind), subscription(status="canceled"))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"type": "portal_homepage"}, {"type": "portal_homepage"}),
        ({"type": "hosted_confirmation"}, {"type": "hosted_confirmation"}),
        (
            {"type": "hosted_confirmation", "custom_message": "Bye"},
            {"type": "hosted_confirmation", "hosted_confirmation": {"custom_message": "Bye"}},
        ),
        (
            {"type": "redirect", "return_url": "u"},
            {"type": "redirect", "redirect": {"return_url": "u"}},
        ),
    ],
)
def test_after_completion_is_converted_to_stripes_shape(
    after: dict[str, Any], expected: dict[str, Any]
) -> None:
    data = flow_data(flow("customer_update", after_completion=after), None, str)
    assert data == {"type": "customer_update", "after_completion": expected}


def test_an_item_must_belong_to_the_subscription_and_its_price_can_be_a_lookup_key() -> None:
    confirmed = flow("subscription_update_confirm", items=[{"id": "si_1", "price": "team"}])
    data = flow_data(confirmed, subscription(), lambda name: f"price_of_{name}")
    items = data["subscription_update_confirm"]["items"]
    assert items == [{"id": "si_1", "price": "price_of_team"}]
    foreign = flow("subscription_update_confirm", items=[{"id": "si_2"}])
    with pytest.raises(NotFound, match=r"^Your subscription has no such item\.$"):
        flow_data(foreign, subscription(), str)
