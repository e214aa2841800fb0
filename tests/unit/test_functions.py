"""The handlers, invoked with the envelopes of `events/`: AWS is moto, and there is no network."""

from __future__ import annotations

import base64
import contextlib
import importlib
import importlib.util
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from stripe import WebhookSignature

from billing import catalog
from billing.adapters.store import DynamoDBStore
from billing.configuration import file as configuration_file
from billing.errors import ConfigurationError
from billing.events import EFFECTS, Effect, Event
from billing.facts import Facts, Grant
from billing.ingest import MAX_BODY_BYTES
from billing.keys import CustomerKey, DocumentKey, SubjectKey
from billing.model import CustomerRow, DocumentRow, Link
from tests.unit.test_template import ENVIRONMENT, TEMPLATE

ROOT = Path(__file__).parents[2]
SECRET = "whsec_envelopes"
PAYLOADS = sorted((ROOT / "events" / "webhooks").glob("*.json"))


def envelope(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    for record in event.get("Records", ()):
        # Messages that are days old are dead-lettered, so these were sent just now.
        record["attributes"]["SentTimestamp"] = str(int(time.time() * 1000))
    return event


def template_defaults() -> dict[str, str]:
    """The variables that take their value from a template parameter, with its default."""
    # A list parameter is joined: [",", its name].
    names = {
        variable: value[1] if isinstance(value, list) else value
        for variable, value in ENVIRONMENT.items()
    }
    return {
        variable.removeprefix("PORTCULLIS_"): str(TEMPLATE["Parameters"][name].get("Default", ""))
        for variable, name in names.items()
        if name in TEMPLATE["Parameters"]
    }


class Context:
    aws_request_id = "request"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 80_000


@dataclass
class Deployed:
    sqs: Any
    events: str
    dead_letters: str
    store: DynamoDBStore

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        path = ROOT / "functions" / function / "app.py"
        spec = importlib.util.spec_from_file_location(f"{function}_app", path)
        assert spec is not None
        assert spec.loader is not None
        app = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(app)
        return app.handler(event, Context())

    def received(self, queue: str) -> list[str]:
        response = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        return [message["Body"] for message in response.get("Messages", [])]

    def store_customer(self, customer: str, *grants: Grant) -> None:
        """Write the row of a customer, with a link from the subject of the envelopes."""
        key = CustomerKey("own", "test", customer)
        row = CustomerRow(
            key=key,
            revision=1,
            as_of=int(time.time()),
            subject="user_ada",
            issuer="https://login.example.com/",
            facts=Facts(grants=grants),
        )
        subject = SubjectKey("test", "https://login.example.com/", "user_ada")
        self.store.commit_and_link(row, Link(key=subject, revision=1, customer=key))


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        sqs = boto3.client("sqs")
        events = sqs.create_queue(QueueName="events")["QueueUrl"]
        dead_letters = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
        dynamodb = boto3.client("dynamodb")
        dynamodb.create_table(
            TableName="entitlements",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
        secrets = boto3.client("secretsmanager")
        secrets.create_secret(Name="webhook", SecretString=SECRET)
        secrets.create_secret(Name="key", SecretString="sk_test_x")
        own = {
            "STAGE": "prod",
            "STRIPE_API_BASE": "http://127.0.0.1:9",
            "STRIPE_API_KEY_SECRET": "key",
            "STRIPE_WEBHOOK_SECRET": "webhook",
            "JWT_ISSUER": "https://login.example.com/",
            "ALLOWED_ORIGINS": "https://app.example.com",
            "DEFAULT_RETURN_URL": "https://app.example.com/account",
            "TABLE_NAME": "entitlements",
            "EVENT_QUEUE_URL": events,
            "DEAD_LETTER_QUEUE_URL": dead_letters,
        }
        for name, value in {**template_defaults(), **own}.items():
            monkeypatch.setenv(f"PORTCULLIS_{name}", value)
        importlib.reload(importlib.import_module("billing.wiring"))
        yield Deployed(sqs, events, dead_letters, DynamoDBStore(dynamodb, "entitlements"))


def test_there_is_a_payload_for_every_event_type() -> None:
    assert {path.stem for path in PAYLOADS} == set(EFFECTS)


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_every_webhook_payload_is_ingested_and_queued_according_to_its_effect(
    deployed: Deployed, path: Path
) -> None:
    body = path.read_text()
    event = envelope("ingest_webhook")
    event["body"] = body
    event["headers"]["stripe-signature"] = WebhookSignature.generate_signature_header(body, SECRET)
    response = deployed.invoke("ingest_webhook", event)
    assert (response["statusCode"], json.loads(response["body"])) == (200, {"received": True})
    queued = [json.loads(message) for message in deployed.received(deployed.events)]
    if EFFECTS[path.stem] is Effect.AUDIT:
        assert queued == []
    else:
        (request,) = queued
        key = Event.from_body(body.encode()).key
        assert key is not None
        assert (request["cause"]["type"], request["key"]) == (path.stem, key.pk)
        if EFFECTS[path.stem] is Effect.SYNC_CUSTOMER:
            assert key.id.startswith("cus_")
    assert deployed.received(deployed.dead_letters) == []


def test_the_webhook_envelope_is_refused_because_its_signature_is_invalid(
    deployed: Deployed,
) -> None:
    response = deployed.invoke("ingest_webhook", envelope("ingest_webhook"))
    assert response["statusCode"] == 400
    assert json.loads(response["body"])["type"] == "urn:portcullis:problem:signature-rejected"
    assert deployed.received(deployed.events) == []


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 400), (MAX_BODY_BYTES + 1, 413)])
def test_a_webhook_is_read_up_to_its_limit(deployed: Deployed, size: int, status: int) -> None:
    event = envelope("ingest_webhook") | {"body": "x" * size}
    assert deployed.invoke("ingest_webhook", event)["statusCode"] == status


def test_the_largest_webhook_fits_into_an_invocation_of_lambda() -> None:
    body = base64.b64encode(b"x" * MAX_BODY_BYTES).decode()
    headers = {"x-more": "x" * 10_240}  # API Gateway's limit for all headers
    event = envelope("ingest_webhook") | {"body": body, "isBase64Encoded": True}
    event["headers"] = event["headers"] | headers
    assert len(json.dumps(event)) < 6 * 1024 * 1024


def test_a_mistake_in_the_file_does_not_stop_the_worker(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(**_: str) -> None:
        raise ConfigurationError("portcullis.toml, line 1: …")

    monkeypatch.setattr(configuration_file, "load", load)
    event = envelope("sync_customer")
    kept = event["Records"][0]["messageId"]
    # Stripe cannot be reached here, so the message is deferred: the sync began.
    response = deployed.invoke("sync_customer", event)
    assert response == {"batchItemFailures": [{"itemIdentifier": kept}]}


def test_a_webhook_that_cannot_be_queued_is_a_503_so_that_stripe_retries_it(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.sqs.delete_queue(QueueUrl=deployed.events)
    body = PAYLOADS[-1].read_text()
    event = envelope("ingest_webhook")
    event["body"] = body
    event["headers"]["stripe-signature"] = WebhookSignature.generate_signature_header(body, SECRET)
    response = deployed.invoke("ingest_webhook", event)
    assert response["statusCode"] == 503
    assert response["headers"]["retry-after"]


def test_the_worker_acknowledges_a_request_that_the_row_has_outgrown(deployed: Deployed) -> None:
    event = envelope("sync_customer")
    request = json.loads(event["Records"][0]["body"]) | {"up_to": int(time.time()) - 3600}
    event["Records"][0]["body"] = json.dumps(request)
    deployed.store_customer(request["key"].rpartition("#")[2])
    assert deployed.invoke("sync_customer", event) == {"batchItemFailures": []}


def test_the_worker_defers_a_message_without_stripe_and_dead_letters_an_unprocessable_one(
    deployed: Deployed,
) -> None:
    event = envelope("sync_customer")
    event["Records"].append(
        event["Records"][0] | {"messageId": "unprocessable", "body": "not json"}
    )
    response = deployed.invoke("sync_customer", event)
    deferred = event["Records"][0]["messageId"]
    assert response == {"batchItemFailures": [{"itemIdentifier": deferred}]}
    assert deployed.received(deployed.dead_letters) == ["not json"]


def test_get_entitlements_returns_the_entitlements_of_the_row(deployed: Deployed) -> None:
    deployed.store_customer("cus_ada", Grant(feature="single_sign_on", until=int(time.time()) + 60))
    everything = json.loads(
        deployed.invoke("get_entitlements", envelope("get_entitlements"))["body"]
    )
    assert everything["customer"] == "cus_ada"
    assert set(everything["features"]) == {"single_sign_on"}
    one = json.loads(deployed.invoke("get_entitlements", envelope("get_entitlement"))["body"])
    assert one["entitled"] is True


def test_get_entitlements_returns_no_entitlement_if_the_table_is_unavailable(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTCULLIS_TABLE_NAME", "gone")
    importlib.reload(importlib.import_module("billing.wiring"))
    response = deployed.invoke("get_entitlements", envelope("get_entitlement"))
    assert response["statusCode"] == 503
    assert "entitled" not in json.loads(response["body"])


def test_a_subject_without_a_customer_has_no_portal_and_no_entitlements(
    deployed: Deployed,
) -> None:
    assert (
        deployed.invoke("create_portal_session", envelope("create_portal_session"))["statusCode"]
        == 404
    )
    response = deployed.invoke("get_entitlements", envelope("get_entitlements"))
    assert response["statusCode"] == 200
    assert json.loads(response["body"])["customer"] is None


def test_a_portal_session_is_a_503_with_retry_after_if_stripe_is_unreachable(
    deployed: Deployed,
) -> None:
    deployed.store_customer("cus_ada")
    response = deployed.invoke("create_portal_session", envelope("create_portal_session"))
    assert response["statusCode"] == 503
    assert response["headers"]["retry-after"]
    assert response["headers"]["cache-control"] == "no-store"


@pytest.fixture
def selling(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    """The functions with the local stack's configuration file: the shipped file lists no price."""
    sold = configuration_file.load(
        stage="dev", mode="test", path=ROOT / "local" / "portcullis.toml"
    )
    monkeypatch.setattr(configuration_file, "load", lambda **_: sold)
    return deployed


def test_a_price_that_the_configuration_file_does_not_list_is_refused(deployed: Deployed) -> None:
    response = deployed.invoke("create_checkout_session", envelope("create_checkout_session"))
    assert response["statusCode"] == 400
    assert "'team_monthly'" in json.loads(response["body"])["detail"]


def test_a_checkout_session_is_a_503_with_retry_after_if_stripe_is_unreachable(
    selling: Deployed,
) -> None:
    response = selling.invoke("create_checkout_session", envelope("create_checkout_session"))
    assert response["statusCode"] == 503
    assert response["headers"]["retry-after"]


def test_a_checkout_session_is_a_404_for_a_subject_without_a_customer(
    deployed: Deployed,
) -> None:
    response = deployed.invoke("get_checkout_session", envelope("get_checkout_session"))
    assert response["statusCode"] == 404


def test_the_catalog_needs_no_token_and_can_be_cached(selling: Deployed) -> None:
    event = envelope("get_catalog")
    assert "authorizer" not in event["requestContext"]
    empty = selling.invoke("get_catalog", event)
    assert (empty["statusCode"], json.loads(empty["body"])) == (200, {"products": []})
    product = {"id": "prod_team", "active": True, "name": "Team"}
    price = {
        "id": "price_team",
        "lookup_key": "team_monthly",
        "currency": "eur",
        "unit_amount": 2400,
        "recurring": {"interval": "month", "interval_count": 1},
        "product": product,
    }
    selling.store.commit(
        DocumentRow(
            key=DocumentKey("CATALOG", "test"),
            revision=1,
            as_of=int(time.time()),
            content=catalog.content([price], {}),
        )
    )
    response = selling.invoke("get_catalog", event)
    (team,) = json.loads(response["body"])["products"]
    assert team["prices"][0]["unit_amount"] == 2400
    assert response["headers"]["cache-control"] == "public, max-age=60"
    event["headers"]["if-none-match"] = response["headers"]["etag"]
    assert selling.invoke("get_catalog", event)["statusCode"] == 304


def test_a_catalog_that_cannot_be_read_is_a_503_that_is_not_cached(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTCULLIS_TABLE_NAME", "gone")
    importlib.reload(importlib.import_module("billing.wiring"))
    response = deployed.invoke("get_catalog", envelope("get_catalog"))
    assert response["statusCode"] == 503
    assert response["headers"]["cache-control"] == "no-store"


@pytest.fixture
def responses(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The responses that are sent to CloudFormation."""
    sent: list[dict[str, Any]] = []

    def urlopen(request: Any, timeout: float) -> contextlib.nullcontext[None]:
        sent.append(json.loads(request.data))
        return contextlib.nullcontext()

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return sent


def test_a_setup_that_cannot_reach_stripe_fails_with_the_reason(
    deployed: Deployed, responses: list[dict[str, Any]]
) -> None:
    deployed.invoke("stripe_setup", envelope("stripe_setup"))
    (response,) = responses
    assert response["Status"] == "FAILED"
    assert response["Reason"].startswith("Stripe did not answer (APIConnectionError")


def test_a_setup_without_enough_time_fails_before_it_begins(
    deployed: Deployed, responses: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", staticmethod(lambda: 44_000))
    deployed.invoke("stripe_setup", envelope("stripe_setup"))
    assert "too slowly" in responses[0]["Reason"]


def test_an_unexpected_error_of_the_setup_is_reported_to_cloudformation(
    deployed: Deployed, responses: list[dict[str, Any]]
) -> None:
    event = envelope("stripe_setup")
    del event["ResourceProperties"]["WebhookUrl"]
    deployed.invoke("stripe_setup", event)
    assert responses[0]["Reason"].startswith("Unexpected KeyError")


def test_the_deletion_of_a_stack_without_an_api_key_succeeds(
    deployed: Deployed, responses: list[dict[str, Any]]
) -> None:
    boto3.client("secretsmanager").delete_secret(SecretId="key", ForceDeleteWithoutRecovery=True)
    deployed.invoke("stripe_setup", envelope("stripe_setup") | {"RequestType": "Delete"})
    assert responses[0]["Status"] == "SUCCESS"


def test_a_failed_rotation_returns_its_reason(deployed: Deployed) -> None:
    stack = envelope("stripe_setup")["StackId"]
    result = deployed.invoke("stripe_setup", {"rotate": {"StackId": stack, "overlap": 600}})
    assert result["state"] == "failed"
    assert "Stripe did not answer" in result["reason"]
