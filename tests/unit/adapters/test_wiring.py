"""The functions as they are wired: everything that one of them sends to AWS and to Stripe."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from billing.adapters import telemetry
from billing.adapters.secrets import CACHE_SECONDS
from billing.batch import MAX_PARALLEL_SYNCS, Message
from billing.errors import StoreUnavailable
from billing.keys import CustomerKey
from billing.settings import STRIPE_API_VERSION
from billing.sync import CONFIRM_DELAY_SECONDS
from billing.sync_request import SyncRequest
from billing.timeouts import AWS_ATTEMPTS, AWS_TIMEOUT_SECONDS, STRIPE_TIMEOUT_SECONDS
from tests.unit.adapters.wire import AS_OF, Response, Sent, Wire, missing, page, stripe_error
from tests.unit.fakes import request
from tests.unit.test_functions import template_defaults

EVENTS = "https://sqs.us-east-1.amazonaws.com/123456789012/events"
DEAD_LETTERS = "https://sqs.us-east-1.amazonaws.com/123456789012/dead-letters"

#: A deployment that has everything another way than the defaults.
SETTINGS = {
    "STAGE": "prod",
    "STRIPE_API_KEY_SECRET": "key",
    "STRIPE_WEBHOOK_SECRET": "webhook",
    "STRIPE_ACCOUNT": "acct_1",
    "JWT_ISSUER": "https://issuer/",
    "SUBJECT_METADATA_KEY": "tenant",
    "ALLOWED_ORIGINS": "https://app.example.com",
    "DEFAULT_RETURN_URL": "https://app.example.com/account",
    "TABLE_NAME": "entitlements",
    "EVENT_QUEUE_URL": EVENTS,
    "DEAD_LETTER_QUEUE_URL": DEAD_LETTERS,
}

EMPTY = page().body
CUSTOMER = {
    "id": "cus_1",
    "object": "customer",
    "metadata": {"tenant": "ada", "user_id": "eve", "grant.sso": "forever"},
    "subscriptions": EMPTY,
    "tax_ids": EMPTY,
}

KEY = CustomerKey("acct_1", "test", "cus_1")


class Clock:
    """The module `time`, as the wiring uses it."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 1000 + self.passed

    def time(self) -> float:
        return AS_OF + self.passed

    def sleep(self, seconds: float) -> None:
        """Time does not pass."""


class Deployed:
    """A deployment whose API key, as Secrets Manager has it, is `stored`; Stripe takes `valid`."""

    def __init__(self, wire: Wire, wiring: Any, clock: Clock) -> None:
        self.wire = wire
        self.wiring = wiring
        self.clock = clock
        self.stored = self.valid = "sk_test_first"
        wire.respond = self.respond

    def respond(self, sent: Sent) -> Response:
        if sent.operation == "GetSecretValue":
            return Response({"SecretString": self.stored})
        if sent.operation:
            return Response()
        if sent.headers["authorization"] != f"Bearer {self.valid}":
            return stripe_error(401)
        return Response(CUSTOMER) if sent.path == "/v1/customers/cus_1" else page()

    def work(self, *events: SyncRequest) -> list[str]:
        """Run the worker on these events, or on one."""
        messages = [
            Message(
                id=f"m{number}",
                receipt="r",
                body=event.to_message(),
                sent_at=self.clock.time(),
                receives=1,
            )
            for number, event in enumerate(events or [request(key=KEY, up_to=AS_OF)], 1)
        ]
        deferred: list[str] = self.wiring.batch()(messages, lambda: 80_000)
        return deferred

    def keys(self) -> list[str]:
        """The API key of each request to Stripe."""
        used = [sent.headers["authorization"] for sent in self.wire.sent if not sent.operation]
        return [each.removeprefix("Bearer ") for each in used]


@pytest.fixture
def deployed(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    for name, value in {**template_defaults(), **SETTINGS, "STRIPE_API_BASE": wire.url}.items():
        monkeypatch.setenv(f"PORTCULLIS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    wiring: ModuleType = importlib.reload(importlib.import_module("billing.wiring"))
    clock = Clock()
    monkeypatch.setattr(wiring, "time", clock)
    yield Deployed(wire, wiring, clock)
    telemetry.flush()


def test_the_worker_sends_what_one_event_needs_in_the_order_that_loses_nothing(
    deployed: Deployed,
) -> None:
    assert deployed.work() == []
    sent = deployed.wire.sent
    assert [each.operation or each.path for each in sent] == [
        "GetItem",
        "GetSecretValue",
        "/v1/customers/cus_1",
        "/v1/entitlements/active_entitlements",
        "SendMessage",
        "GetItem",
        "TransactWriteItems",
    ]
    row, link = deployed.wire.sent_to("GetItem")
    assert (row["TableName"], row["ConsistentRead"]) == ("entitlements", True)
    assert row["Key"] == {"pk": {"S": KEY.pk}}
    assert link["ConsistentRead"] is True
    assert link["Key"] == {"pk": {"S": "SUBJECT#test#https://issuer/#ada"}}
    (confirm,) = deployed.wire.sent_to("SendMessage")
    assert (confirm["QueueUrl"], confirm["DelaySeconds"]) == (EVENTS, CONFIRM_DELAY_SECONDS)
    assert json.loads(confirm["MessageBody"])["cause"]["type"] == "portcullis.confirm"
    assert deployed.wire.sent_to("GetSecretValue") == [{"SecretId": "key"}]
    for each in sent:
        if not each.operation:
            assert each.headers["stripe-version"] == STRIPE_API_VERSION
            assert each.headers["stripe-account"] == "acct_1"


def test_the_history_names_the_latest_of_the_events_that_a_batch_brings(deployed: Deployed) -> None:
    events = [
        request(name, key=KEY, up_to=AS_OF + ahead)
        for name, ahead in (("evt_old", -2), ("evt_latest", 0), ("evt_older", -1))
    ]
    assert deployed.work(*events) == []
    (written,) = deployed.wire.sent_to("TransactWriteItems")
    (transition,) = json.loads(written["TransactItems"][0]["Put"]["Item"]["history"]["S"])
    assert transition["event"] == "evt_latest"
    assert transition["gained"] == ["sso"]


def test_the_worker_keeps_its_connections_to_stripe(deployed: Deployed) -> None:
    for _ in range(MAX_PARALLEL_SYNCS + 1):
        deployed.work()
    connections = {sent.connection for sent in deployed.wire.sent if not sent.operation}
    assert len(deployed.keys()) == 2 * (MAX_PARALLEL_SYNCS + 1)
    assert len(connections) <= MAX_PARALLEL_SYNCS


def test_an_unreadable_message_is_dead_lettered_in_its_own_queue(deployed: Deployed) -> None:
    message = Message(id="m1", receipt="r1", body=" not json\n", sent_at=AS_OF, receives=1)
    assert deployed.wiring.batch()([message], lambda: 80_000) == []
    (sent,) = deployed.wire.sent_to("SendMessage")
    assert sent == {
        "QueueUrl": DEAD_LETTERS,
        "MessageBody": " not json\n",
        "MessageAttributes": {"reason": {"DataType": "String", "StringValue": "not JSON"}},
    }


# ---------------------------------------------------------------- the API key


def test_the_api_key_is_read_once_for_many_events_and_again_after_minutes(
    deployed: Deployed,
) -> None:
    deployed.work()
    deployed.stored = deployed.valid = "sk_test_second"
    deployed.wire.sent.clear()
    deployed.clock.passed = CACHE_SECONDS
    deployed.work()
    deployed.work()
    assert set(deployed.keys()) == {"sk_test_second"}
    assert len(deployed.wire.sent_to("GetSecretValue")) == 1


def test_a_key_that_was_rotated_is_used_as_soon_as_stripe_refuses_the_old_one(
    deployed: Deployed,
) -> None:
    deployed.work()
    deployed.wire.sent.clear()
    deployed.stored = deployed.valid = "sk_test_second"
    deployed.clock.passed = CACHE_SECONDS - 1
    assert deployed.work() == []
    assert deployed.keys() == ["sk_test_first", "sk_test_second", "sk_test_second"]


def test_no_api_key_is_ever_printed_or_logged(
    deployed: Deployed, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    deployed.work()
    deployed.stored = deployed.valid = "sk_test_second"
    deployed.clock.passed = CACHE_SECONDS - 1
    deployed.work()
    deployed.stored, deployed.valid = "sk_test_third", "sk_test_nobody_has"
    deployed.clock.passed = 2 * CACHE_SECONDS
    assert deployed.work() == ["m1"], "the last key is refused"
    telemetry.flush()
    printed = capfd.readouterr()
    # The libraries' own lines are among them.
    logged = [str(vars(record)) for record in caplog.records]
    assert any("SyncDeferred" in line for line in logged)
    assert not any("sk_test" in line for line in (printed.out, printed.err, *logged))


# ---------------------------------------------------------------- how long a call may take


@pytest.mark.parametrize(
    ("interactive", "timeout"), [(False, STRIPE_TIMEOUT_SECONDS), (True, (2, 4))]
)
def test_a_person_waits_less_long_for_stripe_than_the_worker(
    deployed: Deployed,
    monkeypatch: pytest.MonkeyPatch,
    interactive: bool,
    timeout: tuple[float, float],
) -> None:
    used: list[Any] = []
    send = HTTPAdapter.send

    def recorded(adapter: Any, prepared: Any, **settings: Any) -> Any:
        used.append(settings["timeout"])
        return send(adapter, prepared, **settings)

    monkeypatch.setattr(HTTPAdapter, "send", recorded)
    if interactive:
        deployed.wiring.portal_sessions().stripe.retrieve_subscription("sub_1")
    else:
        deployed.work()
    assert set(used) == {timeout}


def test_a_call_to_aws_is_tried_twice_and_has_short_timeouts(deployed: Deployed) -> None:
    deployed.wire.responds(Response({}, 500))
    with pytest.raises(StoreUnavailable):
        deployed.wiring.customers().of("ada")
    assert len(deployed.wire.sent) == AWS_ATTEMPTS == 2
    config = deployed.wiring._aws("dynamodb").meta.config
    assert (config.connect_timeout, config.read_timeout) == AWS_TIMEOUT_SECONDS


# ---------------------------------------------------------------- the other functions


@pytest.fixture
def row(deployed: Deployed) -> dict[str, Any]:
    """The stored row of the customer of the subject `ada`."""
    item = {"pk": {"S": KEY.pk}, "format": {"N": "2"}, "rev": {"N": "1"}, "subject": {"S": "ada"}}
    link = {"account": {"S": "acct_1"}, "customer": {"S": "cus_1"}}
    deployed.wire.respond = lambda sent: Response(
        {"Item": item if "CUS#" in sent.json["Key"]["pk"]["S"] else link}
    )
    return item


def test_entitlements_are_read_at_half_the_price_of_a_consistent_read(
    deployed: Deployed, row: dict[str, Any]
) -> None:
    customers = deployed.wiring.customers()
    for _ in range(2):
        assert customers.of("ada").key == KEY
    # The second time the link is known.
    read = deployed.wire.sent_to("GetItem")
    assert [each["ConsistentRead"] for each in read] == [False] * 3


def test_a_tombstone_gives_nothing_although_its_link_is_known(
    deployed: Deployed, row: dict[str, Any]
) -> None:
    customers = deployed.wiring.customers()
    assert customers.of("ada").key == KEY
    row["facts"] = {"S": '{"deleted":true}'}
    assert customers.of("ada") is None


def test_checkout_names_subject_and_issuer_under_the_configured_metadata_key(
    deployed: Deployed,
) -> None:
    deployed.wire.respond = lambda sent: (
        Response({"id": "cus_1", "object": "customer"})
        if sent.path == "/v1/customers"
        else deployed.respond(sent)
    )
    assert deployed.wiring.checkout_sessions().buyers.created("ada", None) == KEY
    (created,) = (sent for sent in deployed.wire.sent if sent.method == "POST" and sent.form)
    assert created.form == {"metadata[tenant]": "ada", "metadata[tenant_issuer]": "https://issuer/"}
    assert created.headers["idempotency-key"].startswith("portcullis-")
    assert created.headers["stripe-account"] == "acct_1"


def test_only_the_same_subject_of_the_same_issuer_and_mode_gets_the_same_new_customer(
    deployed: Deployed,
) -> None:
    deployed.wire.respond = lambda sent: (
        deployed.respond(sent) if sent.operation else Response({"id": "cus_1", "object": "x"})
    )
    buyers = deployed.wiring.checkout_sessions().buyers
    deleted = KEY._replace(id="cus_deleted")
    for each, subject, before in (
        (buyers, "ada", None),
        (buyers, "eve", None),
        (buyers, "ada", deleted),
        (replace(buyers, mode="live"), "ada", None),
        (replace(buyers, issuers=("https://other/",)), "ada", None),
        (replace(buyers, subject_metadata_key="team"), "ada", None),
    ):
        each.created(subject, before)
    buyers.created("ada", None)
    keys = [sent.headers["idempotency-key"] for sent in deployed.wire.sent if not sent.operation]
    assert len(set(keys)) == 6
    assert keys[0] == keys[-1]


def test_a_deploy_reads_prices_of_the_connected_account_and_sets_the_platform_up(
    deployed: Deployed,
) -> None:
    deployed.wire.respond = lambda sent: (
        missing("price") if sent.path == "/v1/prices/team_monthly" else deployed.respond(sent)
    )
    setup = deployed.wiring.stripe_setup(lambda: 100_000)
    assert setup.prices(["team_monthly"]) == []
    setup.account.list_webhook_endpoints()
    accounts = {
        sent.path: sent.headers.get("stripe-account")
        for sent in deployed.wire.sent
        if not sent.operation
    }
    assert accounts["/v1/prices"] == "acct_1"
    assert accounts["/v1/webhook_endpoints"] is None
