"""The payments of invoices. An invoice has one from its finalization, unless nothing is due.

https://docs.stripe.com/api/invoice-payment. The PaymentIntent that it names is not simulated.
"""

from __future__ import annotations

import stripe.params as p

from .lookup import find
from .parameters import Params
from .routes import Page, in_range, page, route
from .tables import Json
from .world import World


def create(world: World, invoice: Json) -> None:
    """Store the open payment of an invoice that is being finalized."""
    world.save(
        {
            "id": world.id("invoice_payment"),
            "object": "invoice_payment",
            "_charge": None,
            "_secret": world.token(24),
            "amount_requested": invoice["amount_due"],
            "created": world.now(),
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": world.livemode,
            "payment": {"payment_intent": f"pi_{world.token(24)}", "type": "payment_intent"},
            "status": "open",
            "status_transitions": {},
        }
    )


def pay(world: World, invoice: Json) -> None:
    """Mark the open payment of the invoice as paid, by a charge."""
    for payment in world.tables.all("invoice_payment", invoice=invoice["id"], status="open"):
        world.save(
            {
                **payment,
                "_charge": f"ch_{world.token(24)}",
                "amount_paid": payment["amount_requested"],
                "status": "paid",
                "status_transitions": {"paid_at": world.now()},
            }
        )


def cancel(world: World, invoice: Json) -> None:
    """Cancel the open payment of an invoice that is voided or paid in another way."""
    for payment in world.tables.all("invoice_payment", invoice=invoice["id"], status="open"):
        transitions = {"canceled_at": world.now()}
        world.save({**payment, "status": "canceled", "status_transitions": transitions})


@route("GET", "/v1/invoice_payments", p.InvoicePaymentListParams, "invoice_payment", listing=True)
def list_invoice_payments(world: World, params: Params) -> Page:
    where = {name: params[name] for name in ("invoice", "status") if name in params}
    intent = params.get("payment", {}).get("payment_intent")
    found = [
        payment
        for payment in world.tables.all("invoice_payment", **where)
        if intent in (None, payment["payment"]["payment_intent"])
        and in_range(payment["created"], params.get("created"))
    ]
    return page(found, params, "/v1/invoice_payments")


@route("GET", "/v1/invoice_payments/{id}", p.InvoicePaymentRetrieveParams, "invoice_payment")
def retrieve_invoice_payment(world: World, params: Params, id: str) -> Json:
    return find(world, "invoice_payment", id, "invoice payment")
