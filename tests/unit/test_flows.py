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
        with pytest.raises(BadRequest, match=f"flow.{name} is missing"):
            check_fields(incomplete)
    others = {name for each in FLOWS.values() for name in (*each.required, *each.optional)}
    for name in others - {*FLOWS[kind].required, *FLOWS[kind].optional}:
        with pytest.raises(BadRequest, match=f"flow.{name} does not belong"):
            check_fields(flow(kind, **{name: "x"}))


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ({"type": "redirect"}, "return_url is missing"),
        ({"type": "redirect", "return_url": "u", "custom_message": "x"}, "custom_message does not"),
        ({"type": "portal_homepage", "return_url": "u"}, "return_url does not belong"),
        ({"type": "hosted_confirmation", "return_url": "u"}, "return_url does not belong"),
    ],
)
def test_after_completion_has_the_fields_of_its_type(after: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        check_fields(flow("customer_update", after_completion=after))


def test_each_kind_of_coupon_has_its_own_list() -> None:
    check_coupons(flow("subscription_cancel", retention={"coupon": "STAY"}), CONFIGURATION)
    check_coupons({"discounts": [{"coupon": "SPRING"}]}, CONFIGURATION)
    with pytest.raises(BadRequest, match="retention_coupons"):
        check_coupons({"retention": {"coupon": "SPRING"}}, CONFIGURATION)
    with pytest.raises(BadRequest, match="promotion_codes"):
        check_coupons({"discounts": [{"promotion_code": "SPRING"}]}, CONFIGURATION)


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
    with pytest.raises(NotFound, match="no such item"):
        flow_data(foreign, subscription(), str)
