"""Deliveries: signed over the exact bytes, retried, and disturbed on request."""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe

from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import Receiver, Shop


def endpoint(api: Any, receiver: Receiver, *types: str, **params: Any) -> Any:
    return api.webhook_endpoints.create(
        {"url": receiver.url, "enabled_events": list(types) or ["*"], **params}
    )


def test_an_event_is_signed_so_that_the_librarys_verifier_accepts_it(
    api: Any, control: Control, receiver: Receiver
) -> None:
    made = endpoint(api, receiver, "customer.created")
    customer = api.customers.create({"name": "Ünïcode"})
    assert control.wait_until_quiet()
    ((header, body),) = receiver.received
    event = stripe.Webhook.construct_event(body, header, made.secret, tolerance=300)
    assert event.data.object["id"] == customer.id
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, header, "whsec_other", tolerance=300)


def test_a_signature_has_the_real_time_even_after_the_clock_moves(
    api: Any, control: Control, receiver: Receiver
) -> None:
    made = endpoint(api, receiver)
    control.advance(days=100)
    api.customers.create()
    assert control.wait_until_quiet()
    ((header, body),) = receiver.received
    event = stripe.Webhook.construct_event(body, header, made.secret, tolerance=10)
    assert event.created >= control.now() - 5


def test_only_enabled_endpoints_receive_the_types_they_subscribe_to(
    api: Any, control: Control, receiver: Receiver
) -> None:
    made = endpoint(api, receiver, "product.created")
    api.customers.create()
    api.products.create({"name": "x"})
    assert control.wait_until_quiet()
    assert receiver.types() == ["product.created"]
    api.webhook_endpoints.update(made.id, {"disabled": True})
    api.products.create({"name": "y"})
    assert control.wait_until_quiet()
    assert len(receiver.received) == 1


def test_a_refused_delivery_is_retried_until_it_is_accepted(
    api: Any, control: Control, receiver: Receiver
) -> None:
    endpoint(api, receiver)
    control.retry_backoff(0.01, 0.01)
    receiver.statuses += [500, 302]
    api.customers.create()
    assert control.wait_until_quiet()
    (delivery,) = control.deliveries("customer.created")
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 302, 200]
    assert delivery["state"] == "delivered"
    (event,) = api.events.list({"delivery_success": True}).data
    assert event.pending_webhooks == 0


def test_a_delivery_that_never_succeeds_fails_and_its_event_is_still_listed(
    api: Any, control: Control, receiver: Receiver
) -> None:
    made = endpoint(api, receiver)
    control.retry_backoff(0.01)
    receiver.statuses += [503, 503]
    api.customers.create()
    assert control.wait_until_quiet()
    (delivery,) = control.deliveries()
    assert delivery["state"] == "failed"
    (event,) = api.events.list({"delivery_success": False}).data
    assert control.resend(event.id, made.id) == 1
    assert control.wait_until_quiet()
    assert receiver.types() == ["customer.created"] * 3


def test_held_deliveries_arrive_in_the_given_order(
    api: Any, control: Control, receiver: Receiver
) -> None:
    endpoint(api, receiver, "customer.updated")
    made = api.customers.create()
    control.hold_deliveries()
    for name in ("a", "b", "c", "d"):
        api.customers.update(made.id, {"name": name})
    assert control.wait_until_quiet()
    assert receiver.received == []
    ids = [entry["event"] for entry in control.deliveries()]
    assert control.release_deliveries(events=[ids[2]]) == 1
    assert control.wait_until_quiet()
    assert control.release_deliveries("reversed") == 3
    assert control.wait_until_quiet()
    assert [event.data.object["name"] for event in receiver.events()] == ["c", "d", "b", "a"]


def test_the_same_seed_gives_the_same_shuffle(
    api: Any, control: Control, receiver: Receiver
) -> None:
    endpoint(api, receiver, "customer.updated")
    made = api.customers.create()
    control.hold_deliveries()
    orders = []
    for _ in range(2):
        receiver.received.clear()
        for name in "abcdefgh":
            api.customers.update(made.id, {"name": name})
        control.release_deliveries("shuffled", seed=5)
        assert control.wait_until_quiet()
        orders.append([event.data.object["name"] for event in receiver.events()])
    assert orders[0] == orders[1] != list("abcdefgh")


def test_deliveries_are_duplicated_lost_or_delayed_on_request(
    api: Any, control: Control, receiver: Receiver
) -> None:
    endpoint(api, receiver)
    control.duplicate_deliveries("customer.created", copies=3, count=1)
    control.lose_deliveries("product.created")
    control.delay_deliveries(0.3, "customer.deleted")
    made = api.customers.create()
    api.products.create({"name": "x"})
    assert control.wait_until_quiet()
    assert receiver.types() == ["customer.created"] * 3
    assert len({event.id for event in receiver.events()}) == 1
    assert [entry["state"] for entry in control.deliveries("product.created")] == ["lost"]
    control.deliver_normally()
    api.customers.create()
    control.delay_deliveries(0.2, "customer.deleted")
    api.customers.delete(made.id)
    assert control.wait_until_quiet(0.01) is False
    assert control.wait_until_quiet()
    assert receiver.types()[-1] == "customer.deleted"


def test_two_secrets_sign_while_one_is_being_rolled(
    api: Any, control: Control, receiver: Receiver
) -> None:
    made = endpoint(api, receiver)
    fresh = control.roll_webhook_secret(made.id)
    api.customers.create()
    assert control.wait_until_quiet()
    ((header, body),) = receiver.received
    assert header.count("v1=") == 2
    for secret in (made.secret, fresh):
        stripe.Webhook.construct_event(body, header, secret)
    control.roll_webhook_secret(made.id, overlap=0)
    api.customers.create()
    assert control.wait_until_quiet()
    assert receiver.received[1][0].count("v1=") == 1


def test_a_forged_delivery_does_not_verify(api: Any, control: Control, receiver: Receiver) -> None:
    made = endpoint(api, receiver)
    control.forge({"id": "evt_forged", "object": "event", "type": "customer.created", "data": {}})
    assert control.wait_until_quiet()
    ((header, body),) = receiver.received
    assert json.loads(body)["id"] == "evt_forged"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, header, made.secret)


def test_a_payload_has_the_shape_of_its_endpoints_version(
    api: Any, control: Control, receiver: Receiver, shop: Shop
) -> None:
    endpoint(api, receiver, "customer.subscription.created", api_version="2025-02-24.acacia")
    shop.subscription()
    assert control.wait_until_quiet()
    (event,) = receiver.events()
    assert event.api_version == "2025-02-24.acacia"
    assert "current_period_end" in event.data.object
    (listed,) = api.events.list({"type": "customer.subscription.created"}).data
    assert listed.api_version == stripe.api_version
    assert "current_period_end" not in listed.data.object


def test_reset_empties_everything_but_never_repeats_an_id(
    api: Any, control: Control, receiver: Receiver
) -> None:
    endpoint(api, receiver)
    first = api.customers.create().id
    control.wait_until_quiet()
    control.advance(days=3)
    control.reset()
    assert api.customers.list().data == []
    assert api.webhook_endpoints.list().data == []
    assert control.deliveries() == []
    assert control.state()["offset"] == 0
    assert api.customers.create().id != first


def test_a_url_can_be_delivered_to_an_address_on_this_machine(
    api: Any, control: Control, receiver: Receiver
) -> None:
    api.webhook_endpoints.create(
        {"url": "https://abc.example.com/hook", "enabled_events": ["customer.created"]}
    )
    control.deliver_at(r"https://\w+\.example\.com/hook", receiver.url)
    api.customers.create({})
    assert control.wait_until_quiet()
    assert len(receiver.received) == 1
    (delivery,) = control.deliveries("customer.created")
    assert delivery["url"] == "https://abc.example.com/hook"


def test_an_account_has_at_most_16_endpoints(api: Any, receiver: Receiver) -> None:
    made = [endpoint(api, receiver, "product.created") for _ in range(16)]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        endpoint(api, receiver, "product.created")
    assert refused.value.http_status == 400
    assert refused.value.user_message == (
        "You have reached the maximum of 16 test webhook endpoints."
    )
    api.webhook_endpoints.delete(made[0].id)
    endpoint(api, receiver, "product.created")
