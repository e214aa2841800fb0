"""Invoices of subscriptions: draft, finalize, charge, void.

Amounts are in the currency's smallest unit. Taxes are not simulated.
"""

from __future__ import annotations

from . import invoice_payments, payment_methods
from .errors import StripeError, card_declined, invalid
from .rendering import render
from .tables import Json
from .world import World

DAY = 86_400


def line(
    world: World, subscription: Json, item: Json, amount: int, *, proration: bool = False
) -> Json:
    """Return a line item for a subscription item over its current period."""
    price = world.tables.peek("price", item["price"])
    assert price is not None
    product = world.tables.peek("product", price["product"])
    quantity = item.get("quantity")
    return {
        "id": world.id("line_item"),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": f"{quantity or 1} × {(product or {}).get('name', price['product'])}",
        "discount_amounts": [],
        "discountable": not proration,
        "discounts": [],
        "livemode": world.livemode,
        "metadata": {},
        "parent": {
            "subscription_item_details": {
                "invoice_item": None,
                "proration": proration,
                "proration_details": {"credited_items": None},
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": quantity,
        "quantity_decimal": None if quantity is None else str(quantity),
        "subscription": subscription["id"],
        "subtotal": amount,
        "taxes": [],
    }


def draft(
    world: World,
    subscription: Json,
    lines: list[Json],
    reason: str,
    *,
    named: str | None = None,
) -> Json:
    """Create a draft invoice. The caller stores its id as the subscription's latest invoice.

    Stripe chooses the id; `named` is for a test that needs a certain one.
    """
    customer = world.tables.draft("customer", subscription["customer"])
    assert customer is not None
    now = world.now()
    id = named or world.id("invoice")
    for each in lines:
        each["invoice"] = id
    subtotal = sum(each["amount"] for each in lines)
    total = max(0, subtotal - _discount(world, subscription, subtotal))
    delay = world.settings.invoice_finalization_delay
    invoice: Json = {
        "id": id,
        "object": "invoice",
        "_subscription": subscription["id"],
        "account_country": "US",
        "account_name": "Simulated Inc.",
        "amount_due": total,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": total,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"enabled": False},
        "automatically_finalizes_at": now + delay if reason == "subscription_cycle" else None,
        "billing_reason": reason,
        "collection_method": subscription["collection_method"],
        "created": now,
        "currency": subscription["currency"],
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [
            {"type": tax_id["type"], "value": tax_id["value"]}
            for tax_id in world.tables.all("tax_id", customer=customer["id"])
        ],
        "default_tax_rates": [],
        "discounts": list(subscription["discounts"]),
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "lines": lines,
        "livemode": world.livemode,
        "metadata": {},
        "next_payment_attempt": now + delay if reason == "subscription_cycle" else None,
        "parent": {
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        "payment_settings": {},
        "period_end": now,
        "period_start": subscription.get("_billed_from", now),
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": 0,
        "status": "draft",
        "status_transitions": {},
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "test_clock": customer["test_clock"],
        "total": total,
        "total_discount_amounts": [],
        "total_excluding_tax": total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": now,
    }
    if customer["currency"] is None:
        world.save({**customer, "currency": subscription["currency"]})
    return world.save(invoice, "invoice.created")


def _discount(world: World, subscription: Json, subtotal: int) -> int:
    off = 0.0
    for id in subscription["discounts"]:
        discount = world.tables.peek("discount", id)
        coupon = discount and world.tables.peek("coupon", discount["source"]["coupon"])
        if coupon:
            off += coupon["amount_off"] or subtotal * (coupon["percent_off"] or 0) / 100
    return round(off)


def finalize(world: World, id: str) -> Json:
    """Finalize a draft. It becomes open, or paid if nothing is due."""
    invoice = world.tables.draft("invoice", id)
    assert invoice is not None
    customer = world.tables.draft("customer", invoice["customer"])
    assert customer is not None
    if not customer.get("deleted"):
        sequence = customer["next_invoice_sequence"]
        invoice["number"] = f"{customer['invoice_prefix']}-{sequence:04d}"
        world.save({**customer, "next_invoice_sequence": sequence + 1})
    invoice["status"] = "open"
    invoice["status_transitions"]["finalized_at"] = world.now()
    invoice["effective_at"] = world.now()
    invoice["automatically_finalizes_at"] = None
    invoice["next_payment_attempt"] = None
    invoice["ending_balance"] = 0
    invoice["hosted_invoice_url"] = f"https://invoice.stripe.com/i/{world.account_id}/{id}"
    invoice["invoice_pdf"] = f"https://pay.stripe.com/invoice/{world.account_id}/{id}/pdf"
    if invoice["collection_method"] == "send_invoice":
        invoice["due_date"] = world.now() + invoice.get("_days_until_due", 30) * DAY
    invoice = world.save(invoice, "invoice.finalized")
    if invoice["amount_due"] == 0:
        return mark_paid(world, id)
    invoice_payments.create(world, invoice)
    return invoice


def mark_paid(world: World, id: str, *, by_charge: bool = False) -> Json:
    """Mark an invoice as paid: by a charge, or out of band."""
    invoice = world.tables.draft("invoice", id)
    assert invoice is not None
    invoice["status"] = "paid"
    invoice["amount_paid"] = invoice["amount_due"]
    invoice["amount_remaining"] = 0
    invoice["attempted"] = True
    invoice["next_payment_attempt"] = None
    invoice["status_transitions"]["paid_at"] = world.now()
    invoice = world.save(invoice, "invoice.paid")
    world.emit("invoice.payment_succeeded", render(world.tables, invoice))
    (invoice_payments.pay if by_charge else invoice_payments.cancel)(world, invoice)
    _set_delinquent(world, invoice["customer"], False)
    return invoice


def attempt(world: World, id: str, subscription: Json | None) -> str:
    """Charge an open invoice. Returns `succeed`, `fail` or `requires_action`."""
    invoice = world.tables.draft("invoice", id)
    assert invoice is not None
    customer = world.tables.peek("customer", invoice["customer"])
    assert customer is not None
    outcome = payment_methods.charge(world, customer, subscription) or payment_methods.FAIL
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    if outcome == payment_methods.SUCCEED:
        world.save(invoice)
        mark_paid(world, id, by_charge=True)
        return outcome
    retries = world.settings.payment_retries_days
    invoice["next_payment_attempt"] = None
    renewal = invoice["billing_reason"] == "subscription_cycle"
    if renewal and invoice["attempt_count"] <= len(retries):
        wait = retries[invoice["attempt_count"] - 1]
        invoice["next_payment_attempt"] = world.now() + round(wait * DAY)
    invoice = world.save(invoice)
    shape = render(world.tables, invoice)
    world.emit("invoice.payment_failed", shape)
    if outcome == payment_methods.REQUIRES_ACTION:
        world.emit("invoice.payment_action_required", shape)
    if renewal:
        _set_delinquent(world, invoice["customer"], True)
    return outcome


def _set_delinquent(world: World, customer_id: str, delinquent: bool) -> None:
    customer = world.tables.draft("customer", customer_id)
    if customer is None or customer.get("deleted"):
        return
    customer["delinquent"] = delinquent
    world.save(customer, "customer.updated")


def void(world: World, id: str) -> Json:
    invoice = world.tables.draft("invoice", id)
    assert invoice is not None
    invoice["status"] = "void"
    invoice["next_payment_attempt"] = None
    invoice["status_transitions"]["voided_at"] = world.now()
    invoice_payments.cancel(world, invoice)
    return world.save(invoice, "invoice.voided")


def declined(outcome: str) -> StripeError:
    """Return the 402 for a failed charge. What was recorded about the charge stays."""
    error = card_declined()
    if outcome == payment_methods.REQUIRES_ACTION:
        error = StripeError(
            402,
            "This payment requires additional user action before it can be completed.",
            type="card_error",
            code="invoice_payment_intent_requires_action",
        )
    error.commits = True
    return error


def no_payment_method(noun: str) -> StripeError:
    return invalid(
        "This customer has no attached payment source or default payment method. Please consider "
        f"adding a default payment method. ({noun})",
        None,
        "resource_missing",
    )


def mark_uncollectible(world: World, id: str) -> Json:
    invoice = world.tables.draft("invoice", id)
    assert invoice is not None
    invoice["status"] = "uncollectible"
    invoice["next_payment_attempt"] = None
    invoice["status_transitions"]["marked_uncollectible_at"] = world.now()
    return world.save(invoice, "invoice.marked_uncollectible")
