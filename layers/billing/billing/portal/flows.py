"""A portal flow: from our flat request to Stripe's `flow_data`, and why one is refused. Pure.

Follows https://docs.stripe.com/customer-management/portal-deep-links. What the portal would refuse
is refused here, before the customer is sent there, where the subscription tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from billing.access import scheduled_end
from billing.answers import iso
from billing.configuration.file import ConfigurationFile
from billing.errors import BadRequest, NotFound, StateConflict
from billing.projection import StripeObject

#: The feature of a portal configuration that each flow needs.
FEATURE_OF_FLOW: Mapping[str, str] = {
    "payment_method_update": "payment_method_update",
    "subscription_cancel": "subscription_cancel",
    "subscription_update": "subscription_update",
    "subscription_update_confirm": "subscription_update",
    "subscription_pause": "subscription_pause",
    "customer_update": "customer_update",
}

ENDED = frozenset({"canceled", "incomplete_expired"})

#: Ids and lookup keys: what they are made of does no harm in a path.
_ID = {"type": "string", "pattern": r"^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,254}$"}

#: The `flow` of a portal session's request. What belongs to other types than `type` is refused.
FLOW_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type"],
    "properties": {
        "type": {"enum": sorted(FEATURE_OF_FLOW)},
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
                    "quantity": {"type": "integer", "minimum": 0},
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
                "type": {"enum": ["hosted_confirmation", "portal_homepage", "redirect"]},
                "custom_message": {"type": "string", "minLength": 1, "maxLength": 500},
                "return_url": {"type": "string", "minLength": 1},
            },
        },
    },
}

#: For each type, what it must name and what else it may.
_NAMES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "payment_method_update": ((), ()),
    "customer_update": ((), ()),
    "subscription_cancel": (("subscription",), ("retention",)),
    "subscription_update": (("subscription",), ()),
    "subscription_update_confirm": (("subscription", "items"), ("discounts",)),
    "subscription_pause": (("subscription",), ()),
}


def check_names(flow: Mapping[str, Any]) -> None:
    """Raise BadRequest where `flow` lacks what its type must name, or names what is another's."""
    required, optional = _NAMES[flow["type"]]
    for name in required:
        if name not in flow:
            raise BadRequest(f"body.flow must contain {name!r} when its type is {flow['type']}.")
    for name in flow:
        if name not in {"type", "after_completion", *required, *optional}:
            raise BadRequest(
                f"body.flow must not contain {name!r} when its type is {flow['type']}."
            )
    after = flow.get("after_completion", {})
    belongs = {"hosted_confirmation": "custom_message", "redirect": "return_url"}
    for name in after:
        if name != "type" and belongs.get(after["type"]) != name:
            raise BadRequest(
                f"body.flow.after_completion must not contain {name!r} when its type is "
                f"{after['type']}."
            )
    if after.get("type") == "redirect" and "return_url" not in after:
        raise BadRequest("body.flow.after_completion must contain 'return_url' for a redirect.")


def check_coupons(flow: Mapping[str, Any], file: ConfigurationFile) -> None:
    """Raise BadRequest for a coupon or promotion code that the deployment does not offer there."""
    named = [("retention_coupons", flow["retention"]["coupon"])] if "retention" in flow else []
    named += [
        (f"{kind}s", name) for each in flow.get("discounts", ()) for kind, name in each.items()
    ]
    for kind, name in named:
        if name not in getattr(file, kind):
            raise BadRequest(f"{name!r} is none of the {kind} that portcullis.toml lists.")


def check_possible(flow: Mapping[str, Any], subscription: StripeObject) -> None:
    """Raise StateConflict where the portal would refuse this flow for this subscription."""
    kind: str = flow["type"]
    if subscription["status"] in ENDED:
        raise StateConflict("This subscription has ended.")
    if kind == "subscription_cancel":
        end = scheduled_end(subscription)
        if end is not None:
            raise StateConflict(f"This subscription is already set to end at {iso(end)}.")
    if kind == "subscription_pause" and subscription["status"] == "paused":
        raise StateConflict("This subscription is already paused.")
    if kind != "subscription_cancel" and subscription.get("schedule"):
        raise StateConflict("A change of this subscription is already scheduled.")
    if FEATURE_OF_FLOW[kind] == "subscription_update":
        items: Sequence[StripeObject] = subscription["items"]["data"]
        if len(items) > 1:
            raise StateConflict(
                "This subscription has several products; the portal changes those of one only."
            )
        if any(_is_metered(item) for item in items):
            raise StateConflict(
                "This subscription is billed by usage; the portal cannot change it."
            )
        if subscription.get("pending_update"):
            raise StateConflict("A change of this subscription still awaits its payment.")


def flow_data(
    flow: Mapping[str, Any], subscription: StripeObject | None, price_id: Callable[[str], str]
) -> dict[str, Any]:
    """Stripe's `flow_data`; `price_id` gives the id of a price named by its lookup key or its id.

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


def _is_metered(item: StripeObject) -> bool:
    recurring = item["price"].get("recurring") or {}
    return bool(recurring.get("usage_type") == "metered")


def _after_completion(after: Mapping[str, Any]) -> dict[str, Any]:
    match after["type"]:
        case "redirect":
            details = {"redirect": {"return_url": after["return_url"]}}
        case "hosted_confirmation" if "custom_message" in after:
            details = {"hosted_confirmation": {"custom_message": after["custom_message"]}}
        case _:
            details = {}
    return {"type": after["type"], **details}
