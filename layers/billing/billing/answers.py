"""What the reader answers: a pure function of a customer's row and the time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from billing.model import CustomerRow, Subscription

Json = dict[str, Any]


def entitlements(subject: str, row: CustomerRow | None, now: float) -> Json:
    """The body of `GET /entitlements` at `now` (epoch seconds); what has ended is left out.

    `row` is None for a subject without a living customer. `valid_until` is the first moment at
    which, without news from Stripe, something of this answer ends; null when nothing does.
    """
    if row is None:
        return {
            "subject": subject,
            "customer": None,
            "features": {},
            "products": {},
            "subscriptions": [],
            "payment_method": None,
            "as_of": None,
            "valid_until": None,
        }
    billing = row.billing
    features = {name: until for name, until in billing.features.items() if now < until}
    products = {name: grant for name, grant in billing.products.items() if now < grant.until}
    ends = [*features.values(), *(grant.until for grant in products.values())]
    method = billing.payment_method
    return {
        "subject": subject,
        "customer": row.key.customer,
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
        "as_of": iso(row.as_of),
        "valid_until": iso(min(ends, default=None)),
    }


def entitlement(feature: str, row: CustomerRow | None, now: float) -> Json:
    """The body of `GET /entitlements/{feature}`: entitled only while `now` is before `until`."""
    until = row.billing.features.get(feature) if row else None
    if until is None or now >= until:
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
