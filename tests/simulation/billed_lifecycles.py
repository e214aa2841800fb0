"""Lifecycles whose invoices follow from what was billed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulation.billing import SUB, SUMMARY
from tests.simulation.invoicing import (
    CATALOG,
    DAY,
    OBJECTS,
    Customer,
    Json,
    begin,
    charges,
    credit,
    declined,
    new_invoice,
    new_item,
    next_period,
    recovered,
    settle,
    unpaid_of,
)
from tests.simulation.script import Change, Script

CUS = "cus_a"

Step = Callable[[Customer], str]


def _billed(*steps: tuple[float, Step]) -> Script:
    """The changes that these steps make to one customer, whose invoices follow from them."""
    customer, found = Customer(CUS, Random(1)), list[Change]()
    for wait, take in steps:
        events = take(customer)
        found.append(Change(wait, customer.state(CATALOG, "user_1"), tuple(events.split())))
    return Script(found)


def buys(*prices: str, **fields: Any) -> Step:
    def step(c: Customer) -> str:
        items = [{**new_item(c, price), "quantity": 1} for price in prices]
        begin(c, "active", items, **fields)
        c.list_entitlements(CATALOG)
        return f"{SUB}.created"

    return step


def upgrade_is_declined(c: Customer) -> str:
    c.today += 10 * DAY
    name, held = _last(c)
    (old,) = held["items"]
    new = {**old, "price": OBJECTS["price_pro"]}
    lines = [*credit(c, old), *charges(c, {**new, "current_period_start": c.today})]
    c.change(name, items=(new,))
    new_invoice(c, name, "open", "subscription_update", lines)
    declined(c, name)
    c.list_entitlements(CATALOG)
    return f"{SUB}.updated {SUMMARY}"


def renews(status: str, *, fails: bool = False) -> Step:
    def step(c: Customer) -> str:
        name, _ = _last(c)
        new_invoice(c, name, status, "subscription_cycle", next_period(c, name))
        if fails:
            declined(c, name)
        return f"{SUB}.updated"

    return step


def hears_late(c: Customer) -> str:
    name, _ = _last(c)
    c.today = unpaid_of(c, name)[0]["due_date"] or c.today + 14 * DAY
    declined(c, name)
    return f"{SUB}.updated"


def settles(status: str) -> Step:
    def step(c: Customer) -> str:
        c.today += DAY
        name, _ = _last(c)
        for invoice in unpaid_of(c, name):
            settle(c, name, invoice, status)
        recovered(c, name)
        return "invoice.paid" if status == "paid" else f"{SUB}.updated"

    return step


def is_canceled(c: Customer) -> str:
    del c.subscriptions[_last(c)[0]]
    return f"{SUB}.deleted"


def lists_no_more(c: Customer) -> str:
    c.list_entitlements(CATALOG)
    return SUMMARY


def _last(c: Customer) -> tuple[str, Json]:
    return list(c.subscriptions.items())[-1]


FAILS = renews("open", fails=True)
DEBIT = {"object": "payment_method", "type": "sepa_debit"}


BILLED = {
    "an upgrade is declined, then paid": _billed(
        (0, buys("price_basic")), (0, upgrade_is_declined), (0, settles("paid"))
    ),
    "unpaid invoices multiply, then are paid": _billed(
        (0, buys("price_basic_weekly")),
        (0, FAILS),
        (70, FAILS),
        (0, FAILS),
        (0, settles("paid")),
    ),
    "a bank debit fails late": _billed(
        (0, buys("price_pro", default_payment_method=DEBIT)),
        (0, renews("open")),
        (65, hears_late),
        (0, settles("void")),
    ),
    "an invoice sent for payment falls due": _billed(
        (0, buys("price_basic", collection_method="send_invoice")),
        (0, settles("paid")),
        (65, renews("open")),
        (0, hears_late),
        (0, settles("paid")),
    ),
    "entitlements outlive a cancellation": _billed(
        (0, buys("price_seats")), (0, buys("price_pro")), (0, is_canceled), (65, lists_no_more)
    ),
    "a yearly plan and a monthly add-on": _billed(
        (0, buys("price_pro_yearly", "price_seats")),
        (0, renews("paid")),
        (65, FAILS),
        (0, settles("paid")),
    ),
}
