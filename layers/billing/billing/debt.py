"""What a past_due subscription owes, and what was last paid for: from its invoices. Pure.

The *debt* is the unbroken run of unpaid finalized invoices from the newest back to the last one
that was paid. Its start is when the oldest of them was due, else when it was finalized. An invoice
for nothing proves no payment, so it does not end the run, and what it bills within the run counts
for nothing. The subscription's first invoice is the exception: a trial begins with one.

*What was last paid for*: each subscription item as the newest paid line bills it, going back to the
newest paid invoice that billed a whole period, and further for items of a longer period. So a
declined upgrade is not given, an add-on paid in mid-period is kept, and so is a yearly plan beside
an add-on that is paid by the month.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from billing.facts import Item
from billing.stripe_objects import StripeObject

#: Finalized invoices that still ask for money: https://docs.stripe.com/api/invoices/object
UNPAID = frozenset({"open", "uncollectible"})

#: Invoices that ask for no money any more.
SETTLED = frozenset({"paid", "void"})

#: Billing reasons of invoices that bill a whole period.
FIRST = "subscription_create"
WHOLE_PERIOD = frozenset({FIRST, "subscription_cycle"})


class Bills(NamedTuple):
    """The invoices that decide.

    since  when the debt began, or where nothing is owed, when that was settled; in epoch seconds
    paid   the paid invoices, newest first, as far back as they decide
    whole  how many of them lead back to the newest that billed a whole period
    """

    since: int | None
    paid: Sequence[StripeObject]
    whole: int


def bills(invoices: Iterable[StripeObject], items: Collection[str]) -> Bills:
    """Sort the invoices, newest first, of a subscription with these `items` (ids). Takes no more of
    them than it needs.

    Items of different periods are billed by different invoices. So it goes back until each of
    `items` was billed, or to the subscription's first invoice.
    """
    since: int | None = None
    settled: int | None = None
    in_debt = True
    paid: list[StripeObject] = []
    billed: set[str] = set()
    for invoice in invoices:
        if invoice["status"] in UNPAID and in_debt:
            since = _due(invoice)
            paid.clear()
            billed.clear()
        if settled is None and invoice["status"] in SETTLED:
            settled = _settled(invoice)
        if invoice["status"] != "paid":
            continue
        paid.append(invoice)
        billed |= {item for line in invoice["lines"]["data"] if (item := _item_of(line))}
        is_first = invoice["billing_reason"] == FIRST
        if invoice["total"] > 0 or is_first:
            in_debt = False
        if is_first or (not in_debt and any(map(_is_whole, paid)) and billed.issuperset(items)):
            break
    whole = next((n for n, each in enumerate(paid, 1) if _is_whole(each)), len(paid))
    return Bills(settled if since is None else since, paid, whole)


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


def lines_of(lines: Iterable[StripeObject], items: Collection[str]) -> list[StripeObject]:
    """The lines that bill one of these subscription items (ids)."""
    return [line for line in lines if _item_of(line) in items]


def billed_in(paid: Sequence[Sequence[StripeObject]]) -> set[tuple[str, str]]:
    """The prices, each with its product (ids), that these lines bill for subscription items."""
    return {_price(line) for lines in paid for line in lines if _item_of(line)}


def _is_whole(invoice: StripeObject) -> bool:
    return invoice["billing_reason"] in WHOLE_PERIOD


def _due(invoice: StripeObject) -> int:
    finalized = invoice["status_transitions"]["finalized_at"]
    return int(invoice.get("due_date") or finalized or invoice["created"])


def _settled(invoice: StripeObject) -> int:
    at = invoice["status_transitions"]
    return int(at.get("paid_at") or at.get("voided_at") or _due(invoice))


def _details(line: StripeObject) -> StripeObject:
    parent: StripeObject = line.get("parent") or {}
    return parent.get("subscription_item_details") or {}


def _item_of(line: StripeObject) -> str | None:
    """The subscription item (id) that the line bills at a price."""
    item: str | None = _details(line).get("subscription_item")
    return item if _price(line)[0] else None


def _is_credit(line: StripeObject) -> bool:
    credited = (_details(line).get("proration_details") or {}).get("credited_items")
    return bool(line["amount"] < 0 or credited)


def _newest(lines: list[StripeObject]) -> list[StripeObject]:
    """The lines of one invoice that bill an item last: those of the latest period, a charge before
    a credit. They are several where each tier of a price has its own line."""

    def order(line: StripeObject) -> tuple[int, bool]:
        return (line["period"]["start"], not _is_credit(line))

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
