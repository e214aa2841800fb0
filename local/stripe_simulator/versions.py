"""The shapes of older API versions. https://docs.stripe.com/upgrades

Known are the changes to subscriptions, invoices and discounts in basil (2025-03-31) and clover
(2025-09-30). Fields that were only added since are in the older shapes too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import rendering
from .tables import Json, Tables

BASIL = (
    "2025-03-31"  # periods move to items, an invoice's subscription and price to parent, pricing
)
CLOVER = "2025-09-30"  # flexible billing by default, discount.coupon moves to discount.source


def downgrade(tables: Tables, value: Any, version: str) -> Any:
    """Return the same JSON in the shape of an older API version (`YYYY-MM-DD[.name]`)."""
    if version[:10] >= CLOVER:
        return value
    if isinstance(value, list):
        return [downgrade(tables, element, version) for element in value]
    if not isinstance(value, dict):
        return value
    older = {key: downgrade(tables, part, version) for key, part in value.items()}
    kind = value.get("object")
    if isinstance(kind, str) and not value.get("deleted"):
        if kind in _BEFORE_CLOVER:
            _BEFORE_CLOVER[kind](tables, value, older)
        if version[:10] < BASIL and kind in _BEFORE_BASIL:
            _BEFORE_BASIL[kind](tables, value, older)
    return older


def _discount(tables: Tables, value: Json, older: Json) -> None:
    older["coupon"] = rendering.found(tables, "coupon", older.pop("source")["coupon"])


def _promotion_code(tables: Tables, value: Json, older: Json) -> None:
    older["coupon"] = rendering.found(tables, "coupon", older.pop("promotion")["coupon"])


def _subscription(tables: Tables, value: Json, older: Json) -> None:
    items = value["items"]["data"]
    older["current_period_start"] = min(item["current_period_start"] for item in items)
    older["current_period_end"] = min(item["current_period_end"] for item in items)
    older["discount"] = _first_discount(tables, older)


def _subscription_item(tables: Tables, value: Json, older: Json) -> None:
    del older["current_period_start"], older["current_period_end"]


def _first_discount(tables: Tables, owner: Json) -> Any:
    """Return the object that stood where there can be several discounts now."""
    if not owner["discounts"]:
        return None
    first = owner["discounts"][0]
    if isinstance(first, str):
        first = downgrade(tables, rendering.found(tables, "discount", first), "")
    return first


def _invoice(tables: Tables, value: Json, older: Json) -> None:
    for name in ("confirmation_secret", "payments", "total_taxes"):
        older.pop(name, None)
    details = (older.pop("parent") or {}).get("subscription_details")
    payment = next(iter(tables.all("invoice_payment", invoice=older["id"])), None)
    paid = older["status"] == "paid"
    older |= {
        "application_fee_amount": None,
        "charge": payment["_charge"] if payment else None,
        "discount": _first_discount(tables, older),
        "paid": paid,
        "paid_out_of_band": paid and payment is not None and payment["status"] == "canceled",
        "payment_intent": payment["payment"]["payment_intent"] if payment else None,
        "quote": None,
        "subscription": details["subscription"] if details else None,
        "subscription_details": {"metadata": details["metadata"]} if details else None,
        "tax": None,
        "total_tax_amounts": [],
        "transfer_data": None,
    }


def _line_item(tables: Tables, value: Json, older: Json) -> None:
    details = older.pop("parent")["subscription_item_details"]
    price = tables.peek("price", older.pop("pricing")["price_details"]["price"])
    assert price is not None
    del older["taxes"]
    older |= {
        "amount_excluding_tax": older["amount"],
        "plan": rendering.plan(price) if price["recurring"] else None,
        "price": rendering.render(tables, price),
        "proration": details["proration"],
        "proration_details": details["proration_details"],
        "subscription_item": details["subscription_item"],
        "tax_amounts": [],
        "tax_rates": [],
        "type": "subscription",
        "unit_amount_excluding_tax": price["unit_amount_decimal"],
    }


_Change = Callable[[Tables, Json, Json], None]

_BEFORE_CLOVER: dict[str, _Change] = {"discount": _discount, "promotion_code": _promotion_code}
_BEFORE_BASIL: dict[str, _Change] = {
    "invoice": _invoice,
    "line_item": _line_item,
    "subscription": _subscription,
    "subscription_item": _subscription_item,
}
