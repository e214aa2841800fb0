"""Customers on a test clock live in its time."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import Shop, client_at

DAY = 86_400


@pytest.fixture
def clock(api: Any, control: Control) -> Any:
    frozen = control.now() - 200 * DAY
    return api.test_helpers.test_clocks.create({"frozen_time": frozen, "name": "half a year ago"})


def advance(api: Any, clock: Any, days: float) -> Any:
    target = api.test_helpers.test_clocks.retrieve(clock.id).frozen_time + int(days * DAY)
    moving = api.test_helpers.test_clocks.advance(clock.id, {"frozen_time": target})
    assert moving.status == "advancing"
    assert moving.status_details.advancing.target_frozen_time == target
    done = api.test_helpers.test_clocks.retrieve(clock.id)
    assert (done.status, done.frozen_time) == ("ready", target)
    return done


def test_a_clock_is_shown_on_its_customer_and_their_objects(
    api: Any, shop: Shop, clock: Any
) -> None:
    customer = shop.customer(test_clock=clock.id)
    subscription = shop.subscription(customer)
    found = api.customers.retrieve(customer.id, {"expand": ["test_clock"]})
    assert (found.test_clock.name, found.test_clock.frozen_time) == (clock.name, clock.frozen_time)
    assert found.created == clock.frozen_time
    assert (subscription.test_clock, subscription.created) == (clock.id, clock.frozen_time)
    assert subscription["items"].data[0].current_period_start == clock.frozen_time
    invoice = api.invoices.retrieve(subscription.latest_invoice)
    assert (invoice.test_clock, invoice.created) == (clock.id, clock.frozen_time)


def test_only_its_own_clock_renews_a_subscription(
    api: Any, shop: Shop, clock: Any, control: Control
) -> None:
    customer = shop.customer(test_clock=clock.id)
    subscription = shop.subscription(customer)
    other = shop.subscription()
    assert control.advance(days=32) != []
    assert api.subscriptions.retrieve(subscription.id)["items"] == subscription["items"]
    renewed = api.subscriptions.retrieve(other.id)
    advance(api, clock, 32)
    found = api.subscriptions.retrieve(subscription.id)
    assert found["items"].data[0].current_period_start == (
        subscription["items"].data[0].current_period_end
    )
    assert found.latest_invoice != subscription.latest_invoice
    assert api.subscriptions.retrieve(other.id) == renewed


def test_steps_of_a_clock_settle_one_by_one_and_their_events_have_the_simulators_time(
    api: Any, shop: Shop, clock: Any, control: Control
) -> None:
    customer = shop.customer(test_clock=clock.id)
    subscription = shop.subscription(customer, trial_period_days=7)
    assert subscription.trial_end == clock.frozen_time + 7 * DAY
    control.payment_outcome(customer.id, "fail")
    advance(api, clock, 30)
    ended = api.subscriptions.retrieve(subscription.id)
    assert ended.status == "canceled"
    assert clock.frozen_time < ended.ended_at < clock.frozen_time + 30 * DAY
    assert shop.keys(customer.id) == []
    events = api.events.list({"limit": 100}).data
    assert all(abs(event.created - control.now()) <= 10 for event in events)
    types = [event.type for event in events][::-1]
    expected = [
        "test_helpers.test_clock.created",
        "test_helpers.test_clock.advancing",
        "customer.subscription.trial_will_end",
        "invoice.payment_failed",
        "customer.subscription.deleted",
        "entitlements.active_entitlement_summary.updated",
        "test_helpers.test_clock.ready",
    ]
    last = [len(types) - 1 - types[::-1].index(name) for name in expected]
    assert last == sorted(last)


def test_changes_through_items_and_the_portal_happen_at_the_clocks_time(
    api: Any, shop: Shop, clock: Any, control: Control, browser: httpx.Client
) -> None:
    customer = shop.customer(test_clock=clock.id)
    subscription = shop.subscription(customer)
    item = api.subscription_items.create(
        {"subscription": subscription.id, "price": shop.pro_price.id}
    )
    assert item.created == clock.frozen_time
    api.subscription_items.update(item.id, {"quantity": 2, "proration_behavior": "always_invoice"})
    newest = api.invoices.list({"subscription": subscription.id}).data[0]
    assert newest.created == clock.frozen_time
    url = shop.portal(customer.id).url
    assert browser.post(f"{url}/subscriptions/{subscription.id}/cancel").status_code == 303
    ending = api.subscriptions.retrieve(subscription.id)
    assert ending.canceled_at == clock.frozen_time
    assert ending.cancel_at == subscription["items"].data[0].current_period_end


def test_a_checkout_of_a_customer_on_a_clock_happens_at_the_clocks_time(
    api: Any, shop: Shop, clock: Any, browser: httpx.Client
) -> None:
    session = api.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": shop.customer(test_clock=clock.id).id,
            "line_items": [{"price": shop.pro_price.id, "quantity": 1}],
            "success_url": "https://app.example.com/done",
        }
    )
    card = {"number": "4242424242424242", "exp_month": "12", "exp_year": "2034", "cvc": "1"}
    assert browser.post(session.url, data=card).status_code == 303
    done = api.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
    assert done.subscription.created == clock.frozen_time


def test_lists_leave_out_what_is_on_a_clock_unless_it_is_named(
    api: Any, shop: Shop, clock: Any
) -> None:
    timed, plain = shop.customer(test_clock=clock.id), shop.customer()
    here, there = shop.subscription(timed), shop.subscription(plain)

    def ids(found: Any) -> list[str]:
        return [each.id for each in found]

    assert ids(api.customers.list()) == [plain.id]
    assert ids(api.customers.list({"test_clock": clock.id})) == [timed.id]
    assert ids(api.subscriptions.list()) == [there.id]
    assert ids(api.subscriptions.list({"test_clock": clock.id})) == [here.id]
    assert ids(api.subscriptions.list({"customer": timed.id})) == [here.id]


def test_a_clock_moves_forward_only_and_needs_test_mode(
    api: Any, clock: Any, control: Control
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="only moves forward"):
        api.test_helpers.test_clocks.advance(clock.id, {"frozen_time": clock.frozen_time})
    with pytest.raises(stripe.InvalidRequestError, match="No such test clock"):
        api.customers.create({"test_clock": "clock_nothing"})
    with pytest.raises(stripe.InvalidRequestError, match="attaches a clock"):
        api.test_helpers.test_clocks.create({"frozen_time": 1, "customer": "cus_1"})
    live = client_at(control.base_url, "sk_live_1").v1
    with pytest.raises(stripe.InvalidRequestError, match="test mode"):
        live.test_helpers.test_clocks.create({"frozen_time": clock.frozen_time})
