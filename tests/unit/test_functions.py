"""The handlers on the envelopes of `events/`, with moto's AWS around them and no network."""

from __future__ import annotations

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
from billing.ingest import MAX_BODY_BYTES
from billing.keys import CustomerKey, DocumentKey, SubjectKey
from billing.model import Billing, CustomerRow, DocumentRow
from tests.unit.test_template import ENVIRONMENT, TEMPLATE

ROOT = Path(__file__).parents[2]
SECRET = "whsec_envelopes"
PAYLOADS = sorted((ROOT / "events" / "webhooks").glob("*.json"))


def envelope(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event


def template_defaults() -> dict[str, str]:
    """The environment of a function, as far as the template's parameters have defaults."""
    return {
        variable.removeprefix("PORTCULLIS_"): str(TEMPLATE["Parameters"][value].get("Default", ""))
        for variable, value in ENVIRONMENT.items()
        if isinstance(value, str) and value in TEMPLATE["Parameters"]
    }


class Context:
    aws_request_id = "request"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 60_000


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
        answer = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", [])]

    def give(self, customer: str, **billing: Any) -> None:
        key = CustomerKey("own", "test", customer)
        row = CustomerRow(
            key=key,
            revision=1,
            as_of=int(time.time()),
            subject="user_ada",
            issuer="https://login.example.com/",
            billing=Billing(**billing),
        )
        subject = SubjectKey("test", "https://login.example.com/", "user_ada")
        self.store.commit_and_link(row, subject, replacing=None)


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        sqs = boto3.client("sqs")
        events = sqs.create_queue(QueueName="events")["QueueUrl"]
        dead_letters = sqs.create_queue(QueueName="dead")["QueueUrl"]
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
def test_every_webhook_payload_is_taken_in_and_what_it_names_queued(
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


def test_the_ingest_envelope_with_its_made_up_signature_is_refused(deployed: Deployed) -> None:
    response = deployed.invoke("ingest_webhook", envelope("ingest_webhook"))
    assert response["statusCode"] == 400
    assert json.loads(response["body"])["type"] == "urn:portcullis:problem:signature-rejected"
    assert deployed.received(deployed.events) == []


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 400), (MAX_BODY_BYTES + 1, 413)])
def test_a_webhook_is_read_up_to_its_limit(deployed: Deployed, size: int, status: int) -> None:
    event = envelope("ingest_webhook") | {"body": "x" * size}
    assert deployed.invoke("ingest_webhook", event)["statusCode"] == status


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


def test_a_webhook_without_a_queue_is_answered_503_so_that_stripe_tries_again(
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
    deployed.give(request["key"].rpartition("#")[2])
    assert deployed.invoke("sync_customer", event) == {"batchItemFailures": []}


def test_the_worker_keeps_what_stripe_cannot_answer_and_dead_letters_poison(
    deployed: Deployed,
) -> None:
    event = envelope("sync_customer")
    event["Records"].append(event["Records"][0] | {"messageId": "poison", "body": "not ours"})
    answer = deployed.invoke("sync_customer", event)
    kept = event["Records"][0]["messageId"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": kept}]}
    assert deployed.received(deployed.dead_letters) == ["not ours"]


def test_the_reader_answers_what_the_row_gives(deployed: Deployed) -> None:
    deployed.give("cus_ada", features={"single_sign_on": int(time.time()) + 60})
    everything = json.loads(
        deployed.invoke("get_entitlements", envelope("get_entitlements"))["body"]
    )
    assert everything["customer"] == "cus_ada"
    assert set(everything["features"]) == {"single_sign_on"}
    one = json.loads(deployed.invoke("get_entitlements", envelope("get_entitlement"))["body"])
    assert one["entitled"] is True


def test_the_reader_never_says_entitled_when_the_table_does_not_answer(
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
    answer = deployed.invoke("get_entitlements", envelope("get_entitlements"))
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["customer"] is None


def test_the_portal_is_503_with_retry_after_when_stripe_cannot_be_reached(
    deployed: Deployed,
) -> None:
    deployed.give("cus_ada")
    response = deployed.invoke("create_portal_session", envelope("create_portal_session"))
    assert response["statusCode"] == 503
    assert response["headers"]["retry-after"]
    assert response["headers"]["cache-control"] == "no-store"


@pytest.fixture
def selling(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    """What the local stack's portal file sells: the repository's own names no price yet."""
    sold = configuration_file.load(
        stage="dev", mode="test", path=ROOT / "local" / "portcullis.toml"
    )
    monkeypatch.setattr(configuration_file, "load", lambda **_: sold)
    return deployed


def test_nothing_can_be_bought_that_the_portal_file_does_not_list(deployed: Deployed) -> None:
    response = deployed.invoke("create_checkout_session", envelope("create_checkout_session"))
    assert response["statusCode"] == 400
    assert "'team_monthly'" in json.loads(response["body"])["detail"]


def test_checkout_is_503_with_retry_after_when_stripe_cannot_be_reached(
    selling: Deployed,
) -> None:
    response = selling.invoke("create_checkout_session", envelope("create_checkout_session"))
    assert response["statusCode"] == 503
    assert response["headers"]["retry-after"]


def test_a_subject_without_a_customer_has_no_checkout_session_to_come_back_from(
    deployed: Deployed,
) -> None:
    response = deployed.invoke("get_checkout_session", envelope("get_checkout_session"))
    assert response["statusCode"] == 404


def test_the_catalog_is_everybodys_and_may_be_cached(selling: Deployed) -> None:
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


def test_a_catalog_that_cannot_be_read_is_a_503_that_nobody_caches(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTCULLIS_TABLE_NAME", "gone")
    importlib.reload(importlib.import_module("billing.wiring"))
    response = deployed.invoke("get_catalog", envelope("get_catalog"))
    assert response["statusCode"] == 503
    assert response["headers"]["cache-control"] == "no-store"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What CloudFormation has been answered."""
    answers: list[dict[str, Any]] = []

    def urlopen(request: Any, timeout: float) -> contextlib.nullcontext[None]:
        answers.append(json.loads(request.data))
        return contextlib.nullcontext()

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return answers


def test_a_setup_that_cannot_reach_stripe_tells_cloudformation_why(
    deployed: Deployed, told: list[dict[str, Any]]
) -> None:
    deployed.invoke("stripe_setup", envelope("stripe_setup"))
    (answer,) = told
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("Stripe did not answer (APIConnectionError")


def test_a_setup_without_time_answers_rather_than_begins(
    deployed: Deployed, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", staticmethod(lambda: 44_000))
    deployed.invoke("stripe_setup", envelope("stripe_setup"))
    assert "too slowly" in told[0]["Reason"]


def test_an_unexpected_error_of_the_setup_is_answered_too(
    deployed: Deployed, told: list[dict[str, Any]]
) -> None:
    event = envelope("stripe_setup")
    del event["ResourceProperties"]["WebhookUrl"]
    deployed.invoke("stripe_setup", event)
    assert told[0]["Reason"].startswith("Unexpected KeyError")


def test_the_end_of_a_stack_that_never_had_a_key_succeeds(
    deployed: Deployed, told: list[dict[str, Any]]
) -> None:
    boto3.client("secretsmanager").delete_secret(SecretId="key", ForceDeleteWithoutRecovery=True)
    deployed.invoke("stripe_setup", envelope("stripe_setup") | {"RequestType": "Delete"})
    assert told[0]["Status"] == "SUCCESS"


def test_an_operator_is_told_why_nothing_is_rotated(deployed: Deployed) -> None:
    stack = envelope("stripe_setup")["StackId"]
    answer = deployed.invoke("stripe_setup", {"rotate": {"StackId": stack, "overlap": 600}})
    assert answer["state"] == "failed"
    assert "Stripe did not answer" in answer["reason"]
