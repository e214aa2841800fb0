"""The models and the real adapters return the same results for the same operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from billing.adapters.queues import SqsQueues
from billing.adapters.store import DynamoDBStore
from billing.batch import Message
from billing.errors import Conflict
from billing.facts import Facts, Grant
from billing.keys import CustomerKey, SubjectKey
from billing.link import Store
from billing.model import CustomerRow, Link
from billing.sync_request import Cause, SyncRequest
from tests.simulation.dynamodb_model import StoreModel
from tests.simulation.lifecycles import LIFECYCLES
from tests.simulation.script import key_of
from tests.simulation.sqs_model import VISIBILITY_TIMEOUT, QueueModel
from tests.simulation.stripe_model import POLICY, State

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

TABLE = "entitlements"
REGION = "eu-central-1"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.fixture
def table() -> Iterator[DynamoDBStore]:
    with mock_aws():
        client: DynamoDBClient = boto3.client("dynamodb", region_name=REGION)
        client.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield DynamoDBStore(client, TABLE)


CUSTOMERS = [CustomerKey("own", "test", f"cus_{name}") for name in "abc"]
SUBJECTS = [SubjectKey("test", "https://issuer.example", f"user_{number}") for number in range(2)]


def attempt(store: Store, rng: Random) -> object:
    """Run one operation drawn from `rng`; return its result."""
    key = rng.choice(CUSTOMERS)
    match rng.randrange(5):
        case 0:
            return store.load(key)
        case 1:
            return store.load_link(rng.choice(SUBJECTS))
    held = store.load(key)
    revision = max(1, held.revision + rng.choice((1, 1, 1, 0, 2)))
    facts = Facts(
        deleted=rng.random() < 0.3,
        grants=(Grant(feature="export", until=rng.randrange(9)),),
    )
    link = attempted_link(store, rng, key)
    row = replace(held, revision=revision, facts=facts, as_of=rng.randrange(99))
    try:
        match rng.randrange(4):
            case 0 | 1:
                store.commit(row)
            case 2:
                store.commit(link)
            case _:
                others = [other for other in CUSTOMERS if other != key]
                released = rng.choice((None, *(store.load(other).released() for other in others)))
                store.commit_and_link(
                    replace(row, subject=link.key.subject), link, released=released
                )
    except Conflict:
        return Conflict
    return "written"


def attempted_link(store: Store, rng: Random, key: CustomerKey) -> Link:
    """A link to `key` whose revision is mostly the next one."""
    link = store.load_link(rng.choice(SUBJECTS))
    return replace(
        link,
        revision=max(1, link.revision + rng.choice((1, 1, 1, 0, 2))),
        customer=key,
        claimants=tuple(rng.sample(CUSTOMERS, rng.randrange(3))),
    )


def test_the_store_model_returns_what_the_adapter_returns(table: DynamoDBStore) -> None:
    model = StoreModel()
    seen: set[object] = set()
    for seed in range(400):
        from_model, from_table = attempt(model, Random(seed)), attempt(table, Random(seed))
        assert from_model == from_table, f"operation {seed}"
        seen.add(from_model if isinstance(from_model, type | str) else "read")
    assert seen == {"read", "written", Conflict}


def test_every_row_of_every_lifecycle_survives_the_table(table: DynamoDBStore) -> None:
    for name, script in LIFECYCLES.items():
        key = CustomerKey("own", "test", name.replace(" ", "_"))
        row = CustomerRow(key=key)
        for change in script.changes:
            assert isinstance(change.state, State)
            row = row.advanced(
                change.state.facts,
                as_of=1,
                confirm_at=2,
                cause=Cause("evt", "type"),
                policy=POLICY,
            )
            table.commit(row)
            assert table.load(key) == row


def test_a_read_that_is_not_consistent_may_return_the_revision_before() -> None:
    model, key = StoreModel(), CUSTOMERS[0]
    model.commit(CustomerRow(key=key, revision=1))
    model.commit(CustomerRow(key=key, revision=2))
    assert model.load(key, consistent=False).revision == 1
    assert model.load(key).revision == 2


def confirm(name: str) -> SyncRequest:
    return SyncRequest.confirm(key_of(name), up_to=1)


def test_the_queue_model_receives_hides_and_deletes_as_sqs_does() -> None:
    with mock_aws():
        client: SQSClient = boto3.client("sqs", region_name=REGION)
        url = client.create_queue(
            QueueName="events", Attributes={"VisibilityTimeout": str(VISIBILITY_TIMEOUT)}
        )["QueueUrl"]
        dead_url = client.create_queue(QueueName="dead")["QueueUrl"]
        queues, model = SqsQueues(client, url, dead_url), QueueModel()

        def receive() -> list[Message]:
            records = client.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
            ).get("Messages", [])
            return [
                Message.from_record(
                    {
                        "messageId": record["MessageId"],
                        "receiptHandle": record["ReceiptHandle"],
                        "body": record["Body"],
                        "attributes": record["Attributes"],
                    }
                )
                for record in records
            ]

        def compare(now: float) -> tuple[list[Message], list[Message]]:
            real = sorted(receive(), key=lambda message: message.body)
            _, messages = model.receive(tuple(model.visible(now)), now)
            modelled = sorted(messages, key=lambda message: message.body)
            assert [(m.body, m.receives) for m in modelled] == [(m.body, m.receives) for m in real]
            return real, modelled

        for name in ("cus_a", "cus_b"):
            queues.send(confirm(name))
            model.send(confirm(name), 0)
        queues.send(confirm("cus_later"), 900)
        model.send(confirm("cus_later"), 0, 900)
        real, modelled = compare(0)
        assert len(real) == 2
        assert compare(0) == ([], [])
        # One message becomes visible again and is received a second time; the other is deleted.
        queues.hide(real[0], 0)
        model.hide(modelled[0], 0, 0)
        client.delete_message(QueueUrl=url, ReceiptHandle=real[1].receipt)
        model.delete(modelled[1].id)
        real, _ = compare(0)
        assert [message.receives for message in real] == [2]
        queues.dead_letter("body", "reason")
        model.dead_letter("body", "reason")
        dead = client.receive_message(QueueUrl=dead_url, MessageAttributeNames=["All"])["Messages"]
        found = [(m["Body"], m["MessageAttributes"]["reason"]["StringValue"]) for m in dead]
        assert tuple(found) == model.dead


def test_a_message_received_too_often_is_dead_lettered() -> None:
    model = QueueModel()
    model.send(confirm("cus_a"), 0)
    (name,) = model.visible(0)
    model.messages = {name: model.messages[name]._replace(receives=1000)}
    assert model.receive((name,), 0) == ((), [])
    assert not model.messages
    assert len(model.dead) == 1
