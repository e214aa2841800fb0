"""The reader's responses: pure functions of a customer's row and the time, and their schemas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from billing.access import GRANT, SUBSCRIPTION, Access, AccessPolicy
from billing.facts import Facts, Subscription
from billing.model import CustomerRow
from billing.schemas import object_schema

Json = dict[str, Any]

_TIME = {"type": "string", "format": "date-time", "description": "ISO 8601 in UTC"}
_TIME_OR_NULL = {**_TIME, "type": ["string", "null"]}
_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_COUNT_OR_NULL = {"type": ["integer", "null"]}
_SOURCE = {
    "enum": [SUBSCRIPTION, GRANT],
    "description": "What gives it until then: a subscription, or a grant in Stripe's metadata",
}


def _by_name(of_what: str, schema: Json) -> Json:
    return {"type": "object", "description": of_what, "additionalProperties": schema}


_SUBSCRIPTION_SCHEMA = object_schema(
    "A current subscription.",
    id=_TEXT,
    status={**_TEXT, "description": "Stripe's own status"},
    gives_access={"type": "boolean"},
    cancel_at={**_TIME_OR_NULL, "description": "The scheduled end, however it was scheduled"},
    current_period_end=_TIME_OR_NULL,
    trial_end=_TIME_OR_NULL,
    items={
        "type": "array",
        "items": object_schema(
            "A subscription item.",
            price=_TEXT,
            product=_TEXT,
            lookup_key=_TEXT_OR_NULL,
            quantity={
                "type": "integer",
                "minimum": 0,
                "description": "1 where the price is billed by usage",
            },
        ),
    },
)

#: The body of `GET /entitlements`.
ENTITLEMENTS_SCHEMA = object_schema(
    "What the subject may use now. Without a customer, `customer` is null and the rest is empty.",
    subject=_TEXT,
    customer=_TEXT_OR_NULL,
    features=_by_name("By lookup key.", object_schema("A feature.", until=_TIME, source=_SOURCE)),
    products=_by_name(
        "By product id.",
        object_schema("A product.", quantity={"type": "integer", "minimum": 0}, until=_TIME),
    ),
    subscriptions={"type": "array", "items": _SUBSCRIPTION_SCHEMA},
    payment_method={
        **object_schema(
            "The customer's default payment method, else that of a subscription that gives access; "
            "null where there is none.",
            type={**_TEXT, "description": "Stripe's own type: `card`, `sepa_debit`, …"},
            brand=_TEXT_OR_NULL,
            last4=_TEXT_OR_NULL,
            exp_month=_COUNT_OR_NULL,
            exp_year=_COUNT_OR_NULL,
        ),
        "type": ["object", "null"],
    },
    tax_ids={
        "type": "array",
        "items": object_schema("A tax id.", type=_TEXT, status=_TEXT_OR_NULL),
    },
    delinquent={"type": "boolean", "description": "Whether Stripe calls the customer delinquent"},
    as_of={**_TIME_OR_NULL, "description": "When this was read from Stripe"},
    valid_until={
        **_TIME_OR_NULL,
        "description": "When the first of these entitlements ends unless Stripe says otherwise",
    },
)

#: The body of `GET /entitlements/{feature}`. Only an entitled subject has an `until`.
ENTITLEMENT_SCHEMA: Json = {
    **object_schema("One feature.", feature=_TEXT, entitled={"type": "boolean"}, until=_TIME),
    "required": ["feature", "entitled"],
}


def entitlements(subject: str, row: CustomerRow | None, policy: AccessPolicy, now: float) -> Json:
    """The body of `GET /entitlements` at `now` (epoch seconds).

    `row` is None for a subject without a living customer.
    """
    facts, access = (row.facts, row.access(policy, now)) if row else (Facts(), Access())
    method = access.payment_method
    return {
        "subject": subject,
        "customer": row and row.key.id,
        "features": {
            name: {"until": iso(feature.until), "source": feature.source}
            for name, feature in access.features.items()
        },
        "products": {
            name: {"quantity": product.quantity, "until": iso(product.until)}
            for name, product in access.products.items()
        },
        "subscriptions": [_subscription(each, access) for each in facts.subscriptions],
        "payment_method": method
        and {
            "type": method.type,
            "brand": method.brand,
            "last4": method.last4,
            "exp_month": method.exp_month,
            "exp_year": method.exp_year,
        },
        "tax_ids": [{"type": tax_id.type, "status": tax_id.status} for tax_id in facts.tax_ids],
        "delinquent": facts.delinquent,
        "as_of": row and iso(row.as_of),
        "valid_until": iso(access.valid_until),
    }


def entitlement(feature: str, row: CustomerRow | None, policy: AccessPolicy, now: float) -> Json:
    """The body of `GET /entitlements/{feature}`: entitled only while `now` is before `until`."""
    given = row.access(policy, now).features.get(feature) if row else None
    if given is None:
        return {"feature": feature, "entitled": False}
    return {"feature": feature, "entitled": True, "until": iso(given.until)}


def iso(time: int | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC, `2026-01-31T12:00:00Z`."""
    if time is None:
        return None
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _subscription(subscription: Subscription, access: Access) -> Json:
    return {
        "id": subscription.id,
        "status": subscription.status,
        "gives_access": subscription.id in access.subscriptions,
        "cancel_at": iso(subscription.cancel_at),
        "current_period_end": iso(subscription.current_period_end),
        "trial_end": iso(subscription.trial_end),
        "items": [
            {
                "price": item.price,
                "product": item.product,
                "lookup_key": item.lookup_key,
                "quantity": 1 if item.quantity is None else item.quantity,
            }
            for item in subscription.items
        ],
    }
