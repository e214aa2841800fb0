"""What rows cost and how large they may be, as DynamoDB counts their bytes."""

from __future__ import annotations

import random
import string
from dataclasses import replace

from billing.adapters.store import MAX_ITEM_BYTES, WRITE_UNIT_BYTES, DynamoDBStore, item_size
from billing.facts import Facts, Item, PaymentMethod, Subscription, TaxId
from billing.keys import CustomerKey
from billing.model import CustomerRow
from billing.sync_request import Cause
from tests.unit.adapters.aws import client
from tests.unit.adapters.wire import Response, Wire
from tests.unit.stripe_objects import DAY, NOW, POLICY

_IDS = random.Random(7)


def stripe_id(prefix: str, length: int = 24) -> str:
    """An id as long as Stripe's, and as hard to compress."""
    return f"{prefix}_{''.join(_IDS.choices(string.ascii_letters + string.digits, k=length))}"


def subscribed(*items: Item) -> Subscription:
    return Subscription(id=stripe_id("sub"), status="active", items=items)


def an_item(number: int = 0) -> Item:
    return Item(
        price=stripe_id("price"),
        product=stripe_id("prod", 14),
        lookup_key=f"team_monthly_{number}",
        quantity=5,
        period_end=NOW + 30 * DAY,
    )


def customer_row(*subscriptions: Subscription) -> CustomerRow:
    """A customer who tried, bought and upgraded, with a card and a tax id."""
    key = CustomerKey("own", "live", stripe_id("cus", 14))
    new = CustomerRow(
        key=key, subject="0190a7c8-7c1b-7b7c-9a55-0f5a3d1e6b11", issuer="https://acme.eu.auth0.com/"
    )
    full = Facts(
        subscriptions=subscriptions,
        entitlements=("projects", "api_access", "priority_support", "audit_log", "sso"),
        payment_method=PaymentMethod(
            type="card", brand="mastercard", last4="4444", exp_month=12, exp_year=2034
        ),
        tax_ids=(TaxId(type="eu_vat", status="verified"),),
        claimed_subject=new.subject,
        claimed_issuer=new.issuer,
    )
    row = new
    for facts in (replace(full, entitlements=("projects", "api_access")), full):
        cause = Cause(stripe_id("evt"), "customer.subscription.updated")
        row = row.advanced(facts, as_of=NOW, confirm_at=NOW + 90, cause=cause, policy=POLICY)
    return row


def test_a_typical_row_costs_one_write_unit() -> None:
    typical = customer_row(subscribed(an_item()))
    assert len(typical.transitions) == 2
    assert item_size(typical.to_item()) <= WRITE_UNIT_BYTES
    plain = replace(typical, transitions=typical.transitions[:1]).to_item()
    assert isinstance(plain["facts"], str), "it can be read in the console"


def test_900_subscriptions_or_150_items_are_an_ordinary_row(wire: Wire) -> None:
    store = DynamoDBStore(client("dynamodb", wire), "t")
    many = customer_row(*(subscribed(an_item(number)) for number in range(900)))
    wide = customer_row(subscribed(*(an_item(number) for number in range(150))))
    for row_ in (many, wide):
        written = replace(row_, revision=1)
        store.commit(written)
        wire.responds(Response({"Item": wire.sent[-1].json["Item"]}))
        assert store.load(written.key) == written
        assert item_size(written.to_item()) < MAX_ITEM_BYTES / 2


def test_the_size_of_an_item_is_counted_as_dynamodb_counts_it() -> None:
    assert item_size({"pk": "é"}) == 4
    assert item_size({"n": 1790000000, "b": b"123", "t": True, "none": None}) == 1 + 7 + 4 + 2 + 5
    assert item_size({"m": {"a": "b"}, "l": ["x", 1]}) == 1 + (3 + 1 + 2) + 1 + (3 + 2 + 1 + 2)
