"""DynamoDB: each call as it is sent, and what becomes of each response. Conditions run on moto."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from billing.adapters.store import DynamoDBStore
from billing.errors import Conflict, StoreRefused, StoreUnavailable
from billing.facts import Facts
from billing.keys import CATALOG, CustomerKey, DocumentKey, SubjectKey
from billing.model import CustomerRow, DocumentRow, Link
from tests.unit.adapters.aws import client
from tests.unit.adapters.wire import Response, Wire, aws_error

KEY = CustomerKey("own", "test", "cus_1")
OTHER = CustomerKey("own", "test", "cus_2")
SUBJECT = SubjectKey("test", "https://issuer/", "user-1")
DOCUMENT = DocumentKey(CATALOG, "test")


def row(revision: int, key: CustomerKey = KEY, **fields: Any) -> CustomerRow:
    return CustomerRow(key=key, revision=revision, as_of=revision, **fields)


def link(revision: int, customer: CustomerKey = KEY, *claimants: CustomerKey) -> Link:
    return Link(key=SUBJECT, revision=revision, customer=customer, claimants=claimants)


# ---------------------------------------------------------------- what is sent

Call = Callable[[DynamoDBStore], Any]

#: Every read, as (the call, the partition key that it reads).
READS: dict[str, tuple[Callable[..., Any], str]] = {
    "load": (lambda store, **how: store.load(KEY, **how), "CUS#own#test#cus_1"),
    "load_link": (
        lambda store, **how: store.load_link(SUBJECT, **how),
        "SUBJECT#test#https://issuer/#user-1",
    ),
    "load_document": (lambda store, **how: store.load_document(DOCUMENT, **how), "CATALOG#test"),
    "configuration_named": (
        lambda store, **how: store.configuration_named("test", "default", **how),
        "CONFIG#test#name#default",
    ),
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("consistent", [True, False])
def test_a_read_is_as_consistent_as_the_caller_asks(
    wire: Wire, name: str, consistent: bool
) -> None:
    read, pk = READS[name]
    read(DynamoDBStore(client("dynamodb", wire), "t"), consistent=consistent)
    assert wire.only.operation == "GetItem"
    assert wire.only.json == {
        "TableName": "t",
        "Key": {"pk": {"S": pk}},
        "ConsistentRead": consistent,
    }


@pytest.mark.parametrize("name", ["load", "load_link", "load_document"])
def test_a_sync_reads_consistently_without_asking_for_it(wire: Wire, name: str) -> None:
    READS[name][0](DynamoDBStore(client("dynamodb", wire), "t"))
    assert wire.only.json["ConsistentRead"] is True


def customer_item(revision: int, customer: str = "cus_1") -> dict[str, Any]:
    return {
        "pk": {"S": f"CUS#own#test#{customer}"},
        "format": {"N": "2"},
        "rev": {"N": str(revision)},
        "as_of": {"N": str(revision)},
    }


def link_item(revision: int, *claimants: str) -> dict[str, Any]:
    return {
        "pk": {"S": "SUBJECT#test#https://issuer/#user-1"},
        "rev": {"N": str(revision)},
        "account": {"S": "own"},
        "customer": {"S": "cus_1"},
        "claimants": {"L": [{"S": claimant} for claimant in claimants]},
    }


FIRST = {"ConditionExpression": "attribute_not_exists(pk)"}


def over(revision: int, condition: str = "rev = :before") -> dict[str, Any]:
    """The condition of a write over this revision."""
    return {
        "ConditionExpression": condition,
        "ExpressionAttributeValues": {":before": {"N": str(revision)}},
    }


#: The first release wrote links without a revision.
OVER_A_FIRST_LINK = over(1, "rev = :before OR (attribute_exists(pk) AND attribute_not_exists(rev))")

#: Every write of one row, as (the call, the item, the rest of the request).
PUTS: dict[str, tuple[Call, dict[str, Any], dict[str, Any]]] = {
    "the first revision of a customer": (lambda s: s.commit(row(1)), customer_item(1), FIRST),
    "the second one": (lambda s: s.commit(row(2)), customer_item(2), over(1)),
    "a later one": (lambda s: s.commit(row(7)), customer_item(7), over(6)),
    "the first revision of a link": (lambda s: s.commit(link(1)), link_item(1), FIRST),
    "the second revision of a link": (
        lambda s: s.commit(link(2, KEY, OTHER)),
        link_item(2, "CUS#own#test#cus_2"),
        OVER_A_FIRST_LINK,
    ),
    "a later revision of a link": (lambda s: s.commit(link(3)), link_item(3), over(2)),
    "a document": (
        lambda s: s.commit(
            DocumentRow(key=DOCUMENT, revision=2, as_of=5, confirm_at=6, content={"a": "b"})
        ),
        {
            "pk": {"S": "CATALOG#test"},
            "rev": {"N": "2"},
            "as_of": {"N": "5"},
            "confirm_at": {"N": "6"},
            "content": {"M": {"a": {"S": "b"}}},
        },
        over(1),
    ),
    "the name of a portal configuration": (
        lambda s: s.name_configuration("test", "default", "bpc_1"),
        {"pk": {"S": "CONFIG#test#name#default"}, "configuration": {"S": "bpc_1"}},
        {},
    ),
}


@pytest.mark.parametrize("name", PUTS)
def test_a_row_is_put_on_the_condition_that_the_revision_before_it_is_stored(
    wire: Wire, name: str
) -> None:
    write, item, condition = PUTS[name]
    write(DynamoDBStore(client("dynamodb", wire), "t"))
    assert wire.only.operation == "PutItem"
    assert wire.only.json == {"TableName": "t", "Item": item, **condition}


def test_a_row_its_link_and_the_released_row_are_one_transaction_of_conditional_puts(
    wire: Wire,
) -> None:
    store = DynamoDBStore(client("dynamodb", wire), "t")
    store.commit_and_link(row(1), link(2), released=row(4, OTHER))
    sent = wire.only.json
    assert wire.only.operation == "TransactWriteItems"
    # botocore adds a token of its own, so that a request which is repeated counts once.
    assert sent.pop("ClientRequestToken")
    puts = [
        (customer_item(1), FIRST),
        (link_item(2), OVER_A_FIRST_LINK),
        (customer_item(4, "cus_2"), over(3)),
    ]
    assert sent == {
        "TransactItems": [
            {"Put": {"TableName": "t", "Item": item, **condition}} for item, condition in puts
        ]
    }


def test_a_link_without_a_released_row_is_a_transaction_of_two(wire: Wire) -> None:
    DynamoDBStore(client("dynamodb", wire), "t").commit_and_link(row(1), link(1))
    assert len(wire.only.json["TransactItems"]) == 2


# ---------------------------------------------------------------- what the responses mean


def test_a_stored_item_is_read_as_its_row(wire: Wire) -> None:
    wire.responds(Response({"Item": customer_item(7)}))
    store = DynamoDBStore(client("dynamodb", wire), "t")
    assert store.load(KEY) == row(7)
    wire.responds(Response({"Item": link_item(3, "CUS#own#test#cus_2")}))
    assert store.load_link(SUBJECT) == link(3, KEY, OTHER)


#: Every call; `commit_and_link` has error codes of its own and stands below.
CALLS: dict[str, Call] = {
    **{name: read for name, (read, _) in READS.items()},
    "commit": lambda store: store.commit(row(1)),
    "name_configuration": lambda store: store.name_configuration("test", "default", "bpc_1"),
}


@pytest.mark.parametrize("name", [*CALLS, "commit_and_link"])
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ThrottlingException", StoreUnavailable),
        ("ProvisionedThroughputExceededException", StoreUnavailable),
        ("RequestLimitExceeded", StoreUnavailable),
        ("InternalServerError", StoreUnavailable),
        ("AccessDeniedException", StoreUnavailable),
        ("ResourceNotFoundException", StoreUnavailable),
        ("TransactionInProgressException", StoreUnavailable),
        ("ValidationException", StoreRefused),
        ("ItemCollectionSizeLimitExceededException", StoreRefused),
    ],
)
def test_no_error_of_dynamodb_is_taken_for_a_success_or_for_another_error(
    wire: Wire, name: str, code: str, error: type[Exception]
) -> None:
    wire.responds(aws_error(code))
    calls: dict[str, Call] = {
        **CALLS,
        "commit_and_link": lambda store: store.commit_and_link(row(1), link(1)),
    }
    with pytest.raises(error, match=code) as raised:
        calls[name](DynamoDBStore(client("dynamodb", wire), "t"))
    assert raised.type is error


@pytest.mark.parametrize(
    "code", ["ConditionalCheckFailedException", "TransactionConflictException"]
)
def test_a_write_that_meets_another_one_is_a_conflict(wire: Wire, code: str) -> None:
    wire.responds(aws_error(code))
    with pytest.raises(Conflict, match=code):
        DynamoDBStore(client("dynamodb", wire), "t").commit(row(2))


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
        (["ProvisionedThroughputExceeded", "None"], StoreUnavailable),
    ],
)
def test_a_cancelled_transaction_is_judged_by_its_reasons(
    wire: Wire, reasons: list[str], error: type[Exception]
) -> None:
    codes = [{"Code": code} for code in reasons]
    wire.responds(aws_error("TransactionCanceledException", CancellationReasons=codes))
    with pytest.raises(error) as raised:
        DynamoDBStore(client("dynamodb", wire), "t").commit_and_link(row(1), link(1))
    assert raised.type is error


@pytest.mark.parametrize("name", [*CALLS, "commit_and_link"])
def test_a_dynamodb_that_cannot_be_reached_is_unavailable(wire: Wire, name: str) -> None:
    wire.url = "http://127.0.0.1:9"
    calls: dict[str, Call] = {
        **CALLS,
        "commit_and_link": lambda store: store.commit_and_link(row(1), link(1)),
    }
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError"):
        calls[name](DynamoDBStore(client("dynamodb", wire), "t"))


# ---------------------------------------------------------------- what the conditions do, on moto


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
    with pytest.raises(Conflict):
        store.commit(link(2, KEY, OTHER))
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


def test_a_row_that_dynamodb_can_never_store_is_refused(store: DynamoDBStore) -> None:
    incompressible = random.Random(1)
    large = Facts(entitlements=tuple(str(incompressible.random()) for _ in range(70_000)))
    with pytest.raises(StoreRefused, match=r"the row has .* bytes, and DynamoDB takes 409,600"):
        store.commit(row(1, facts=large))
    with pytest.raises(StoreRefused, match="the row has"):
        store.commit_and_link(row(1, facts=large), link(1))
    with pytest.raises(StoreRefused, match="ValidationException"):
        store.commit(row(1, CustomerKey("own", "test", "c" * 2048)))


def test_a_configuration_is_found_by_its_name(store: DynamoDBStore) -> None:
    assert store.configuration_named("test", "default") is None
    store.name_configuration("test", "default", "bpc_1")
    store.name_configuration("test", "default", "bpc_2")
    assert store.configuration_named("test", "default", consistent=True) == "bpc_2"
    assert store.configuration_named("live", "default") is None
