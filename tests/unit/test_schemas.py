"""Request bodies: each error names the field and what is allowed."""

from __future__ import annotations

from typing import Any

import fastjsonschema
import pytest

from billing.checkout.sessions import REQUEST_SCHEMA as CHECKOUT
from billing.contract import ROUTES, responses_of
from billing.errors import BadRequest
from billing.portal.sessions import REQUEST_SCHEMA as PORTAL
from billing.schemas import checker, object_schema


def flow(**fields: Any) -> dict[str, Any]:
    return {"flow": {"type": "subscription_update_confirm", **fields}}


@pytest.mark.parametrize(
    ("schema", "body", "sentence"),
    [
        (
            PORTAL,
            {"returnUrl": "x"},
            "Unknown field returnUrl; allowed: return_url, locale, configuration, flow.",
        ),
        (
            PORTAL,
            flow(subscripton="x"),
            (
                "Unknown field flow.subscripton; allowed: type, subscription, items, discounts, "
                "retention, after_completion."
            ),
        ),
        (PORTAL, [], "The body must be an object."),
        (PORTAL, {"return_url": None}, "Field return_url must be a string."),
        (PORTAL, {"return_url": ""}, "Field return_url must not be empty."),
        (PORTAL, {"flow": {}}, "Field flow.type is missing."),
        (PORTAL, flow(items={}), "Field flow.items must be a list."),
        (PORTAL, flow(items=[]), "Field flow.items must have exactly one entry."),
        (PORTAL, flow(items=[{"id": "a"}] * 2), "Field flow.items must have exactly one entry."),
        (PORTAL, flow(items=[{}]), "Field flow.items.0.id is missing."),
        (
            PORTAL,
            flow(items=[{"id": "a/b"}]),
            (
                "Field flow.items.0.id must be an id or a lookup key: letters, digits and "
                "_ - . : only, at most 255."
            ),
        ),
        (
            PORTAL,
            flow(items=[{"id": "a", "quantity": 1_000_000}]),
            "Field flow.items.0.quantity must be a number from 0 to 999999.",
        ),
        (
            PORTAL,
            flow(discounts=[{"coupon": "a", "promotion_code": "b"}]),
            "Field flow.discounts.0 must have exactly one entry.",
        ),
        (
            PORTAL,
            flow(after_completion={"type": "elsewhere"}),
            (
                "Field flow.after_completion.type must be one of: hosted_confirmation, "
                "portal_homepage, redirect."
            ),
        ),
        (object_schema("Two.", a={}, b={}), {"a": 1}, "Field b is missing."),
        (CHECKOUT, {}, "Field price is missing."),
        (
            CHECKOUT,
            {"price": "x", "quantity": 0},
            "Field quantity must be a number from 1 to 999999.",
        ),
        (CHECKOUT, {"price": "x" * 256}, "Field price must have at most 255 characters."),
        (
            CHECKOUT,
            {"price": "x", "quantity": True},
            "Field quantity must be a whole number.",
        ),
        (
            CHECKOUT,
            {"price": "x", "quantity": 1_000_000},
            "Field quantity must be a number from 1 to 999999.",
        ),
    ],
)
def test_an_error_names_the_field_and_what_is_allowed(
    schema: dict[str, Any], body: Any, sentence: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        checker(schema)(body)
    assert refused.value.detail == sentence


def test_a_valid_body_is_returned() -> None:
    body = {"price": "team_monthly", "quantity": 999_999}
    assert checker(CHECKOUT)(body) is body


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_the_example_of_a_route_matches_its_schema(route: Any) -> None:
    if route.request is not None:
        fastjsonschema.validate(route.request, route.body)
    assert {500, 503} <= set(responses_of(route))
