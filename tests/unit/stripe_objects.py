"""Stripe objects for the unit tests: only the fields that the projection reads."""

from __future__ import annotations

from typing import Any

from billing.access import AccessPolicy
from billing.stripe_objects import StripeObject

DAY = 86_400
NOW = 1_790_000_000

POLICY = AccessPolicy(
    past_due_grace=7 * DAY, renewal_slack=72 * 3600, pause_collection_keeps_access=True
)


def item(
    product: str = "prod_team", *, quantity: int | None = 1, ends: int | None = NOW + 30 * DAY
) -> dict[str, Any]:
    return {
        "id": f"si_{product}",
        "price": {"id": f"price_{product}", "product": product, "lookup_key": f"{product}_monthly"},
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
        "latest_invoice": {"status": "paid", "created": NOW},
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
