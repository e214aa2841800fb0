"""Ingestion: which webhooks are refused, queued, dead-lettered or dropped."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from typing import Any

import pytest
from stripe.params import WebhookEndpointCreateParams

from billing.adapters import signature
from billing.errors import (
    QueueUnavailable,
    SecretUnavailable,
    SignatureRejected,
    Unprocessable,
)
from billing.events import EFFECTS, Effect, Event, NotAnEvent
from billing.ingest import MAX_BODY_BYTES, Ingest
from billing.keys import CustomerKey
from billing.sync_request import SyncRequest
from tests.unit.fakes import MemoryQueue, Reports
from tests.unit.stripe_objects import NOW


class Secrets:
    def __init__(self, *values: str, after_refresh: tuple[str, ...] | None = None) -> None:
        self.values = values
        self.after_refresh = after_refresh or values
        self.refreshes = 0

    def current(self) -> tuple[str, ...]:
        return self.values

    def refreshed(self) -> tuple[str, ...]:
        self.refreshes += 1
        return self.after_refresh


class World:
    def __init__(self, secrets: Any = None, *, livemode: bool = False, account: str = "own"):
        self.queue = MemoryQueue()
        self.reports = Reports()
        self.ingest = Ingest(
            verify=signature.verify,
            secrets=secrets or Secrets("whsec_a"),
            queue=self.queue,
            livemode=livemode,
            account=account,
            clock=lambda: NOW,
            report=self.reports,
        )

    def ingest_webhook(self, body: bytes | dict[str, Any], secret: str = "whsec_a") -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        mac = hmac.new(secret.encode(), f"{NOW}.".encode() + raw, hashlib.sha256).hexdigest()
        self.ingest(raw, f"t={NOW},v1={mac}")


def event(event_type: str = "customer.subscription.updated", **fields: Any) -> dict[str, Any]:
    data = fields.pop("data", {"object": {"id": "sub_1", "customer": "cus_1"}})
    return {
        "id": "evt_1",
        "object": "event",
        "type": event_type,
        "created": NOW,
        "livemode": False,
        "data": data,
        **fields,
    }


def test_a_verified_event_is_queued_without_its_payload() -> None:
    world = World()
    world.ingest_webhook(event())
    (request,) = world.queue.sent
    assert json.loads(request.to_message()) == {
        "key": "CUS#own#test#cus_1",
        "up_to": NOW,
        "cause": {"id": "evt_1", "type": "customer.subscription.updated"},
    }


def test_a_sync_request_can_be_read_from_its_message() -> None:
    request = Event.from_body(json.dumps(event()).encode()).request
    assert request is not None
    assert SyncRequest.from_message(request.to_message()) == request


@pytest.mark.parametrize(
    "change",
    [
        {"key": "CUS#own#test"},
        {"key": "CUS#own#other#cus_1"},
        {"key": "CUS##test#cus_1"},
        {"key": "CUS#CONFIG#test#bpc_1"},
        {"key": f"CUS#own#test#{'x' * 256}"},
        {"key": "CUS#own#test#\ud800"},
        {"key": "CUS#own#test#cus#1"},
        {"key": "SUBJECT#test#issuer#user"},
        {"key": "CONFIG#test#name#default"},
        {"key": "CATALOG#test#x"},
        {"key": 7},
        {"up_to": "now"},
        {"up_to": True},
        {"cause": {"id": "", "type": "t"}},
        {"cause": {"id": "evt_1"}},
        {"cause": None},
    ],
    ids=str,
)
def test_a_message_that_is_not_a_sync_request_is_unprocessable(change: dict[str, Any]) -> None:
    request = Event.from_body(json.dumps(event()).encode()).request
    assert request is not None
    message = json.dumps({**json.loads(request.to_message()), **change})
    with pytest.raises(Unprocessable, match="not a sync request"):
        SyncRequest.from_message(message)


def test_a_bad_signature_is_refused_and_nothing_is_queued() -> None:
    world = World()
    with pytest.raises(SignatureRejected):
        world.ingest_webhook(event(), secret="whsec_forged")
    assert not world.queue.sent
    assert not world.queue.dead_letters
    assert world.reports.names == ["SignatureRejected"]


def test_a_secret_that_has_been_rolled_is_read_again() -> None:
    secrets = Secrets("whsec_a", after_refresh=("whsec_b",))
    world = World(secrets)
    world.ingest_webhook(event(), secret="whsec_b")
    assert secrets.refreshes == 1
    assert len(world.queue.sent) == 1


def test_a_valid_signature_causes_no_second_read_of_the_secret() -> None:
    secrets = Secrets("whsec_a")
    World(secrets).ingest_webhook(event())
    assert secrets.refreshes == 0


def test_a_secret_that_cannot_be_loaded_raises_secret_unavailable() -> None:
    class Down:
        def current(self) -> tuple[str, ...]:
            raise SecretUnavailable

        refreshed = current

    with pytest.raises(SecretUnavailable):
        World(Down()).ingest_webhook(event())


def test_a_webhook_fails_if_sqs_does_not_accept_its_message() -> None:
    world = World()
    world.queue.error = QueueUnavailable()
    for body in (event(), b"signed garbage"):
        with pytest.raises(QueueUnavailable):
            world.ingest_webhook(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff\xfe", "not UTF-8 (base64)"),
        (b"", "not JSON (base64)"),
        (b"not json", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b"[1]", "not an object"),
        (b"null", "not an object"),
        (b"{}", "not an event"),
        (json.dumps(event(id="")).encode(), "not an event"),
        (json.dumps(event(type="")).encode(), "not an event"),
        (json.dumps(event(account="")).encode(), "not an event"),
        (json.dumps(event(created=True)).encode(), "not an event"),
        (json.dumps(event(created="now")).encode(), "not an event"),
        (json.dumps(event(livemode=0)).encode(), "not an event"),
        (json.dumps(event(data=[])).encode(), "not an event"),
        (json.dumps(event(data={"object": None})).encode(), "not an event"),
        (
            b'{"object": "v2.core.event", "id": "evt_1"}',
            "a thin event; register the endpoint for snapshot events",
        ),
        (b'"\x00"', "not JSON (base64)"),
    ],
)
def test_a_signed_but_unreadable_webhook_is_dead_lettered_with_its_reason(
    body: bytes, reason: str
) -> None:
    world = World()
    world.ingest_webhook(body)
    ((stored, stored_reason),) = world.queue.dead_letters
    assert stored_reason == reason
    assert (base64.b64decode(stored) if "base64" in reason else stored.encode()) == body
    assert world.queue.sent == []
    said = reason.removesuffix(" (base64)")
    assert world.reports.all == [("EventQuarantined", {"reason": said})]


@pytest.mark.parametrize("character", [b"[", b"\xff"])
def test_an_unreadable_webhook_too_large_for_sqs_is_cut_before_it_is_dead_lettered(
    character: bytes,
) -> None:
    world = World()
    world.ingest_webhook(character * MAX_BODY_BYTES)
    ((stored, reason),) = world.queue.dead_letters
    assert len(stored.encode()) + len(reason) < 1024 * 1024
    assert "(the first 716800 of 4194304 bytes)" in reason


def test_only_the_ids_of_a_large_event_are_queued() -> None:
    world = World()
    metadata = {f"key_{number}": "x" * 500 for number in range(8_000)}
    large = event(data={"object": {"id": "sub_1", "customer": "cus_1", "metadata": metadata}})
    assert 0.95 * MAX_BODY_BYTES < len(json.dumps(large)) < MAX_BODY_BYTES
    world.ingest_webhook(large)
    (request,) = world.queue.sent
    assert len(request.to_message()) < 200


def test_events_of_the_other_mode_or_of_an_unknown_account_are_dropped() -> None:
    world = World()
    world.ingest_webhook(event(livemode=True))
    world.ingest_webhook(event(account="acct_unknown"))
    world.ingest_webhook(event(account="org_unknown"))
    assert world.queue.sent == []
    dropped = {"event": "evt_1", "type": "customer.subscription.updated", "reason": "other_account"}
    assert world.reports.all == [("EventDropped", dropped)] * 3
    connected = World(account="acct_1")
    connected.ingest_webhook(event(account="acct_1"))
    assert connected.queue.sent[0].key == CustomerKey("acct_1", "test", "cus_1")
    live = World(livemode=True)
    live.ingest_webhook(event(livemode=True))
    assert live.queue.sent[0].key == CustomerKey("own", "live", "cus_1")


def test_events_of_other_types_are_dropped_and_counted() -> None:
    world = World()
    world.ingest_webhook(event("coupon.created"))
    assert world.queue.sent == []
    dropped = {"event": "evt_1", "type": "coupon.created", "reason": "other_type"}
    assert world.reports.all == [("EventDropped", dropped)]


def test_a_portal_session_leaves_an_audit_line_without_its_url() -> None:
    world = World()
    session = {"id": "bps_1", "customer": "cus_1", "url": "https://billing.stripe.com/p/secret"}
    world.ingest_webhook(event("billing_portal.session.created", data={"object": session}))
    ((name, details),) = world.reports.all
    assert name == "PortalSessionCreated"
    assert details == {"event": "evt_1", "customer": "cus_1", "session": "bps_1"}
    assert world.queue.sent == []


@pytest.mark.parametrize(
    ("event_type", "data", "customer"),
    [
        ("customer.updated", {"object": {"id": "cus_9", "object": "customer"}}, "cus_9"),
        ("customer.tax_id.created", {"object": {"id": "txi", "customer": "cus_9"}}, "cus_9"),
        (
            "customer.tax_id.created",
            {"object": {"id": "txi", "customer": None, "owner": {"customer": "cus_9"}}},
            "cus_9",
        ),
        (
            "payment_method.detached",
            {
                "object": {"id": "pm", "customer": None},
                "previous_attributes": {"customer": "cus_9"},
            },
            "cus_9",
        ),
        ("invoice.paid", {"object": {"id": "in", "customer": {"id": "cus_9"}}}, "cus_9"),
        ("payment_method.detached", {"object": {"id": "pm", "customer": None}}, None),
        ("invoice.paid", {"object": {"id": "in", "customer": 7}}, None),
    ],
)
def test_the_customer_is_found_in_every_type_of_event(
    event_type: str, data: dict[str, Any], customer: str | None
) -> None:
    world = World()
    world.ingest_webhook(event(event_type, data=data))
    keys = [CustomerKey("own", "test", customer)] if customer else []
    assert [request.key for request in world.queue.sent] == keys
    what = {"event": "evt_1", "type": event_type}
    assert world.reports.all == [
        ("EventAccepted", {**what, "key": "CUS#own#test#cus_9"})
        if customer
        else ("EventDropped", {**what, "reason": "no_customer"})
    ]


@pytest.mark.parametrize("name", ["cus_1#x", "", "cus\n1"])
def test_an_event_whose_customer_id_cannot_be_part_of_a_key_is_dropped(name: str) -> None:
    world = World()
    world.ingest_webhook(event(data={"object": {"id": "sub_1", "customer": name}}))
    assert world.queue.sent == []
    assert world.reports.names == ["EventDropped"]


def test_each_kind_of_event_has_its_effect() -> None:
    assert EFFECTS["customer.subscription.updated"] is Effect.SYNC_CUSTOMER
    assert EFFECTS["billing_portal.configuration.updated"] is Effect.SYNC_CONFIGURATION
    assert EFFECTS["product.updated"] is Effect.SYNC_CATALOG
    assert EFFECTS["billing_portal.session.created"] is Effect.AUDIT


def test_every_event_type_is_one_that_an_endpoint_can_subscribe_to() -> None:
    annotation = str(WebhookEndpointCreateParams.__annotations__["enabled_events"])
    assert set(EFFECTS) <= set(re.findall(r"'([a-z_.]+)'", annotation.replace('"', "'")))


def test_a_body_that_is_not_an_event_is_an_error_with_its_reason() -> None:
    with pytest.raises(NotAnEvent, match="not JSON"):
        Event.from_body(b"{")
