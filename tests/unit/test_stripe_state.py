"""The reads of one fetch: how many, and which."""

from __future__ import annotations

from typing import Any

import pytest

from billing.errors import OutOfTime
from billing.facts import Facts, Subscription
from billing.projection import StripeState
from billing.stripe_state import MAX_ENDED_READS, fetch
from tests.unit.fakes import MemoryStripe
from tests.unit.stripe_objects import (
    DAY,
    NOW,
    customer,
    entitlements,
    invoice,
    item,
    line,
    subscription,
)

PLAIN = ["retrieve_customer", "list_active_entitlements"]


def world(*subscriptions: dict[str, Any]) -> MemoryStripe:
    return MemoryStripe(
        customers={"cus_1": customer()},
        subscriptions_of={"cus_1": list(subscriptions)},
        entitlements_of={"cus_1": entitlements("sso")},
    )


def fetched(stripe: MemoryStripe, before: Facts | None = None) -> StripeState:
    return fetch(stripe, "cus_1", before or Facts(), lambda: None)


@pytest.mark.parametrize(
    "subscriptions",
    [
        [],
        [subscription()],
        [subscription("trialing", cancel_at_period_end=True)],
        [subscription("paused")],
        [subscription(), subscription("incomplete", id="sub_2")],
        [subscription(items=[item("prod_a"), item("prod_b", quantity=None)])],
    ],
    ids=[
        "none",
        "active",
        "trialing",
        "paused",
        "an abandoned attempt",
        "two products",
    ],
)
def test_a_customer_with_at_most_one_plain_subscription_costs_two_reads(
    subscriptions: list[dict[str, Any]],
) -> None:
    stripe = world(*subscriptions)
    fetched(stripe)
    assert stripe.calls == PLAIN


def test_products_features_are_read_where_items_end_at_different_times() -> None:
    stripe = world(subscription(items=[item("prod_a"), item("prod_b", ends=NOW + DAY)]))
    stripe.features_of = {"prod_a": ["sso"]}
    assert fetched(stripe).product_features == {"prod_a": ["sso"], "prod_b": []}
    assert stripe.calls == [*PLAIN, *["list_product_features"] * 2]


def test_products_features_are_read_once_for_each_product_of_several_subscriptions() -> None:
    stripe = world(subscription(), subscription(id="sub_2"), subscription("unpaid", id="sub_3"))
    assert set(fetched(stripe).product_features) == {"prod_team"}
    assert stripe.calls == [*PLAIN, "list_product_features"]


def test_invoices_are_read_for_past_due_subscriptions_only_and_no_more_than_decide() -> None:
    stripe = world(subscription("past_due"), subscription(id="sub_2"))
    stripe.page = 2
    before = line("prod_before", parent=line()["parent"])
    stripe.invoices_of = {
        "sub_1": [
            invoice("open"),
            invoice("paid", before, finalized=NOW - 30 * DAY),
            invoice("paid", finalized=NOW - 60 * DAY),
        ],
        "sub_2": [invoice("paid")],
    }
    stripe.prices = {"price_prod_before": {"recurring": {"usage_type": "metered"}}}
    state = fetched(stripe)
    assert set(state.invoices) == {"sub_1"}
    assert state.invoices["sub_1"].bills.since == NOW
    assert state.invoices["sub_1"].metered == {"price_prod_before"}
    # What was paid for decides, so the features of its product are read too.
    assert set(state.product_features) == {"prod_before", "prod_team"}
    assert stripe.calls.count("list_invoices") == 1
    assert stripe.calls.count("retrieve_price") == 1


def test_of_an_older_invoice_only_the_items_that_are_still_there_count() -> None:
    yearly, addon, gone = line("prod_year"), line("prod_addon"), line("prod_gone")
    stripe = world(subscription("past_due", items=[item("prod_year"), item("prod_addon")]))
    stripe.invoices_of = {
        "sub_1": [
            invoice("open", addon),
            invoice("paid", addon),
            invoice("paid", yearly, gone, reason="subscription_create"),
        ]
    }
    assert fetched(stripe).invoices["sub_1"].lines == [[addon], [yearly]]


def test_a_price_that_stripe_no_longer_has_counts_as_licensed() -> None:
    stripe = world(subscription("past_due"))
    stripe.invoices_of = {"sub_1": [invoice("open"), invoice("paid", line("prod_gone"))]}
    assert fetched(stripe).invoices["sub_1"].metered == frozenset()


def test_all_lines_of_a_paid_invoice_are_read() -> None:
    stripe = world(subscription("past_due"))
    lines = [{**line(f"prod_{n}"), "id": f"il_{n}"} for n in range(25)]
    stripe.invoices_of = {"sub_1": [invoice("open"), invoice("paid", *lines)]}
    assert len(fetched(stripe).invoices["sub_1"].lines[0]) == 25
    assert stripe.calls.count("list_invoice_lines") == 2


def before(*names: str) -> Facts:
    return Facts(subscriptions=tuple(Subscription(id=name, status="active") for name in names))


def test_a_subscription_that_is_not_current_any_more_is_read_once() -> None:
    stripe = world(subscription(id="sub_2"))
    stripe.ended = {"sub_1": {"id": "sub_1", "status": "canceled"}}
    state = fetched(stripe, before("sub_1", "sub_2", "sub_gone"))
    assert state.ended == [{"id": "sub_1", "status": "canceled"}]
    assert stripe.calls == [*PLAIN, *["retrieve_ended_subscription"] * 2]


def test_the_reads_of_ended_subscriptions_are_limited() -> None:
    stripe = world()
    fetched(stripe, before(*(f"sub_{number}" for number in range(900))))
    assert stripe.calls.count("retrieve_ended_subscription") == MAX_ENDED_READS


def test_a_deleted_customer_costs_one_read() -> None:
    stripe = world(subscription())
    stripe.customers["cus_1"] = {"id": "cus_1", "deleted": True}
    fetched(stripe, before("sub_1"))
    assert stripe.calls == ["retrieve_customer"]


def test_no_read_begins_without_time_left() -> None:
    stripe = world(subscription("past_due"), subscription(id="sub_2"))
    stripe.page = 1
    stripe.invoices_of = {"sub_1": [invoice("open"), invoice("paid", line("prod_before"))]}
    fetched(stripe, before("sub_gone"))
    reads = len(stripe.calls)
    assert {"retrieve_price", "retrieve_ended_subscription"} <= set(stripe.calls)
    for allowed in range(reads):
        stripe.calls.clear()
        left = iter(range(allowed))

        def in_time(left: Any = left) -> None:
            if next(left, None) is None:
                raise OutOfTime

        with pytest.raises(OutOfTime):
            fetch(stripe, "cus_1", before("sub_gone"), in_time)
        assert len(stripe.calls) == allowed
