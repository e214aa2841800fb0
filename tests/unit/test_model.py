"""The row: its DynamoDB item and its transitions."""

from __future__ import annotations

from dataclasses import replace

from billing.keys import CustomerKey, SubjectKey
from billing.model import (
    MAX_TRANSITIONS,
    Billing,
    CustomerRow,
    Item,
    PaymentMethod,
    ProductGrant,
    Subscription,
    TaxId,
)
from billing.sync_request import Cause
from tests.unit.stripe_objects import NOW

KEY = CustomerKey("own", "test", "cus_1")
FULL = Billing(
    delinquent=True,
    features={"sso": NOW},
    products={"prod_a": ProductGrant(quantity=2, until=NOW)},
    subscriptions=(
        Subscription(
            id="sub_1",
            status="active",
            until=None,
            cancel_at=NOW,
            current_period_end=NOW,
            trial_end=None,
            items=(Item(price="price_1", product="prod_a", lookup_key=None, quantity=2),),
        ),
    ),
    payment_method=PaymentMethod(brand="visa", last4="4242", exp_month=1, exp_year=2030),
    tax_ids=(TaxId(type="eu_vat", status=None),),
    claimed_subject="user-1",
)


def advanced(row: CustomerRow, billing: Billing, event: str = "evt_1") -> CustomerRow:
    return row.advanced(billing, as_of=NOW, confirm_at=NOW + 90, cause=Cause(event, "x"))


def test_a_row_can_be_read_from_its_item() -> None:
    row = replace(advanced(CustomerRow(key=KEY), FULL), subject="user-1")
    assert CustomerRow.from_item(KEY, row.to_item()) == row
    tombstone = advanced(row, Billing(deleted=True))
    assert CustomerRow.from_item(KEY, tombstone.to_item()) == tombstone
    assert tombstone.deleted


def test_an_empty_field_is_left_out_of_the_item() -> None:
    assert CustomerRow(key=KEY).to_item() == {"pk": "CUS#own#test#cus_1"}
    assert CustomerRow.from_item(KEY, {}) == CustomerRow(key=KEY)


def test_the_mode_and_the_account_are_part_of_the_key() -> None:
    assert KEY.pk == "CUS#own#test#cus_1"
    assert CustomerKey("acct_1", "live", "cus_1").pk == "CUS#acct_1#live#cus_1"
    assert SubjectKey("test", "https://issuer/", "u").pk == "SUBJECT#test#https://issuer/#u"


def test_each_commit_raises_the_revision_by_one() -> None:
    once = advanced(CustomerRow(key=KEY), FULL)
    assert (once.revision, advanced(once, FULL).revision) == (1, 2)


def test_a_transition_lists_what_was_gained_and_lost_and_its_event() -> None:
    row = advanced(CustomerRow(key=KEY), FULL, event="evt_bought")
    fewer = replace(FULL, features={}, products={"prod_a": ProductGrant(quantity=1, until=NOW)})
    row = advanced(row, fewer, event="evt_downgraded")
    latest, first = row.transitions
    assert (first.event, first.gained, first.lost) == ("evt_bought", ("prod_a×2", "sso"), ())
    assert latest.event == "evt_downgraded"
    assert (latest.gained, latest.lost) == (("prod_a",), ("prod_a×2", "sso"))


def test_a_sync_that_changes_nothing_adds_no_transition() -> None:
    row = advanced(CustomerRow(key=KEY), FULL)
    assert advanced(row, replace(FULL, features={"sso": NOW + 5})).transitions == row.transitions


def test_only_the_last_transitions_are_kept() -> None:
    row = CustomerRow(key=KEY)
    for number in range(MAX_TRANSITIONS + 5):
        row = advanced(row, FULL if number % 2 == 0 else Billing(), event=f"evt_{number}")
    assert len(row.transitions) == MAX_TRANSITIONS
    assert row.transitions[0].event == f"evt_{MAX_TRANSITIONS + 4}"
