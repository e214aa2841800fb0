"""Every case of tests/cases/access.json can be built and read back through Stripe's library."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
import stripe

from tests.integration.case_objects import CASES, DAY, Served, served
from tests.unit.stripe_simulator.conftest import client_at

NOW = int(time.time())
UNKNOWN = "subscription.status: 'some_new_status'"
NAMES = [case["name"] for case in CASES]


@pytest.fixture(scope="module")
def stripe_side() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture
def v1(stripe_side: Served) -> Any:
    return client_at(stripe_side.url, stripe_side.key).v1


def named(name: str) -> Mapping[str, Any]:
    return next(case for case in CASES if case["name"].startswith(name))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_case_is_read_back_as_it_is_written(
    stripe_side: Served, v1: Any, case: Mapping[str, Any], found_in_responses: list[str]
) -> None:
    customer = stripe_side.build(case, NOW)
    listed = v1.subscriptions.list({"customer": customer, "status": "all", "limit": 100})
    subscriptions = {each.id: each for each in listed.auto_paging_iter()}
    assert list(subscriptions) == [each["id"] for each in case["subscriptions"]][::-1]
    for given in case["subscriptions"]:
        found = subscriptions[given["id"]]
        compare_subscription(found, given)
        found_invoices = v1.invoices.list({"subscription": given["id"], "limit": 100}).data
        compare_invoices(found_invoices, found, given)
    for product, keys in case["product_features"].items():
        attached = v1.products.features.list(product, {"limit": 100})
        assert {each.entitlement_feature.lookup_key for each in attached} == set(keys)
    held = v1.entitlements.active_entitlements.list({"customer": customer, "limit": 100})
    assert {each.lookup_key for each in held} == set(case["entitlements"])
    # A status that no library declares is what some cases are about.
    found_in_responses[:] = [each for each in found_in_responses if UNKNOWN not in each]


def compare_subscription(found: Any, given: Mapping[str, Any]) -> None:
    assert found.status == given["status"]
    assert found.cancel_at == (NOW + given["cancel_at"] * DAY if "cancel_at" in given else None)
    assert found.cancel_at_period_end is given.get("cancel_at_period_end", False)
    assert (found.pause_collection is not None) is given.get("pause_collection", False)
    assert found.collection_method == given.get("collection_method", "charge_automatically")
    assert (found.default_payment_method is not None) is ("payment_method" in given)
    items = [
        {
            "id": item.id,
            "price": item.price.id,
            "product": item.price.product,
            "quantity": getattr(item, "quantity", None),
            "period": [
                (item.current_period_start - NOW) / DAY,
                (item.current_period_end - NOW) / DAY,
            ],
        }
        for item in found["items"]
    ]
    assert items == given["items"]
    for item in found["items"]:
        metered = getattr(item, "quantity", None) is None
        assert item.price.recurring.usage_type == ("metered" if metered else "licensed")
        assert item.price.lookup_key is None


def compare_invoices(found: list[Any], subscription: Any, given: Mapping[str, Any]) -> None:
    expected = given.get("invoices", [])
    assert len(found) == len(expected)
    created = [invoice.created for invoice in found]
    assert created == sorted(created, reverse=True)
    assert len(set(created)) == len(created)
    assert subscription.latest_invoice == (found[0].id if found else None)
    for invoice, each in zip(found, expected, strict=True):
        assert (invoice.status, invoice.billing_reason) == (each["status"], each["billing_reason"])
        assert invoice.total == each["total"] == sum(line.amount for line in invoice.lines)
        transitions = invoice.status_transitions
        finalized = each["finalized"]
        at = None if finalized is None else NOW + finalized * DAY
        assert transitions.finalized_at == at
        assert transitions.paid_at == (at if each["status"] == "paid" else None)
        assert invoice.due_date == (None if each["due"] is None else NOW + each["due"] * DAY)
        assert invoice.parent.subscription_details.subscription == given["id"]
        lines = []
        for line in invoice.lines:
            details = line.parent.subscription_item_details
            price = line.pricing.price_details
            seen = {"item": details.subscription_item, "price": price.price}
            seen |= {"product": price.product, "quantity": line.quantity}
            if line.amount < 0:
                seen["credit"] = True
                assert details.proration
                assert details.proration_details.credited_items.invoice_line_items
            lines.append(seen)
        assert lines == each["lines"]


def test_a_case_does_not_change_by_itself(stripe_side: Served, v1: Any) -> None:
    stripe_side.build(named("nothing is left when nobody"), NOW)

    async def tick() -> list[Any]:
        return stripe_side.simulator.advance(400 * DAY)

    assert stripe_side.run(tick) == []
    found = v1.subscriptions.retrieve("sub_1")
    assert found["items"].data[0].current_period_end == NOW - 5 * DAY
    assert v1.invoices.list({"subscription": "sub_1"}).data == []


def test_the_invoices_of_a_case_are_numbered_newest_first(stripe_side: Served, v1: Any) -> None:
    stripe_side.build(named("grace is not renewed"), NOW)
    found = v1.invoices.list({"subscription": "sub_1"}).data
    assert [invoice.id for invoice in found] == ["in_1", "in_2", "in_3", "in_4"]
    second = v1.invoices.list({"subscription": "sub_1", "limit": 2, "starting_after": "in_2"})
    assert [invoice.id for invoice in second.data] == ["in_3", "in_4"]


def test_a_cases_customer_has_its_metadata_payment_method_and_clock(
    stripe_side: Served, v1: Any
) -> None:
    granted = v1.customers.retrieve(stripe_side.build(named("a complimentary feature st"), NOW))
    assert granted.metadata["user_id"] == "user_1"
    end, _, reason = granted.metadata["grant.sso"].partition(" ")
    assert datetime.fromisoformat(end).timestamp() == NOW + 40 * DAY
    assert reason == "pilot with their security team"
    customer = stripe_side.build(named("a bank debit"), NOW)
    expand = {"expand": ["subscriptions.data.default_payment_method", "test_clock"]}
    found = v1.customers.retrieve(customer, expand)
    method = found.subscriptions.data[0].default_payment_method
    assert (method.type, method.sepa_debit.last4, method.customer) == (
        "sepa_debit",
        "3202",
        customer,
    )
    assert found.test_clock is None
    customer = stripe_side.build(named("a customer on a test clock"), NOW)
    clocked = v1.customers.retrieve(customer, expand)
    assert clocked.test_clock.object == "test_helpers.test_clock"
    assert clocked.test_clock.frozen_time == NOW - 185 * DAY
    assert clocked.subscriptions.data[0].test_clock == clocked.test_clock.id


def test_a_paused_or_canceled_subscription_has_the_details_of_its_status(
    stripe_side: Served, v1: Any
) -> None:
    (given,) = named("a trial is like")["subscriptions"]
    for status in ("paused", "canceled"):
        case = {**named("a trial is like"), "subscriptions": [{**given, "status": status}]}
        stripe_side.build(case, NOW)
        found = v1.subscriptions.retrieve("sub_1")
        assert found.status == status
        assert ("status_details" in found) is (status == "paused")
        assert (found.ended_at is not None) is (status == "canceled")


def test_a_wrong_key_is_refused(stripe_side: Served) -> None:
    with pytest.raises(stripe.AuthenticationError):
        client_at(stripe_side.url, "nonsense").v1.customers.list()
