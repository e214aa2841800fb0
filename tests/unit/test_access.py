"""The access policy, row by row of its table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from billing.access import access_until, current_period_end, scheduled_end
from tests.unit.stripe_objects import DAY, NOW, POLICY, item, subscription

END = NOW + 30 * DAY


def until(stripe_subscription: dict[str, Any], **policy: Any) -> int | None:
    first = stripe_subscription["items"]["data"][0]
    return access_until(stripe_subscription, first, replace(POLICY, **policy))


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_a_renewing_subscription_gives_access_until_its_period_end_plus_slack(status: str) -> None:
    assert until(subscription(status)) == END + 72 * 3600


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_cancel_at_ends_access_exactly_then(status: str) -> None:
    assert until(subscription(status, cancel_at=NOW + 5 * DAY)) == NOW + 5 * DAY


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_cancel_at_period_end_ends_access_exactly_at_the_period_end(status: str) -> None:
    assert until(subscription(status, cancel_at_period_end=True)) == END


def test_cancel_at_wins_over_cancel_at_period_end_where_both_are_set() -> None:
    both = subscription(cancel_at=NOW + 3 * DAY, cancel_at_period_end=True)
    assert until(both) == NOW + 3 * DAY


def test_a_reactivated_subscription_has_its_slack_back() -> None:
    cancelled = subscription(cancel_at=END)
    assert until(cancelled) == END
    assert until({**cancelled, "cancel_at": None}) == END + 72 * 3600


def test_past_due_gives_access_for_the_grace_days_from_the_unpaid_invoice() -> None:
    unpaid = {"status": "open", "created": NOW - DAY}
    assert until(subscription("past_due", latest_invoice=unpaid)) == NOW + 6 * DAY


def test_past_due_is_not_measured_from_the_period_end_that_renewal_has_moved_on() -> None:
    unpaid = {"status": "open", "created": NOW - 10 * DAY}
    assert until(subscription("past_due", latest_invoice=unpaid)) == NOW - 3 * DAY


def test_past_due_with_another_latest_invoice_counts_from_the_start_of_the_period() -> None:
    assert until(subscription("past_due", latest_invoice=None)) == NOW + 7 * DAY
    paid = {"status": "paid", "created": NOW + DAY}
    assert until(subscription("past_due", latest_invoice=paid)) == NOW + 7 * DAY


def test_past_due_ends_at_the_scheduled_end_if_that_comes_before_the_grace_does() -> None:
    unpaid = {"status": "open", "created": NOW}
    ending = subscription("past_due", latest_invoice=unpaid, cancel_at=NOW + 2 * DAY)
    assert until(ending) == NOW + 2 * DAY


@pytest.mark.parametrize(
    "status",
    ["unpaid", "paused", "incomplete", "incomplete_expired", "canceled", "a_status_of_tomorrow"],
)
def test_every_other_status_gives_no_access(status: str) -> None:
    assert until(subscription(status)) is None


def test_a_paused_collection_keeps_access_unless_the_policy_says_otherwise() -> None:
    paused = subscription(pause_collection={"behavior": "void"})
    assert until(paused) == END + 72 * 3600
    assert until(paused, pause_collection_keeps_access=False) is None


def test_the_period_end_is_read_from_the_item_and_before_basil_from_the_subscription() -> None:
    assert until(subscription(items=[item(ends=NOW + DAY)])) == NOW + DAY + 72 * 3600
    old_shape = subscription(items=[item(ends=None)], current_period_end=NOW + 2 * DAY)
    assert until(old_shape) == NOW + 2 * DAY + 72 * 3600


def test_a_subscription_without_any_period_end_gives_no_access() -> None:
    assert until(subscription(items=[item(ends=None)])) is None


def test_the_scheduled_end_of_items_with_different_periods_is_the_last_of_them() -> None:
    mixed = subscription(
        items=[item(ends=NOW + DAY), item("prod_x", ends=NOW + 9 * DAY)], cancel_at_period_end=True
    )
    assert current_period_end(mixed) == NOW + 9 * DAY
    assert scheduled_end(mixed) == NOW + 9 * DAY
    assert scheduled_end(subscription()) is None
