"""Stripe objects for the unit tests: only the fields that the projection reads."""

from __future__ import annotations

from typing import Any

from billing.access import AccessPolicy
from billing.stripe_objects import StripeObject

DAY = 86_400
NOW = 1_790_000_000

POLICY = AccessPolicy(
    past_due_grace=7 * DAY,
    delayed_payment=14 * DAY,
    renewal_slack=72 * 3600,
    pause_collection_keeps_access=True,
)


def item(
    product: str = "prod_team", *, quantity: int | None = 1, ends: int | None = NOW + 30 * DAY
) -> dict[str, Any]:
    return {
        "id": f"si_{product}",
        "price": {
            "id": f"price_{product}",
            "product": product,
            "lookup_key": f"{product}_monthly",
            "recurring": {"usage_type": "metered" if quantity is None else "licensed"},
        },
        "quantity": quantity,
        "current_period_start": NOW,
        "current_period_end": ends,
    }


def subscription(
    status: str = "active", *, items: list[dict[str, Any]] | None = None, **fields: Any
) -> dict[str, Any]:
    return {
        "id": "sub_1",
        "status": status,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "trial_end": None,
        "pause_collection": None,
        "items": {"data": items if items is not None else [item()], "has_more": False},
        **fields,
    }


def customer(**fields: Any) -> dict[str, Any]:
    return {
        "id": "cus_1",
        "object": "customer",
        "delinquent": False,
        "metadata": {},
        "invoice_settings": {"default_payment_method": None},
        **fields,
    }


def entitlements(*lookup_keys: str) -> list[StripeObject]:
    return [{"id": f"ent_{key}", "lookup_key": key} for key in lookup_keys]


def line(
    product: str = "prod_team", *, quantity: int = 1, amount: int = 1900, **fields: Any
) -> dict[str, Any]:
    """A line that bills `item(product)` for a period."""
    return {
        "id": f"il_{product}",
        "amount": amount,
        "quantity": quantity,
        "period": {"start": NOW, "end": NOW + 30 * DAY},
        "parent": {"subscription_item_details": {"subscription_item": f"si_{product}"}},
        "pricing": {"price_details": {"price": f"price_{product}", "product": product}},
        **fields,
    }


def invoice(
    status: str = "paid",
    *lines: dict[str, Any],
    finalized: int = NOW,
    reason: str = "subscription_cycle",
    total: int = 1900,
    **fields: Any,
) -> dict[str, Any]:
    """An invoice; the fake cuts its lines into pages."""
    return {
        "id": f"in_{status}_{finalized}",
        "status": status,
        "billing_reason": reason,
        "total": total,
        "created": finalized - 3600,
        "due_date": None,
        "status_transitions": {"finalized_at": finalized},
        "_all_lines": list(lines or [line()]),
        "lines": {"data": list(lines or [line()]), "has_more": False},
        **fields,
    }
