"""States of customers and documents at Stripe, for scripts that are written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.simulation.actors import PRICES
from tests.simulation.invoicing import CATALOG, MONTH
from tests.simulation.script import Document
from tests.simulation.stripe_model import EPOCH, METADATA_KEY, State


def subscription(
    name: str, status: str, *products: str, quantity: int = 1, period: int = 1, **more: Any
) -> dict[str, Any]:
    """A subscription to `products` in its `period`-th month. Its items are a plain list."""
    start = EPOCH + (period - 1) * MONTH
    lines = [
        {
            "id": f"il_{name}_{product}",
            "amount": 1900,
            "quantity": quantity,
            "period": {"start": start, "end": start + MONTH},
            "parent": {"subscription_item_details": {"subscription_item": f"si_{name}_{product}"}},
            "pricing": {"price_details": {"price": f"price_{product}", "product": product}},
        }
        for product in products
    ]
    paid = _invoice(f"in_{name}_0", "paid", start - MONTH, lines)
    unpaid = _invoice(f"in_{name}_{period}", "open", start, lines)
    return {
        "id": name,
        "status": status,
        "items": [
            {
                "id": f"si_{name}_{product}",
                "price": {"id": f"price_{product}", "product": product, "lookup_key": None},
                "quantity": quantity,
                "current_period_start": start,
                "current_period_end": start + MONTH,
            }
            for product in products
        ],
        "cancel_at": None,
        "cancel_at_period_end": False,
        "trial_end": None,
        "_invoices": [unpaid, paid] if status == "past_due" else [paid],
        **more,
    }


def _invoice(name: str, status: str, finalized: int, lines: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": name,
        "status": status,
        "billing_reason": "subscription_cycle",
        "total": 1900,
        "created": finalized,
        "due_date": None,
        "status_transitions": {"finalized_at": finalized},
        "lines": [{**line, "id": f"{line['id']}_{name}"} for line in lines],
    }


def state(
    customer: str,
    *subscriptions: Mapping[str, Any],
    catalog: Mapping[str, tuple[str, ...]] = CATALOG,
    claim: str | None = None,
    **more: Any,
) -> State:
    """A customer with these subscriptions. Its entitlements follow from the catalog."""
    entitled = {
        feature
        for held in subscriptions
        if held["status"] in ("active", "trialing")
        for item in held["items"]
        for feature in catalog[item["price"]["product"]]
    }
    return State(
        customer,
        subscriptions=tuple(subscriptions),
        entitlements=tuple(sorted(entitled)),
        catalog=catalog,
        profile={"delinquent": False, "metadata": {METADATA_KEY: claim} if claim else {}, **more},
    )


def configuration(*features: str) -> Document:
    """A portal configuration that offers these features."""
    offered = ("customer_update", "invoice_history", "subscription_cancel")
    content = {
        "name": "default",
        "active": True,
        "is_default": True,
        "login_page": "",
        "features": {name: name in features for name in offered},
    }
    response = {
        **content,
        "id": "bpc_1",
        "login_page": {"url": None},
        "features": {name: {"enabled": name in features} for name in offered},
    }
    return Document("bpc_1", response, content)


def prices(unit_amount: int) -> Document:
    """What is for sale."""
    entry = {"id": "price_1", "lookup_key": None, "currency": "usd", "unit_amount": unit_amount}
    recurring = {"interval": "month", "interval_count": 1}
    product = {"id": "prod_1", "name": "One", "active": True, "description": None}
    sold: dict[str, Any] = {"id": "prod_1", "name": "One", "description": None, "features": []}
    return Document(
        PRICES,
        [{**entry, "recurring": recurring, "product": product, "active": True}],
        {"products": [{**sold, "prices": [{**entry, **recurring}]}]},
    )
