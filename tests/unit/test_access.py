"""The access policy: each row of its table."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stripe

from billing.access import (
    STANDINGS,
    Standing,
    access_until,
    current_period_end,
    is_held,
    scheduled_end,
    standing,
)
from tests.unit.stripe_objects import DAY, NOW, POLICY, item, subscription

END = NOW + 30 * DAY
PACKAGE = Path(__file__).parents[2] / "layers" / "billing" / "billing"


def until(stripe_subscription: dict[str, Any], **policy: Any) -> int | None:
    first = stripe_subscription["items"]["data"][0]
    return access_until(stripe_subscription, first, replace(POLICY, **policy))


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_a_renewing_subscription_gives_access_until_its_period_end_plus_slack(status: str) -> None:
    assert until(subscription(status)) == END + 72 * 3600


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_cancel_at_ends_access_exactly_at_that_time(status: str) -> None:
    assert until(subscription(status, cancel_at=NOW + 5 * DAY)) == NOW + 5 * DAY


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_cancel_at_period_end_ends_access_exactly_at_the_period_end(status: str) -> None:
    assert until(subscription(status, cancel_at_period_end=True)) == END


def test_cancel_at_takes_precedence_over_cancel_at_period_end() -> None:
    both = subscription(cancel_at=NOW + 3 * DAY, cancel_at_period_end=True)
    assert until(both) == NOW + 3 * DAY


def test_a_reactivated_subscription_gets_its_slack_again() -> None:
    cancelled = subscription(cancel_at=END)
    assert until(cancelled) == END
    assert until({**cancelled, "cancel_at": None}) == END + 72 * 3600


def test_past_due_gives_access_for_the_grace_days_from_the_unpaid_invoice() -> None:
    unpaid = {"status": "open", "created": NOW - DAY}
    assert until(subscription("past_due", latest_invoice=unpaid)) == NOW + 6 * DAY


def test_the_grace_days_do_not_count_from_the_end_of_the_renewed_period() -> None:
    unpaid = {"status": "open", "created": NOW - 10 * DAY}
    assert until(subscription("past_due", latest_invoice=unpaid)) == NOW - 3 * DAY


def test_without_an_unpaid_invoice_the_grace_days_count_from_the_start_of_the_period() -> None:
    assert until(subscription("past_due", latest_invoice=None)) == NOW + 7 * DAY
    paid = {"status": "paid", "created": NOW + DAY}
    assert until(subscription("past_due", latest_invoice=paid)) == NOW + 7 * DAY


def test_past_due_ends_at_the_scheduled_end_if_that_is_before_the_end_of_the_grace_days() -> None:
    unpaid = {"status": "open", "created": NOW}
    ending = subscription("past_due", latest_invoice=unpaid, cancel_at=NOW + 2 * DAY)
    assert until(ending) == NOW + 2 * DAY


@pytest.mark.parametrize(
    "status",
    ["unpaid", "paused", "incomplete", "incomplete_expired", "canceled", "a_future_status"],
)
def test_every_other_status_gives_no_access(status: str) -> None:
    assert until(subscription(status)) is None


def test_a_paused_collection_keeps_access_unless_the_policy_revokes_it() -> None:
    paused = subscription(pause_collection={"behavior": "void"})
    assert until(paused) == END + 72 * 3600
    assert until(paused, pause_collection_keeps_access=False) is None


def test_the_period_end_is_that_of_the_item_or_in_older_api_versions_of_the_subscription() -> None:
    assert until(subscription(items=[item(ends=NOW + DAY)])) == NOW + DAY + 72 * 3600
    old_shape = subscription(items=[item(ends=None)], current_period_end=NOW + 2 * DAY)
    assert until(old_shape) == NOW + 2 * DAY + 72 * 3600


def test_a_subscription_without_any_period_end_gives_no_access() -> None:
    assert until(subscription(items=[item(ends=None)])) is None


def test_the_scheduled_end_of_items_with_different_periods_is_the_latest_period_end() -> None:
    mixed = subscription(
        items=[item(ends=NOW + DAY), item("prod_x", ends=NOW + 9 * DAY)], cancel_at_period_end=True
    )
    assert current_period_end(mixed) == NOW + 9 * DAY
    assert scheduled_end(mixed) == NOW + 9 * DAY
    assert scheduled_end(subscription()) is None


#: For each of Stripe's statuses: whether it gives access, and whether its products count as held.
EXAMPLES = {
    "active": (True, True),
    "trialing": (True, True),
    "past_due": (True, True),
    "unpaid": (False, True),
    "paused": (False, True),
    "incomplete": (False, False),
    "incomplete_expired": (False, False),
    "canceled": (False, False),
}


@pytest.mark.parametrize("status", EXAMPLES)
def test_each_status_gives_access_and_counts_as_held_like_its_example(status: str) -> None:
    assert (until(subscription(status)) is not None, is_held(status)) == EXAMPLES[status]


def test_every_standing_has_an_example() -> None:
    assert set(EXAMPLES) == set(STANDINGS)


def test_every_status_in_stripes_library_has_a_standing() -> None:
    annotation = str(stripe.Subscription.__annotations__["status"])
    literal = annotation.partition("Literal[")[2].partition("]")[0]
    assert set(re.findall(r"['\"](\w+)['\"]", literal)) == set(STANDINGS)


def test_a_status_that_stripe_adds_is_held_and_gives_no_access() -> None:
    assert standing("hibernating") is Standing.UNKNOWN
    assert is_held("hibernating")
    assert until(subscription("hibernating")) is None


def test_only_the_access_policy_knows_stripes_statuses() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name == "access.py":
            continue
        literals = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        # `active` is also a field of prices, products and configurations.
        assert not literals & (set(STANDINGS) - {"active"}), path
