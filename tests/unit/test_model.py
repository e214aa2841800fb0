"""The row: its DynamoDB item, its formats and its history."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from billing.access import Product
from billing.facts import (
    Debt,
    Facts,
    Grant,
    Item,
    PaymentMethod,
    Subscription,
    TaxId,
    without_defaults,
)
from billing.history import MAX_NAMES, MAX_TRANSITIONS, TAKEN_OVER, Change
from billing.keys import CONFIGURATION, CustomerKey, DocumentKey, SubjectKey
from billing.model import FORMAT, MAX_TEXT_BYTES, CustomerRow, DocumentRow, Link
from billing.sync_request import Cause
from tests.unit.stripe_objects import DAY, NOW, POLICY

KEY = CustomerKey("own", "test", "cus_1")
END = NOW + 30 * DAY
ITEM = Item(price="price_1", product="prod_a", lookup_key="team", quantity=2, period_end=END)
CARD = PaymentMethod(type="card", brand="visa", last4="4242", exp_month=1, exp_year=2030)
ACTIVE = Subscription(id="sub_1", status="active", items=(ITEM,))
#: Every field has another value than its default.
FULL = Facts(
    deleted=True,
    delinquent=True,
    subscriptions=(
        Subscription(
            id="sub_1",
            status="past_due",
            items=(ITEM, replace(ITEM, quantity=None)),
            cancel_at=NOW + 1,
            trial_end=NOW + 2,
            collection_paused=True,
            debt=Debt(since=NOW, method="card", paid=(ITEM,)),
            payment_method=CARD,
        ),
    ),
    entitlements=("sso", "api"),
    product_features={"prod_a": ("sso",), "prod_b": ()},
    grants=(Grant(feature="beta", until=END, reason="pilot"),),
    payment_method=CARD,
    tax_ids=(TaxId(type="eu_vat", status="verified"),),
    test_clock=NOW,
    claimed_subject="user-1",
    claimed_issuer="https://issuer/",
)
PAYING = Facts(subscriptions=(ACTIVE,), entitlements=("sso",), claimed_subject="user-1")


def advanced(row: CustomerRow, facts: Facts, event: str = "evt_1", **more: Any) -> CustomerRow:
    details = {"as_of": NOW, "confirm_at": NOW + 90, "policy": POLICY, **more}
    return row.advanced(facts, cause=Cause(event, "x"), **details)


def read(item: Mapping[str, Any]) -> CustomerRow:
    return CustomerRow.from_item(KEY, item)


NEW = CustomerRow(key=KEY)


# ---------------------------------------------------------------- the item


def test_a_row_can_be_read_from_its_item() -> None:
    row = replace(advanced(NEW, FULL), subject="user-1", issuer="https://issuer/")
    row = advanced(row, PAYING, ended=[{"id": "sub_1", "ended_at": 5, "status": "canceled"}])
    assert read(row.to_item()) == row
    tombstone = advanced(row, Facts(deleted=True))
    assert read(tombstone.to_item()) == tombstone
    assert tombstone.deleted
    assert tombstone.to_item()["deleted"] is True


def test_every_fact_survives_the_table() -> None:
    assert Facts.from_stored(json.loads(json.dumps(FULL.to_stored()))) == FULL
    assert Facts.from_stored({}) == Facts()
    bare = Facts(subscriptions=(Subscription(id="sub_1", status="past_due", debt=Debt(since=NOW)),))
    assert Facts.from_stored(bare.to_stored()) == bare


def test_the_period_of_a_subscription_ends_with_the_last_of_its_items_that_have_one() -> None:
    items = (replace(ITEM, period_end=None), ITEM, replace(ITEM, period_end=END - DAY))
    assert replace(ACTIVE, items=items).current_period_end == END
    assert replace(ACTIVE, items=items[:1]).current_period_end is None


def test_what_is_empty_is_left_out_of_the_item() -> None:
    assert NEW.to_item() == {"pk": "CUS#own#test#cus_1", "format": FORMAT}
    assert read({}) == NEW
    assert Facts().to_stored() == {}


def test_a_small_row_can_be_read_in_the_console_and_a_large_one_is_compressed() -> None:
    small = advanced(NEW, PAYING).to_item()
    assert json.loads(small["facts"])["subscriptions"][0]["id"] == "sub_1"
    assert " " not in small["facts"]
    many = tuple(replace(ACTIVE, id=f"sub_{number}") for number in range(900))
    large = advanced(NEW, replace(PAYING, subscriptions=many))
    item = large.to_item()
    text = json.dumps(large.facts.to_stored(), separators=(",", ":"))
    assert item["facts"] == zlib.compress(text.encode(), 9)
    assert len(item["facts"]) < 40_000
    assert read(item) == large
    assert MAX_TEXT_BYTES < 1024


def test_a_row_is_text_while_it_fits_into_one_write_unit() -> None:
    for letters in range(MAX_TEXT_BYTES):
        grant = Grant(feature="beta", until=END, reason="x" * letters)
        item = replace(NEW, facts=replace(PAYING, grants=(grant,))).to_item()
        text = json.dumps(Facts(grants=(grant,)).to_stored())
        if isinstance(item["facts"], bytes):
            break
        assert len(item["facts"]) <= MAX_TEXT_BYTES, text
    assert letters > 1
    before = replace(PAYING, grants=(replace(grant, reason="x" * (letters - 1)),))
    assert len(replace(NEW, facts=before).to_item()["facts"]) == MAX_TEXT_BYTES


def test_beside_a_history_the_facts_stay_text_as_long_as_both_fit() -> None:
    row = advanced(NEW, PAYING)
    assert {type(row.to_item()[part]) for part in ("facts", "history")} == {str}
    longer = replace(PAYING, grants=(Grant(feature="beta", until=END, reason="x" * 350),))
    item = advanced(row, longer).to_item()
    assert (type(item["facts"]), type(item["history"])) == (str, bytes)
    assert len(item["facts"]) + len(item["history"]) < 1024


def test_the_item_of_a_document_is_plain_data() -> None:
    key = DocumentKey(CONFIGURATION, "test", "bpc_1")
    row = DocumentRow(key=key, revision=3, as_of=NOW, confirm_at=NOW + 90, content={"name": "a"})
    item = {
        "pk": "CONFIG#test#bpc_1",
        "rev": 3,
        "as_of": NOW,
        "confirm_at": NOW + 90,
        "content": {"name": "a"},
    }
    assert row.to_item() == item
    assert DocumentRow.from_item(key, item) == row
    assert DocumentRow.from_item(key, {}) == DocumentRow(key=key)


SUBJECT = SubjectKey("test", "https://issuer/", "user-1")


def test_the_item_of_a_link_has_its_customer_and_its_claimants() -> None:
    other = CustomerKey("own", "test", "cus_2")
    link = Link(key=SUBJECT, revision=2, customer=KEY, claimants=(other,))
    item = {
        "pk": "SUBJECT#test#https://issuer/#user-1",
        "rev": 2,
        "account": "own",
        "customer": "cus_1",
        "claimants": ["CUS#own#test#cus_2"],
    }
    assert link.to_item() == item
    assert Link.from_item(SUBJECT, item) == link
    assert Link.from_item(SUBJECT, {}) == Link(key=SUBJECT)


def test_a_link_of_the_first_release_has_the_first_revision_and_no_claimants() -> None:
    item = {"pk": SUBJECT.pk, "account": "own", "customer": "cus_1"}
    assert Link.from_item(SUBJECT, item) == Link(key=SUBJECT, revision=1, customer=KEY)


def test_what_a_later_release_remembers_as_a_claimant_is_passed_over() -> None:
    item = {"pk": SUBJECT.pk, "account": "own", "customer": "cus_1"}
    later = ["CATALOG#test", "TEAM#own#test#team_1", KEY.pk]
    assert Link.from_item(SUBJECT, item | {"claimants": later}).claimants == (KEY,)


def test_the_mode_and_the_account_are_part_of_the_key() -> None:
    assert KEY.pk == "CUS#own#test#cus_1"
    assert CustomerKey("acct_1", "live", "cus_1").pk == "CUS#acct_1#live#cus_1"
    assert SubjectKey("test", "https://issuer/", "u").pk == "SUBJECT#test#https://issuer/#u"


# ---------------------------------------------------------------- formats


def with_unknown(value: Any) -> Any:
    """The same with an attribute, at every level, that this release does not know."""
    if isinstance(value, dict):
        known = {name: with_unknown(part) for name, part in value.items()}
        return known if set(value) == {"prod_a", "prod_b"} else {**known, "added_later": {"a": [1]}}
    if isinstance(value, list):
        return [with_unknown(part) for part in value]
    return value


def test_attributes_of_a_later_release_are_ignored_at_every_level() -> None:
    row = advanced(NEW, FULL)
    row = advanced(row, PAYING, ended=[{"id": "sub_1", "ended_at": 5, "status": "canceled"}])
    row = advanced(row, FULL)
    item = row.to_item()
    assert isinstance(item["facts"], bytes)
    later = item | {
        "format": FORMAT + 1,
        "added_later": {"a": 1},
        "facts": json.dumps(with_unknown(FULL.to_stored())),
        "history": json.dumps(with_unknown(without_defaults(row.transitions))),
    }
    assert read(later) == row


#: A row as the first release wrote it, as DynamoDB returns it.
FIRST_FORMAT = {
    "pk": KEY.pk,
    "rev": Decimal(3),
    "as_of": Decimal(NOW),
    "confirm_at": Decimal(NOW + 90),
    "subject": "user-1",
    "issuer": "https://issuer/",
    "features": {"sso": Decimal(END)},
    "products": {"prod_a": {"quantity": Decimal(2), "until": Decimal(END)}},
    "subscriptions": [
        {
            "id": "sub_1",
            "status": "active",
            "until": Decimal(END + 72 * 3600),
            "cancel_at": None,
            "current_period_end": Decimal(END),
            "trial_end": None,
            "items": [
                {
                    "price": "price_1",
                    "product": "prod_a",
                    "lookup_key": "team",
                    "quantity": Decimal(2),
                }
            ],
        },
        {
            "id": "sub_2",
            "status": "past_due",
            "until": Decimal(NOW + 5 * DAY),
            "cancel_at": None,
            "current_period_end": Decimal(END),
            "trial_end": None,
            "items": [
                {
                    "price": "price_2",
                    "product": "prod_b",
                    "lookup_key": None,
                    "quantity": Decimal(1),
                }
            ],
        },
    ],
    "payment_method": {
        "brand": "visa",
        "last4": "4242",
        "exp_month": Decimal(1),
        "exp_year": Decimal(2030),
    },
    "tax_ids": [{"type": "eu_vat", "status": None, "added_later": Decimal(1)}],
    "claimed_subject": "user-1",
    "transitions": [
        {"at": Decimal(NOW), "event": "evt_1", "type": "x", "gained": ["sso"], "lost": []}
    ],
}


def test_a_row_of_the_first_release_gives_what_it_gave() -> None:
    row = read(FIRST_FORMAT)
    assert (row.revision, row.as_of, row.confirm_at, row.subject) == (3, NOW, NOW + 90, "user-1")
    given = row.access(POLICY, NOW)
    assert given.products == {
        "prod_a": Product(2, END + 72 * 3600),
        "prod_b": Product(1, NOW + 5 * DAY),
    }
    assert set(given.features) == {"sso"}
    assert given.payment_method == CARD
    assert row.facts.tax_ids == (TaxId(type="eu_vat"),)
    assert row.facts.claimed_subject == "user-1"
    assert (row.deleted, row.facts.delinquent) == (False, False)
    assert read(FIRST_FORMAT | {"delinquent": True}).facts.delinquent
    assert [each.gained for each in row.transitions] == [("sso",)]
    assert advanced(row, PAYING).to_item()["format"] == FORMAT


def test_a_paused_collection_that_gave_nothing_in_the_first_release_gives_nothing() -> None:
    paused = {**FIRST_FORMAT["subscriptions"][0], "until": None}  # type: ignore[index]
    row = read(FIRST_FORMAT | {"subscriptions": [paused]})
    policy = replace(POLICY, pause_collection_keeps_access=False)
    assert row.access(policy, NOW).products == {}


def test_a_tombstone_of_the_first_release_is_one() -> None:
    assert read({"pk": KEY.pk, "rev": Decimal(2), "deleted": True}).deleted


# ---------------------------------------------------------------- the history


def test_each_commit_raises_the_revision_by_one() -> None:
    once = advanced(NEW, FULL)
    assert (once.revision, advanced(once, FULL).revision) == (1, 2)


def test_a_transition_lists_what_was_gained_and_lost_and_its_event() -> None:
    row = advanced(NEW, PAYING, event="evt_bought")
    fewer = replace(ACTIVE, items=(replace(ITEM, quantity=1),))
    row = advanced(row, Facts(subscriptions=(fewer,)), event="evt_downgraded")
    latest, first = row.transitions
    assert (first.event, first.gained, first.lost) == ("evt_bought", ("prod_a×2", "sso"), ())
    assert (first.at, first.type) == (NOW, "x")
    assert first.changes == (Change(subscription="sub_1", after="active"),)
    assert latest.event == "evt_downgraded"
    assert (latest.gained, latest.lost) == (("prod_a",), ("prod_a×2", "sso"))
    assert latest.changes == ()


def test_a_transition_names_what_stripe_says_about_a_subscription_that_ended() -> None:
    ended = {
        "id": "sub_1",
        "status": "canceled",
        "ended_at": NOW - 5,
        "cancellation_details": {
            "reason": "cancellation_requested",
            "feedback": "too_expensive",
            "comment": "not kept: it is the customer's own words",
        },
    }
    row = advanced(advanced(NEW, PAYING), Facts(), event="evt_late", ended=[ended])
    assert row.transitions[0].changes == (
        Change(
            subscription="sub_1",
            before="active",
            after="canceled",
            ended_at=NOW - 5,
            reason="cancellation_requested",
            feedback="too_expensive",
        ),
    )


def test_a_subscription_whose_end_stripe_does_not_explain_is_named_all_the_same() -> None:
    row = advanced(advanced(NEW, PAYING), Facts())
    assert row.transitions[0].changes == (Change(subscription="sub_1", before="active"),)


def test_an_end_that_takes_nothing_is_a_transition_too() -> None:
    unpaid = Facts(subscriptions=(replace(ACTIVE, status="unpaid"),))
    row = advanced(advanced(NEW, unpaid), Facts(), ended=[{"id": "sub_1", "ended_at": NOW}])
    assert [(each.lost, len(each.changes)) for each in row.transitions] == [((), 1)]


def test_the_end_of_a_subscription_that_never_began_is_no_transition() -> None:
    tried = Facts(subscriptions=(replace(ACTIVE, status="incomplete"),))
    row = advanced(advanced(NEW, tried), Facts(), ended=[{"id": "sub_1", "ended_at": NOW}])
    assert row.transitions == ()


def test_access_that_ended_with_time_is_lost_in_the_next_transition() -> None:
    row = advanced(NEW, PAYING)
    later = advanced(row, PAYING, as_of=END + 90 * DAY)
    assert later.transitions[0].lost == ("prod_a×2", "sso")


def test_a_sync_that_changes_nothing_adds_no_transition() -> None:
    row = advanced(NEW, PAYING)
    renewed = replace(ACTIVE, items=(replace(ITEM, period_end=END + 30 * DAY),))
    again = advanced(row, replace(PAYING, subscriptions=(renewed,)))
    assert again.transitions == row.transitions


def test_only_the_last_transitions_are_kept() -> None:
    row = NEW
    for number in range(MAX_TRANSITIONS + 5):
        row = advanced(row, PAYING if number % 2 == 0 else Facts(), event=f"evt_{number}")
    assert len(row.transitions) == MAX_TRANSITIONS
    assert row.transitions[0].event == f"evt_{MAX_TRANSITIONS + 4}"


@pytest.mark.parametrize("stored", [b"\x00", "{"])
def test_facts_that_cannot_be_read_are_an_error_and_never_empty(stored: Any) -> None:
    with pytest.raises(Exception, match=r".+"):
        read({"pk": KEY.pk, "rev": 1, "format": FORMAT, "facts": stored})


@pytest.mark.parametrize("letters", range(600, 1000, 7))
def test_a_row_of_any_size_can_be_read(letters: int) -> None:
    """Around the size at which the history and then the facts are compressed."""
    long = replace(PAYING, grants=(Grant(feature="beta", until=END, reason="x" * letters),))
    for row in (replace(NEW, facts=long), advanced(NEW, long)):
        assert read(row.to_item()) == row


def test_a_transition_keeps_a_limited_number_of_names() -> None:
    many = tuple(replace(ACTIVE, id=f"sub_{number}") for number in range(MAX_NAMES + 5))
    keys = tuple(f"feature_{number}" for number in range(MAX_NAMES + 5))
    row = advanced(NEW, replace(PAYING, subscriptions=many, entitlements=keys))
    (transition,) = row.transitions
    assert len(transition.gained) == len(transition.changes) == MAX_NAMES


def test_what_a_stored_row_leaves_out_is_not_set() -> None:
    stored = {
        "subscriptions": [{"id": "sub_1", "status": "active"}],
        "grants": [{"feature": "sso", "until": END}],
    }
    facts = Facts.from_stored(stored)
    (subscription,), (grant,) = facts.subscriptions, facts.grants
    assert subscription.collection_paused is False
    assert (subscription.items, subscription.cancel_at, subscription.debt) == ((), None, None)
    assert grant.reason == ""


def test_rows_name_a_takeover_by_the_same_text_in_every_release() -> None:
    assert TAKEN_OVER == "portcullis.subject_taken_over"
