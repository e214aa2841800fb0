"""What a past_due subscription owes and what was last paid for, from invoices, newest first."""

from __future__ import annotations

from typing import Any

import pytest

from billing.debt import billed_in, bills, lines_of, paid_items
from billing.facts import Item
from tests.unit.stripe_objects import DAY, NOW, invoice, line

OPEN, PAID = invoice("open"), invoice("paid", finalized=NOW - 30 * DAY)


def owed(*invoices: dict[str, Any]) -> int | None:
    return bills(invoices, ()).since


def items(
    *invoices: dict[str, Any], metered: tuple[str, ...] = (), current: tuple[str, ...] = ()
) -> dict[str, int | None]:
    """Product and quantity of what was last paid for."""
    found_bills = bills(invoices, current)
    lines = [each["_all_lines"] for each in found_bills.paid]
    whole = found_bills.whole
    lines[whole:] = [lines_of(each, current) for each in lines[whole:]]
    found = paid_items(lines, metered.__contains__)
    return {item.product: item.quantity for item in found}


@pytest.mark.parametrize("status", ["open", "uncollectible"])
def test_the_debt_begins_with_the_oldest_unpaid_invoice_of_the_run(status: str) -> None:
    runs = [invoice(status, finalized=NOW - days * DAY) for days in (0, 7, 14)]
    assert owed(*runs, PAID, invoice("open", finalized=NOW - 60 * DAY)) == NOW - 14 * DAY


@pytest.mark.parametrize("status", ["draft", "void", "a_future_status"])
def test_an_invoice_that_is_neither_paid_nor_owed_is_passed_over(status: str) -> None:
    between = invoice(status, finalized=NOW - DAY)
    assert owed(between, OPEN, between, invoice("open", finalized=NOW - 2 * DAY), PAID) == (
        NOW - 2 * DAY
    )


def test_an_invoice_that_was_sent_is_owed_from_its_due_date() -> None:
    assert owed(invoice("open", due_date=NOW + 5 * DAY), PAID) == NOW + 5 * DAY


def test_an_invoice_without_the_time_of_its_finalization_is_owed_from_its_creation() -> None:
    unknown = invoice("open", status_transitions={"finalized_at": None})
    assert owed(unknown) == unknown["created"]


def test_where_nothing_is_owed_it_counts_from_when_that_was_settled() -> None:
    """Stripe may say past_due for a moment, or after somebody voided the invoice."""
    assert owed(PAID, OPEN) == NOW - 30 * DAY
    paid = invoice("paid", status_transitions={"finalized_at": NOW - DAY, "paid_at": NOW})
    assert owed(invoice("draft"), paid, OPEN) == NOW
    voided = invoice("void", status_transitions={"finalized_at": NOW - DAY, "voided_at": NOW})
    assert owed(voided, PAID) == NOW
    assert owed() is None


def test_a_yearly_plan_is_kept_beside_an_addon_that_is_paid_by_the_month() -> None:
    """Items of different periods are billed by invoices of their own."""
    first = invoice("paid", line("prod_year"), line("prod_addon"), reason="subscription_create")
    months = [invoice("paid", line("prod_addon", quantity=2)) for _ in range(4)]
    both = ("si_prod_year", "si_prod_addon")
    for failed in (line("prod_addon"), line("prod_year")):
        owing = invoice("open", failed)
        assert items(owing, *months, first, current=both) == {"prod_addon": 2, "prod_year": 1}
    # An item that is not there any more is not brought back by an older invoice.
    assert items(OPEN, *months, first, current=("si_prod_addon",)) == {"prod_addon": 2}


def test_what_an_invoice_for_nothing_bills_within_the_debt_is_looked_for_further_back() -> None:
    free = invoice("paid", line("prod_addon"), total=0, reason="subscription_update")
    addon = invoice("paid", line("prod_addon", quantity=3))
    both = ("si_prod_team", "si_prod_addon")
    assert items(free, OPEN, PAID, addon, current=both) == {"prod_team": 1, "prod_addon": 3}


def test_without_an_invoice_for_a_whole_period_everything_that_was_paid_counts() -> None:
    update = invoice("paid", line("prod_gone"), reason="subscription_update")
    assert items(OPEN, update, current=("si_prod_team",)) == {"prod_gone": 1}


def test_an_item_that_was_never_paid_for_ends_at_the_first_invoice() -> None:
    older = invoice("paid", line("prod_older"))
    first = invoice("paid", line(), reason="subscription_create")
    assert items(OPEN, PAID, first, older, current=("si_new",)) == {"prod_team": 1}


@pytest.mark.parametrize("total", [0, -500])
def test_an_invoice_for_nothing_neither_ends_the_debt_nor_counts_as_paid_within_it(
    total: int,
) -> None:
    free = invoice("paid", line("prod_max"), total=total, reason="subscription_update")
    before = invoice("paid", line("prod_lite"), finalized=NOW - 30 * DAY)
    assert owed(free, OPEN, free, invoice("open", finalized=NOW - DAY), before) == NOW - DAY
    assert items(free, OPEN, free, invoice("open", finalized=NOW - DAY), before) == {"prod_lite": 1}


def test_an_invoice_for_nothing_before_the_debt_counts_as_paid() -> None:
    free = invoice("paid", line("prod_free"), total=0)
    assert items(OPEN, free, invoice("paid", line("prod_old"))) == {"prod_free": 1}


def test_the_first_invoice_ends_the_debt_even_if_it_is_for_nothing() -> None:
    first = invoice("paid", line("prod_trial"), total=0, reason="subscription_create")
    older = invoice("open", finalized=NOW - 90 * DAY)
    assert owed(OPEN, first, older) == NOW
    assert items(OPEN, first, older) == {"prod_trial": 1}


def test_no_more_invoices_are_taken_than_decide() -> None:
    addon = invoice("paid", line("prod_addon"), total=1, reason="subscription_update")
    taken = []

    def each_of(*invoices: Any) -> Any:
        for each in invoices:
            taken.append(each)
            yield each

    bills(each_of(OPEN, PAID, PAID, OPEN), ("si_prod_team",))
    assert taken == [OPEN, PAID]
    taken.clear()
    # The items were billed by two invoices, of which only the older one billed a whole period.
    bills(each_of(OPEN, addon, PAID, PAID), ("si_prod_team", "si_prod_addon"))
    assert taken == [OPEN, addon, PAID]


def test_an_invoice_over_the_smallest_amount_ends_the_debt() -> None:
    assert owed(OPEN, invoice("paid", total=1), invoice("open", finalized=NOW - 60 * DAY)) == NOW


def test_without_a_paid_invoice_nothing_was_paid_for() -> None:
    assert items(OPEN, invoice("open", finalized=NOW - DAY)) == {}


def test_each_item_counts_as_the_newest_paid_line_bills_it() -> None:
    assert items(
        OPEN,
        invoice("paid", line("prod_addon", quantity=2), reason="subscription_update"),
        invoice("paid", line("prod_team", quantity=8), reason="subscription_update"),
        invoice("paid", line("prod_team", quantity=5)),
        invoice("paid", line("prod_older")),
    ) == {"prod_addon": 2, "prod_team": 8}


@pytest.mark.parametrize("amount", [-500, -1])
def test_an_item_whose_newest_line_is_a_credit_was_given_back(amount: int) -> None:
    credit = line("prod_addon", amount=amount)
    assert items(
        OPEN,
        invoice("paid", credit, line("prod_team", quantity=2), reason="subscription_update"),
        invoice("paid", line("prod_team"), line("prod_addon")),
    ) == {"prod_team": 2}


def test_an_item_that_costs_nothing_was_paid_for() -> None:
    free = invoice("paid", line("prod_free", amount=0), line())
    assert items(OPEN, free) == {"prod_free": 1, "prod_team": 1}


def test_a_credit_for_nothing_is_known_by_the_items_it_credits() -> None:
    credit = line("prod_addon", amount=0)
    credit["parent"]["subscription_item_details"]["proration_details"] = {
        "credited_items": {"invoice": "in_1", "invoice_line_items": ["il_1"]}
    }
    assert items(OPEN, invoice("paid", credit), PAID) == {}


def change(product: str, *, starts: int, ends: int = NOW + 30 * DAY, **fields: Any) -> Any:
    moved = line(product, period={"start": starts, "end": ends}, **fields)
    moved["parent"] = {"subscription_item_details": {"subscription_item": "si_1"}}
    return moved


def test_of_several_changes_in_one_invoice_the_latest_period_counts() -> None:
    twice = [
        change("prod_b", starts=NOW + DAY),
        change("prod_a", starts=NOW + DAY, amount=-100),
        change("prod_c", starts=NOW + 2 * DAY),
        change("prod_b", starts=NOW + 2 * DAY, amount=-100),
    ]
    for lines in (twice, twice[::-1]):
        assert items(OPEN, invoice("paid", *lines)) == {"prod_c": 1}
    renewed = change("prod_d", starts=NOW + 30 * DAY, ends=NOW + 60 * DAY)
    assert items(OPEN, invoice("paid", *twice, renewed)) == {"prod_d": 1}


def test_of_changes_in_one_second_the_line_that_stripe_lists_first_counts() -> None:
    same = [change(product, starts=NOW) for product in ("prod_newest", "prod_older")]
    assert items(OPEN, invoice("paid", *same)) == {"prod_newest": 1}


def test_the_lines_of_a_prices_tiers_add_up() -> None:
    tiers = [change("prod_team", starts=NOW, quantity=quantity) for quantity in (5, 3, 0)]
    assert items(OPEN, invoice("paid", *tiers)) == {"prod_team": 8}


def test_a_line_without_a_price_is_passed_over() -> None:
    for pricing in (None, {"price_details": {"price": None, "product": "prod_team"}}):
        paid = invoice("paid", line(pricing=pricing), line("prod_addon"))
        assert items(OPEN, paid) == {"prod_addon": 1}


def test_a_line_that_bills_no_subscription_item_is_passed_over() -> None:
    setup_fee = {"id": "il_fee", "amount": 100, "parent": {"invoice_item_details": {}}}
    assert items(OPEN, invoice("paid", setup_fee, {**setup_fee, "parent": None}, line())) == {
        "prod_team": 1
    }


def test_only_the_prices_of_subscription_items_are_billed_for() -> None:
    fee = line("prod_fee", parent={"invoice_item_details": {}})
    assert billed_in([[line(), fee], [line("prod_addon")]]) == {
        ("price_prod_team", "prod_team"),
        ("price_prod_addon", "prod_addon"),
    }
    nameless = line(pricing={"price_details": {"price": "price_1"}})
    assert billed_in([[nameless]]) == {("price_1", "")}


def test_the_usage_on_a_metered_prices_line_is_no_quantity() -> None:
    used = invoice("paid", line("prod_api", quantity=12_345))
    assert items(OPEN, used, metered=("price_prod_api",)) == {"prod_api": None}


def test_a_price_may_be_expanded() -> None:
    expanded = line()
    expanded["pricing"]["price_details"]["price"] = {"id": "price_prod_team"}
    (item,) = paid_items([[expanded]], lambda price: False)
    assert item == Item(price="price_prod_team", product="prod_team", quantity=1)
