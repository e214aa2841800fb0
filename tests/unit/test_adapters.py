"""The AWS adapters on moto: conditions, transactions, messages, errors."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from billing.adapters.queues import SqsQueues
from billing.adapters.secrets import (
    CACHE_SECONDS,
    MAX_AGE_SECONDS,
    MIN_REFRESH_SECONDS,
    Secret,
    SigningSecrets,
    parse,
)
from billing.adapters.store import MAX_ITEM_BYTES, WRITE_UNIT_BYTES, DynamoDBStore, item_size
from billing.batch import Message
from billing.errors import (
    Conflict,
    QueueUnavailable,
    SecretUnavailable,
    StoreRefused,
    StoreUnavailable,
)
from billing.facts import Facts, Item, PaymentMethod, Subscription, TaxId
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow, Link
from billing.sync_request import Cause
from tests.unit.fakes import request
from tests.unit.stripe_objects import DAY, NOW, POLICY

KEY = CustomerKey("own", "test", "cus_1")
OTHER = CustomerKey("own", "test", "cus_2")
SUBJECT = SubjectKey("test", "https://issuer/", "user-1")
REGION = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}


def client(service: str) -> Any:
    return boto3.client(service, **REGION)  # type: ignore[call-overload]


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.fixture
def store(aws: None) -> DynamoDBStore:
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="t",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    return DynamoDBStore(dynamodb, "t")


def row(revision: int, key: CustomerKey = KEY, **fields: Any) -> CustomerRow:
    return CustomerRow(key=key, revision=revision, as_of=revision, **fields)


def test_a_row_that_does_not_exist_has_revision_0(store: DynamoDBStore) -> None:
    assert store.load(KEY) == CustomerRow(key=KEY)


def test_a_commit_succeeds_only_over_the_previous_revision(store: DynamoDBStore) -> None:
    store.commit(row(1))
    store.commit(row(2))
    for stale in (1, 2, 4):
        with pytest.raises(Conflict):
            store.commit(row(stale))
    assert store.load(KEY) == row(2)


def test_a_first_commit_succeeds_only_without_a_row(store: DynamoDBStore) -> None:
    with pytest.raises(Conflict):
        store.commit(row(2))
    store.commit(row(1))
    with pytest.raises(Conflict):
        store.commit(row(1))


def link(revision: int, customer: CustomerKey = KEY, *claimants: CustomerKey) -> Link:
    return Link(key=SUBJECT, revision=revision, customer=customer, claimants=claimants)


def test_a_link_is_written_with_the_row_or_not_at_all(store: DynamoDBStore) -> None:
    assert store.load_link(SUBJECT) == Link(key=SUBJECT)
    store.commit_and_link(row(1), link(1))
    assert store.load_link(SUBJECT) == link(1)
    with pytest.raises(Conflict):
        store.commit_and_link(row(1, OTHER), link(1, OTHER))
    assert store.load(OTHER).revision == 0
    with pytest.raises(Conflict):
        store.commit_and_link(row(9), link(2))
    assert (store.load(KEY), store.load_link(SUBJECT)) == (row(1), link(1))


def test_a_claim_is_remembered_over_the_revision_that_was_read(store: DynamoDBStore) -> None:
    store.commit_and_link(row(1), link(1))
    store.commit(link(2, KEY, OTHER))
    assert store.load_link(SUBJECT).claimants == (OTHER,)
    with pytest.raises(Conflict):
        store.commit(link(2))


def test_a_subject_is_taken_over_only_from_the_row_that_was_read(store: DynamoDBStore) -> None:
    held = row(1, subject="user-1", issuer="https://issuer/")
    store.commit_and_link(held, link(1))
    store.commit(replace(held, revision=2))
    with pytest.raises(Conflict):
        store.commit_and_link(row(1, OTHER), link(2, OTHER), released=held.released())
    assert (store.load(OTHER).revision, store.load_link(SUBJECT)) == (0, link(1))
    store.commit_and_link(row(1, OTHER), link(2, OTHER), released=store.load(KEY).released())
    assert store.load_link(SUBJECT) == link(2, OTHER)
    assert (store.load(KEY).revision, store.load(KEY).subject) == (3, None)


def test_a_link_of_the_first_release_can_be_read_and_written(store: DynamoDBStore) -> None:
    first = {"pk": SUBJECT.pk, "account": "own", "customer": "cus_1"}
    client("dynamodb").put_item(
        TableName="t", Item={name: {"S": value} for name, value in first.items()}
    )
    assert store.load_link(SUBJECT) == link(1)
    with pytest.raises(Conflict):
        store.commit(link(1))
    store.commit(link(2, KEY, OTHER))
    assert store.load_link(SUBJECT) == link(2, KEY, OTHER)


def test_an_error_of_dynamodb_raises_store_unavailable(aws: None) -> None:
    store = DynamoDBStore(client("dynamodb"), "no-such-table")
    with pytest.raises(StoreUnavailable, match="ResourceNotFoundException"):
        store.load(KEY)
    with pytest.raises(StoreUnavailable):
        store.commit(row(1))
    with pytest.raises(StoreUnavailable):
        store.commit_and_link(row(1), link(1))


def test_a_row_that_dynamodb_can_never_store_is_refused(store: DynamoDBStore) -> None:
    incompressible = random.Random(1)
    large = Facts(entitlements=tuple(str(incompressible.random()) for _ in range(70_000)))
    with pytest.raises(StoreRefused, match=r"the row has .* bytes, and DynamoDB takes 409,600"):
        store.commit(row(1, facts=large))
    with pytest.raises(StoreRefused, match="the row has"):
        store.commit_and_link(row(1, facts=large), link(1))
    with pytest.raises(StoreRefused, match="ValidationException"):
        store.commit(row(1, CustomerKey("own", "test", "c" * 2048)))


@pytest.mark.parametrize(
    ("reasons", "error"),
    [
        (["TransactionConflict", "None"], Conflict),
        (["None", "TransactionConflict"], Conflict),
        (["None", "TransactionConflict", "ConditionalCheckFailed"], Conflict),
        (["ConditionalCheckFailed", "ConditionalCheckFailed"], Conflict),
        (["None", "None", "ConditionalCheckFailed"], Conflict),
        (["ValidationError", "None"], StoreRefused),
        (["ItemCollectionSizeLimitExceeded", "None"], StoreRefused),
        (["ThrottlingError", "None"], StoreUnavailable),
    ],
)
def test_a_cancelled_transaction_is_judged_by_its_reasons(
    reasons: list[str], error: type[Exception]
) -> None:
    dynamodb = client("dynamodb")
    with Stubber(dynamodb) as stubber:
        stubber.add_client_error(
            "transact_write_items",
            "TransactionCanceledException",
            modeled_fields={"CancellationReasons": [{"Code": code} for code in reasons]},
        )
        with pytest.raises(error) as raised:
            DynamoDBStore(dynamodb, "t").commit_and_link(row(1), link(1))
    assert raised.type is error


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("TransactionConflictException", Conflict),
        ("ConditionalCheckFailedException", Conflict),
        ("ItemCollectionSizeLimitExceededException", StoreRefused),
        ("AccessDeniedException", StoreUnavailable),
        ("ProvisionedThroughputExceededException", StoreUnavailable),
    ],
)
def test_the_code_of_a_refused_put_decides_which_error_is_raised(
    code: str, error: type[Exception]
) -> None:
    dynamodb = client("dynamodb")
    with Stubber(dynamodb) as stubber:
        stubber.add_client_error("put_item", code)
        with pytest.raises(error, match=code) as raised:
            DynamoDBStore(dynamodb, "t").commit(row(1))
    assert raised.type is error


def test_the_worker_can_read_what_the_queues_send(aws: None) -> None:
    sqs = client("sqs")
    events = sqs.create_queue(QueueName="events")["QueueUrl"]
    dead_letters = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    queues = SqsQueues(sqs, events, dead_letters)
    queues.send(request())
    queues.send(request("evt_later"), 900)
    (received,) = sqs.receive_message(
        QueueUrl=events, AttributeNames=["All"], MaxNumberOfMessages=10
    )["Messages"]
    message = Message.from_record(
        {
            "messageId": received["MessageId"],
            "receiptHandle": received["ReceiptHandle"],
            "body": received["Body"],
            "attributes": received["Attributes"],
        }
    )
    assert message.body == request().to_message()
    assert message.receives == 1
    queues.hide(message, 0)
    assert sqs.receive_message(QueueUrl=events)["Messages"]
    queues.dead_letter("the body", "its reason")
    (stored,) = sqs.receive_message(QueueUrl=dead_letters, MessageAttributeNames=["All"])[
        "Messages"
    ]
    assert stored["Body"] == "the body"
    assert stored["MessageAttributes"]["reason"]["StringValue"] == "its reason"


def test_an_error_of_sqs_raises_queue_unavailable(aws: None) -> None:
    missing = "https://sqs.us-east-1.amazonaws.com/123456789012/none"
    queues = SqsQueues(client("sqs"), missing, missing)
    with pytest.raises(QueueUnavailable):
        queues.send(request())
    with pytest.raises(QueueUnavailable):
        queues.dead_letter("b", "r")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("whsec_a", ("whsec_a",)),
        ("whsec_a\n", ("whsec_a",)),
        ('["whsec_a", "whsec_b"]', ("whsec_a", "whsec_b")),
        (' [" whsec_a ", ""]', ("whsec_a",)),
    ],
)
def test_a_secret_is_a_plain_string_or_a_json_list(text: str, values: tuple[str, ...]) -> None:
    assert parse(text) == values


@pytest.mark.parametrize("text", ["", "  ", "[]", '[""]', "[1]", "[", '[["a"]]'])
def test_a_secret_without_a_value_is_an_error(text: str) -> None:
    with pytest.raises(SecretUnavailable):
        parse(text)


def test_a_secret_is_cached_for_minutes_and_refreshed_at_most_once_a_minute(aws: None) -> None:
    secrets = client("secretsmanager")
    secrets.create_secret(Name="s", SecretString="one")
    now = [1000.0]
    secret = Secret(secrets, "s", lambda: now[0])
    assert secret.current() == ("one",)
    secrets.put_secret_value(SecretId="s", SecretString="two")
    now[0] += CACHE_SECONDS - 1
    assert secret.current() == ("one",)
    assert secret.refreshed() == ("two",)
    secrets.put_secret_value(SecretId="s", SecretString="three")
    now[0] += MIN_REFRESH_SECONDS - 1
    assert secret.refreshed() == ("two",)
    now[0] += 1
    assert secret.refreshed() == ("three",)
    now[0] += CACHE_SECONDS
    assert secret.current() == ("three",)


def test_a_known_secret_is_used_for_an_hour_while_secrets_manager_does_not_answer(
    aws: None,
) -> None:
    secrets = client("secretsmanager")
    secrets.create_secret(Name="s", SecretString="one")
    now = [1000.0]
    secret = Secret(secrets, "s", lambda: now[0])
    assert secret.current() == ("one",)
    secrets.delete_secret(SecretId="s", ForceDeleteWithoutRecovery=True)
    now[0] += MAX_AGE_SECONDS - 1
    assert secret.current() == ("one",)
    now[0] += 1
    with pytest.raises(SecretUnavailable):
        secret.current()


def test_signing_secrets_are_created_and_then_several_are_stored_together(aws: None) -> None:
    secrets = SigningSecrets(client("secretsmanager"), "webhook")
    assert secrets.read() == ()
    secrets.write(["whsec_1"])
    assert secrets.read() == ("whsec_1",)
    secrets.write(["whsec_2", "whsec_1"])
    assert secrets.read() == ("whsec_2", "whsec_1")


def test_an_unusable_signing_secret_counts_as_missing(aws: None) -> None:
    client("secretsmanager").create_secret(Name="webhook", SecretString="[1")
    assert SigningSecrets(client("secretsmanager"), "webhook").read() == ()


def test_a_secret_that_is_being_deleted_does_not_count_as_missing(aws: None) -> None:
    aws_secrets = client("secretsmanager")
    aws_secrets.create_secret(Name="webhook", SecretString="whsec_1")
    aws_secrets.delete_secret(SecretId="webhook")
    with pytest.raises(SecretUnavailable, match="InvalidRequestException"):
        SigningSecrets(aws_secrets, "webhook").read()


def test_a_configuration_is_found_by_its_name(store: DynamoDBStore) -> None:
    assert store.configuration_named("test", "default") is None
    store.name_configuration("test", "default", "bpc_1")
    store.name_configuration("test", "default", "bpc_2")
    assert store.configuration_named("test", "default", consistent=True) == "bpc_2"
    assert store.configuration_named("live", "default") is None


def test_the_error_for_a_secret_that_does_not_exist_has_the_code_of_aws(aws: None) -> None:
    with pytest.raises(SecretUnavailable, match="ResourceNotFoundException"):
        Secret(client("secretsmanager"), "none", lambda: 0.0).current()


# ---------------------------------------------------------------- the size of rows

_IDS = random.Random(7)


def stripe_id(prefix: str, length: int = 24) -> str:
    """An id as long as Stripe's, and as hard to compress."""
    return f"{prefix}_{''.join(_IDS.choices(string.ascii_letters + string.digits, k=length))}"


def subscribed(*items: Item) -> Subscription:
    return Subscription(id=stripe_id("sub"), status="active", items=items)


def an_item(number: int = 0) -> Item:
    return Item(
        price=stripe_id("price"),
        product=stripe_id("prod", 14),
        lookup_key=f"team_monthly_{number}",
        quantity=5,
        period_end=NOW + 30 * DAY,
    )


def customer_row(*subscriptions: Subscription) -> CustomerRow:
    """A customer who tried, bought and upgraded, with a card and a tax id."""
    key = CustomerKey("own", "live", stripe_id("cus", 14))
    new = CustomerRow(
        key=key, subject="0190a7c8-7c1b-7b7c-9a55-0f5a3d1e6b11", issuer="https://acme.eu.auth0.com/"
    )
    full = Facts(
        subscriptions=subscriptions,
        entitlements=("projects", "api_access", "priority_support", "audit_log", "sso"),
        payment_method=PaymentMethod(
            type="card", brand="mastercard", last4="4444", exp_month=12, exp_year=2034
        ),
        tax_ids=(TaxId(type="eu_vat", status="verified"),),
        claimed_subject=new.subject,
        claimed_issuer=new.issuer,
    )
    row = new
    for facts in (replace(full, entitlements=("projects", "api_access")), full):
        cause = Cause(stripe_id("evt"), "customer.subscription.updated")
        row = row.advanced(facts, as_of=NOW, confirm_at=NOW + 90, cause=cause, policy=POLICY)
    return row


def test_a_typical_row_costs_one_write_unit(store: DynamoDBStore) -> None:
    typical = customer_row(subscribed(an_item()))
    assert len(typical.transitions) == 2
    assert item_size(typical.to_item()) <= WRITE_UNIT_BYTES
    plain = replace(typical, transitions=typical.transitions[:1]).to_item()
    assert isinstance(plain["facts"], str), "it can be read in the console"


def test_900_subscriptions_or_150_items_are_an_ordinary_row(store: DynamoDBStore) -> None:
    many = customer_row(*(subscribed(an_item(number)) for number in range(900)))
    wide = customer_row(subscribed(*(an_item(number) for number in range(150))))
    for row_ in (many, wide):
        written = replace(row_, revision=1)
        store.commit(written)
        assert store.load(written.key) == written
        assert item_size(written.to_item()) < MAX_ITEM_BYTES / 2


def test_the_size_of_an_item_is_counted_as_dynamodb_counts_it() -> None:
    assert item_size({"pk": "é"}) == 4
    assert item_size({"n": 1790000000, "b": b"123", "t": True, "none": None}) == 1 + 7 + 4 + 2 + 5
    assert item_size({"m": {"a": "b"}, "l": ["x", 1]}) == 1 + (3 + 1 + 2) + 1 + (3 + 2 + 1 + 2)
