"""The endpoints of invoices. A payment can make the subscription active again."""

from __future__ import annotations

from typing import Any

import stripe.params as p

from . import invoices, lifecycle, payment_methods
from .errors import invalid
from .lookup import find
from .parameters import Params
from .routes import Page, in_range, page, route
from .tables import Json
from .world import World


def _need(invoice: Json, *statuses: str) -> None:
    if invoice["status"] not in statuses:
        raise invalid(
            f"Invoice is {invoice['status']}, and must be {' or '.join(statuses)}.",
            None,
            "invoice_not_editable" if invoice["status"] != "paid" else None,
        )


@route("GET", "/v1/invoices/{id}", p.InvoiceRetrieveParams, "invoice")
def retrieve_invoice(world: World, params: Params, id: str) -> Json:
    return find(world, "invoice", id, "invoice")


@route("GET", "/v1/invoices", p.InvoiceListParams, "invoice", listing=True)
def list_invoices(world: World, params: Params) -> Page:
    where: dict[str, Any] = {}
    if "subscription" in params:
        find(world, "subscription", params["subscription"], "subscription", "subscription")
        where["_subscription"] = params["subscription"]
    if "customer" in params:
        find(world, "customer", params["customer"], "customer", "customer")
        where["customer"] = params["customer"]
    found = [
        invoice
        for invoice in world.tables.all("invoice", **where)
        if params.get("status", invoice["status"]) == invoice["status"]
        and in_range(invoice["created"], params.get("created"))
    ]
    return page(found, params, "/v1/invoices")


@route(
    "GET",
    "/v1/invoices/{id}/lines",
    p.InvoiceLineItemListParams,
    "line_item",
    listing=True,
)
def list_invoice_lines(world: World, params: Params, id: str) -> Page:
    """List lines in the order in which an invoice embeds them."""
    invoice = find(world, "invoice", id, "invoice")
    return page(invoice["lines"], params, f"/v1/invoices/{id}/lines")


@route("POST", "/v1/invoices/{id}/pay", p.InvoicePayParams, "invoice")
def pay_invoice(world: World, params: Params, id: str) -> Json:
    """Charge now, with the named payment method if there is one. Raises a 402 if declined."""
    invoice = find(world, "invoice", id, "invoice")
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid")
    _need(invoice, "open", "draft", "uncollectible")
    with world.changing():
        if invoice["status"] == "draft":
            invoice = invoices.finalize(world, id)
        if invoice["status"] != "paid":
            subscription = world.tables.draft("subscription", invoice["_subscription"])
            if params.get("paid_out_of_band"):
                invoices.mark_paid(world, id)
            else:
                method = params.get("payment_method")
                using = {"default_payment_method": method} if method else subscription
                if method:
                    find(world, "payment_method", method, "PaymentMethod", "payment_method")
                customer = find(world, "customer", invoice["customer"], "customer")
                if payment_methods.charge(world, customer, using) is None:
                    raise invoices.no_payment_method("invoice")
                outcome = invoices.attempt(world, id, using)
                if outcome != payment_methods.SUCCEED:
                    lifecycle.invoice_unpaid(world, invoice["_subscription"])
                    raise invoices.declined(outcome)
        lifecycle.invoice_paid(world, invoice["_subscription"], id)
        return find(world, "invoice", id, "invoice")


@route("POST", "/v1/invoices/{id}/finalize", p.InvoiceFinalizeInvoiceParams, "invoice")
def finalize_invoice(world: World, params: Params, id: str) -> Json:
    _need(find(world, "invoice", id, "invoice"), "draft")
    with world.changing():
        return invoices.finalize(world, id)


@route("POST", "/v1/invoices/{id}/void", p.InvoiceVoidInvoiceParams, "invoice")
def void_invoice(world: World, params: Params, id: str) -> Json:
    _need(find(world, "invoice", id, "invoice"), "open", "uncollectible")
    with world.changing():
        return invoices.void(world, id)


@route(
    "POST",
    "/v1/invoices/{id}/mark_uncollectible",
    p.InvoiceMarkUncollectibleParams,
    "invoice",
)
def mark_invoice_uncollectible(world: World, params: Params, id: str) -> Json:
    _need(find(world, "invoice", id, "invoice"), "open")
    return invoices.mark_uncollectible(world, id)
