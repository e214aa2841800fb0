"""What a past_due subscription owes, and what was last paid for: from its invoices. Pure.

The *debt* is the unbroken run of unpaid finalized invoices from the newest back to the last one
that was paid. Its start is when the oldest of them was due, else when it was finalized. An invoice
for nothing proves no payment, so it does not end the run, and what it bills within the run counts
for nothing. The subscription's first invoice is the exception: a trial begins with one.

*What was last paid for*: each subscription item as the newest paid line bills it, going back to the
newest paid invoice that billed a whole period. So a declined upgrade is not given, and an add-on
paid in mid-period is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from billing.facts import Item
from billing.stripe_objects import StripeObject

#: Finalized invoices that still ask for money: https://docs.stripe.com/api/invoices/object
UNPAID = frozenset({"open", "uncollectible"})

#: Billing reasons of invoices that bill a whole period.
FIRST = "subscription_create"
WHOLE_PERIOD = frozenset({FIRST, "subscription_cycle"})


class Bills(NamedTuple):
    """The invoices that decide.

    owed_since  when the debt began, in epoch seconds; None where nothing is owed
    paid        the paid invoices, newest first, down to the one that billed a whole period
    """

    owed_since: int | None
    paid: Sequence[StripeObject]


def bills(invoices: Iterable[StripeObject]) -> Bills:
    """Sort a subscription's invoices, newest first. Takes no more of them than it needs."""
    owed_since: int | None = None
    in_debt = True
    paid: list[StripeObject] = []
    for invoice in invoices:
        if invoice["status"] in UNPAID and in_debt:
            owed_since = _due(invoice)
            paid.clear()
        if invoice["status"] != "paid":
            continue
        paid.append(invoice)
        if invoice["total"] > 0 or invoice["billing_reason"] == FIRST:
            in_debt = False
        if not in_debt and any(map(_bills_whole_period, paid)):
            break
    last = next((n for n, each in enumerate(paid) if _bills_whole_period(each)), len(paid))
    return Bills(owed_since, paid[: last + 1])


def paid_items(
    paid: Sequence[Sequence[StripeObject]], is_metered: Callable[[str], bool]
) -> tuple[Item, ...]:
    """What was last paid for, from the lines of the invoices `paid`, newest first. A price (id) is
    metered where `is_metered` says so."""
    newest: dict[str, list[StripeObject]] = {}
    for lines in paid:
        by_item: dict[str, list[StripeObject]] = {}
        for line in lines:
            if (item := _item_of(line)) is not None:
                by_item.setdefault(item, []).append(line)
        newest = {item: _newest(lines) for item, lines in by_item.items()} | newest
    return tuple(_item(lines, is_metered) for lines in newest.values() if not _is_credit(lines[0]))


def _bills_whole_period(invoice: StripeObject) -> bool:
    return invoice["billing_reason"] in WHOLE_PERIOD


def prices_of(paid: Sequence[Sequence[StripeObject]]) -> set[str]:
    """The prices (ids) that these lines bill for subscription items."""
    return {_price(line)[0] for lines in paid for line in lines if _item_of(line)}


def products_of(paid: Sequence[Sequence[StripeObject]]) -> set[str]:
    """The products (ids) that these lines bill for subscription items."""
    return {_price(line)[1] for lines in paid for line in lines if _item_of(line)}


def _due(invoice: StripeObject) -> int:
    finalized = invoice["status_transitions"]["finalized_at"]
    return int(invoice.get("due_date") or finalized or invoice["created"])


def _details(line: StripeObject) -> StripeObject:
    parent: StripeObject = line.get("parent") or {}
    return parent.get("subscription_item_details") or {}


def _item_of(line: StripeObject) -> str | None:
    item: str | None = _details(line).get("subscription_item")
    return item


def _is_credit(line: StripeObject) -> bool:
    credited = (_details(line).get("proration_details") or {}).get("credited_items")
    return bool(line["amount"] < 0 or credited)


def _newest(lines: list[StripeObject]) -> list[StripeObject]:
    """The lines of one invoice that bill an item last: those of the latest period, a charge before
    a credit. They are several where each tier of a price has its own line."""

    def order(line: StripeObject) -> tuple[bool, int, int]:
        return (not _is_credit(line), line["period"]["end"], line["period"]["start"])

    # Stripe lists the newest first: https://docs.stripe.com/api/invoices/object#invoice_object-lines
    last = max(lines, key=order)
    return [each for each in lines if (order(each), _price(each)) == (order(last), _price(last))]


def _price(line: StripeObject) -> tuple[str, str]:
    """The ids of the line's price and product; empty for a line without a price."""
    details = (line.get("pricing") or {}).get("price_details") or {}
    price = details.get("price") or ""
    return (price["id"] if isinstance(price, Mapping) else price, details.get("product") or "")


def _item(lines: list[StripeObject], is_metered: Callable[[str], bool]) -> Item:
    price, product = _price(lines[0])
    quantity = sum(int(line.get("quantity") or 0) for line in lines)
    return Item(price=price, product=product, quantity=None if is_metered(price) else quantity)
