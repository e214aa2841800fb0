"""The reader's responses: pure functions of a customer's row and the time, and their schemas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from billing.model import CustomerRow, Subscription
from billing.schemas import object_schema

Json = dict[str, Any]

_TIME = {"type": "string", "format": "date-time", "description": "ISO 8601 in UTC"}
_TIME_OR_NULL = {**_TIME, "type": ["string", "null"]}
_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_COUNT_OR_NULL = {"type": ["integer", "null"]}


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
            quantity={"type": "integer", "minimum": 0},
        ),
    },
)

#: The body of `GET /entitlements`.
ENTITLEMENTS_SCHEMA = object_schema(
    "What the subject may use now. Without a customer, `customer` is null and the rest is empty.",
    subject=_TEXT,
    customer=_TEXT_OR_NULL,
    features=_by_name("By lookup key.", object_schema("A feature.", until=_TIME)),
    products=_by_name(
        "By product id.",
        object_schema("A product.", quantity={"type": "integer", "minimum": 0}, until=_TIME),
    ),
    subscriptions={"type": "array", "items": _SUBSCRIPTION_SCHEMA},
    payment_method={
        **object_schema(
            "The default payment method; null where there is none.",
            brand=_TEXT,
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
    as_of={**_TIME_OR_NULL, "description": "Stripe's time when this was read from Stripe"},
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


def entitlements(subject: str, row: CustomerRow | None, now: float) -> Json:
    """The body of `GET /entitlements` at `now` (epoch seconds); what has ended is left out.

    `row` is None for a subject without a living customer. `valid_until` is when the first of these
    entitlements ends unless Stripe says otherwise before then; null where none does.
    """
    if row is None:
        return {
            "subject": subject,
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
    billing = row.billing
    features, products = billing.features_at(now), billing.products_at(now)
    ends = [*features.values(), *(grant.until for grant in products.values())]
    method = billing.payment_method
    return {
        "subject": subject,
        "customer": row.key.id,
        "features": {name: {"until": iso(until)} for name, until in features.items()},
        "products": {
            name: {"quantity": grant.quantity, "until": iso(grant.until)}
            for name, grant in products.items()
        },
        "subscriptions": [_subscription(each, now) for each in billing.subscriptions],
        "payment_method": method
        and {
            "brand": method.brand,
            "last4": method.last4,
            "exp_month": method.exp_month,
            "exp_year": method.exp_year,
        },
        "tax_ids": [{"type": tax_id.type, "status": tax_id.status} for tax_id in billing.tax_ids],
        "delinquent": billing.delinquent,
        "as_of": iso(row.as_of),
        "valid_until": iso(min(ends, default=None)),
    }


def entitlement(feature: str, row: CustomerRow | None, now: float) -> Json:
    """The body of `GET /entitlements/{feature}`: entitled only while `now` is before `until`."""
    until = row.billing.features_at(now).get(feature) if row else None
    if until is None:
        return {"feature": feature, "entitled": False}
    return {"feature": feature, "entitled": True, "until": iso(until)}


def iso(time: int | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC, `2026-01-31T12:00:00Z`."""
    if time is None:
        return None
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _subscription(subscription: Subscription, now: float) -> Json:
    return {
        "id": subscription.id,
        "status": subscription.status,
        "gives_access": subscription.until is not None and now < subscription.until,
        "cancel_at": iso(subscription.cancel_at),
        "current_period_end": iso(subscription.current_period_end),
        "trial_end": iso(subscription.trial_end),
        "items": [
            {
                "price": item.price,
                "product": item.product,
                "lookup_key": item.lookup_key,
                "quantity": item.quantity,
            }
            for item in subscription.items
        ],
    }
