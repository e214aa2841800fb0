"""A portal flow: from our flat request to Stripe's `flow_data`, and why a flow is refused. Pure.

Follows https://docs.stripe.com/customer-management/portal-deep-links. What the portal would refuse
is refused here, before the customer is sent there, as far as the subscription shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing.access import Standing, standing
from billing.configuration.file import Configuration
from billing.errors import BadRequest, NotFound, StateConflict
from billing.responses import iso
from billing.stripe_objects import MAX_QUANTITY, StripeObject, is_metered, scheduled_end


@dataclass(frozen=True, slots=True)
class Flow:
    """A type of flow: the portal feature it needs, the fields it requires, and those it allows."""

    feature: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


#: Every flow that can be requested, by Stripe's name for it.
FLOWS: Mapping[str, Flow] = {
    "payment_method_update": Flow("payment_method_update"),
    "customer_update": Flow("customer_update"),
    "subscription_cancel": Flow("subscription_cancel", ("subscription",), ("retention",)),
    "subscription_update": Flow("subscription_update", ("subscription",)),
    "subscription_update_confirm": Flow(
        "subscription_update", ("subscription", "items"), ("discounts",)
    ),
    "subscription_pause": Flow("subscription_pause", ("subscription",)),
}

#: The fields of `after_completion` that belong to each of its types.
_AFTER_COMPLETION: Mapping[str, tuple[str, ...]] = {
    "hosted_confirmation": ("custom_message",),
    "portal_homepage": (),
    "redirect": ("return_url",),
}

#: An id or a lookup key. No other character may become part of a path.
_ID = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,254}$",
    "description": "an id or a lookup key: letters, digits and _ - . : only, at most 255",
}

#: The `flow` of a portal session's request. `check_fields` refuses the fields of other types.
FLOW_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type"],
    "properties": {
        "type": {"enum": list(FLOWS)},
        "subscription": _ID,
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["id"],
                "properties": {
                    "id": _ID,
                    "price": _ID,
                    "quantity": {"type": "integer", "minimum": 0, "maximum": MAX_QUANTITY},
                },
            },
        },
        "discounts": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
                "properties": {"coupon": _ID, "promotion_code": _ID},
            },
        },
        "retention": {
            "type": "object",
            "additionalProperties": False,
            "required": ["coupon"],
            "properties": {"coupon": _ID},
        },
        "after_completion": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type"],
            "properties": {
                "type": {"enum": list(_AFTER_COMPLETION)},
                "custom_message": {"type": "string", "minLength": 1, "maxLength": 500},
                "return_url": {"type": "string", "minLength": 1},
            },
        },
    },
}


def check_fields(flow: Mapping[str, Any]) -> None:
    """Raise BadRequest where `flow` lacks a field that its type requires, or has another type's."""
    kind: str = flow["type"]
    required, optional = FLOWS[kind].required, FLOWS[kind].optional
    for name in required:
        if name not in flow:
            raise BadRequest(f"Field flow.{name} is missing; the flow {kind} requires it.")
    allowed = ("type", *required, *optional, "after_completion")
    for name in flow:
        if name not in allowed:
            raise BadRequest(
                f"Field flow.{name} does not belong to the flow {kind}; allowed: "
                f"{', '.join(allowed)}."
            )
    after = flow.get("after_completion", {})
    for name in after:
        if name != "type" and name not in _AFTER_COMPLETION[after["type"]]:
            raise BadRequest(
                f"Field flow.after_completion.{name} does not belong to the type {after['type']}."
            )
    if after.get("type") == "redirect" and "return_url" not in after:
        raise BadRequest(
            "Field flow.after_completion.return_url is missing; the type redirect requires it."
        )


def check_coupons(flow: Mapping[str, Any], configuration: Configuration) -> None:
    """Raise BadRequest for a coupon or promotion code that the deployment does not list."""
    named = [("retention_coupons", flow["retention"]["coupon"])] if "retention" in flow else []
    named += [
        (f"{kind}s", name) for each in flow.get("discounts", ()) for kind, name in each.items()
    ]
    for kind, name in named:
        if name not in getattr(configuration, kind):
            raise BadRequest(
                f"{name!r} is not one of the {kind} in the deployment's portcullis.toml."
            )


def check_possible(flow: Mapping[str, Any], subscription: StripeObject) -> None:
    """Raise StateConflict where the portal would refuse this flow for this subscription."""
    kind: str = flow["type"]
    now = standing(subscription["status"])
    if now is Standing.ENDED:
        raise StateConflict("This subscription has ended.")
    if kind == "subscription_cancel":
        end = scheduled_end(subscription)
        if end is not None:
            raise StateConflict(f"This subscription is already scheduled to end at {iso(end)}.")
    if kind == "subscription_pause" and now is Standing.PAUSED:
        raise StateConflict("This subscription is already paused.")
    if kind != "subscription_cancel" and subscription.get("schedule"):
        raise StateConflict("A change of this subscription is already scheduled.")
    if FLOWS[kind].feature == "subscription_update":
        items: Sequence[StripeObject] = subscription["items"]["data"]
        if len(items) > 1:
            raise StateConflict(
                "This subscription has several products; the portal changes those with one only."
            )
        if any(is_metered(item["price"]) for item in items):
            raise StateConflict(
                "This subscription is billed by usage; the portal cannot change it."
            )
        if subscription.get("pending_update"):
            raise StateConflict("A change of this subscription is still waiting for its payment.")


def flow_data(
    flow: Mapping[str, Any], subscription: StripeObject | None, price_id: Callable[[str], str]
) -> dict[str, Any]:
    """Stripe's `flow_data`; `price_id` returns the id of a price, given its lookup key or its id.

    Raises NotFound for an item that is not the subscription's.
    """
    kind: str = flow["type"]
    data: dict[str, Any] = {"type": kind}
    if "after_completion" in flow:
        data["after_completion"] = _after_completion(flow["after_completion"])
    if subscription is None:
        return data
    details: dict[str, Any] = {"subscription": subscription["id"]}
    if "retention" in flow:
        details["retention"] = {
            "type": "coupon_offer",
            "coupon_offer": {"coupon": flow["retention"]["coupon"]},
        }
    if "items" in flow:
        own = {item["id"] for item in subscription["items"]["data"]}
        if not own.issuperset(item["id"] for item in flow["items"]):
            raise NotFound("Your subscription has no such item.")
        details["items"] = [
            item | {"price": price_id(item["price"])} if "price" in item else item
            for item in flow["items"]
        ]
    if "discounts" in flow:
        details["discounts"] = list(flow["discounts"])
    data[kind] = details
    return data


def _after_completion(after: Mapping[str, Any]) -> dict[str, Any]:
    match after["type"]:
        case "redirect":
            details = {"redirect": {"return_url": after["return_url"]}}
        case "hosted_confirmation" if "custom_message" in after:
            details = {"hosted_confirmation": {"custom_message": after["custom_message"]}}
        case _:
            details = {}
    return {"type": after["type"], **details}
