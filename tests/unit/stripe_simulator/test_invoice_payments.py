"""The payments of an invoice, and what `expand` includes in it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.stripe_simulator.conftest import Shop


def test_a_paid_invoice_includes_its_payment(api: Any, shop: Shop) -> None:
    made = shop.subscription(expand=["latest_invoice.payments"])
    (payment,) = made.latest_invoice.payments.data
    assert (payment.status, payment.amount_paid, payment.is_default) == ("paid", 1000, True)
    assert payment.invoice == made.latest_invoice.id
    assert payment.payment.payment_intent.startswith("pi_")
    assert payment.status_transitions.paid_at
    assert api.invoice_payments.retrieve(payment.id).to_dict() == payment.to_dict()
    assert not hasattr(api.invoices.retrieve(made.latest_invoice.id), "payments")


def test_an_open_invoice_has_a_confirmation_secret(api: Any, shop: Shop) -> None:
    made = shop.subscription(
        payment_behavior="default_incomplete",
        expand=["latest_invoice.confirmation_secret", "latest_invoice.payments"],
    )
    invoice = made.latest_invoice
    (payment,) = invoice.payments.data
    assert (payment.status, payment.amount_paid, payment.amount_requested) == ("open", None, 1000)
    secret = invoice.confirmation_secret
    assert secret.type == "payment_intent"
    assert secret.client_secret.startswith(f"{payment.payment.payment_intent}_secret_")
    again = api.invoices.retrieve(invoice.id, {"expand": ["confirmation_secret"]})
    assert again.confirmation_secret.client_secret == secret.client_secret


def test_an_invoice_of_a_trial_has_no_payment(api: Any, shop: Shop) -> None:
    made = shop.subscription(trial_period_days=7)
    found = api.invoices.retrieve(
        made.latest_invoice, {"expand": ["payments", "confirmation_secret"]}
    )
    assert (found.payments.data, found.confirmation_secret) == ([], None)


@pytest.mark.parametrize("way", ["void", "out of band"])
def test_a_payment_that_is_not_needed_any_more_is_canceled(api: Any, shop: Shop, way: str) -> None:
    invoice = shop.subscription(payment_behavior="default_incomplete").latest_invoice
    if way == "void":
        api.invoices.void_invoice(invoice)
    else:
        api.invoices.pay(invoice, {"paid_out_of_band": True})
    (payment,) = api.invoice_payments.list({"invoice": invoice}).data
    assert (payment.status, payment.amount_paid) == ("canceled", None)
    assert payment.status_transitions.canceled_at
    assert api.invoice_payments.list({"invoice": invoice, "status": "open"}).data == []


def test_payments_are_found_by_their_payment_intent(api: Any, shop: Shop) -> None:
    made = [shop.subscription(expand=["latest_invoice.payments"]) for _ in range(2)]
    payments = [each.latest_invoice.payments.data[0] for each in made]
    wanted = {"type": "payment_intent", "payment_intent": payments[0].payment.payment_intent}
    found = api.invoice_payments.list({"payment": wanted}).data
    assert [payment.id for payment in found] == [payments[0].id]
