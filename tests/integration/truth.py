"""The rows of the table, the writes to it, and the truth: the facts of a new read of Stripe
through the deployed adapter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from billing.access import AccessPolicy
from billing.adapters.store import DynamoDBStore
from billing.adapters.stripe_api import StripeApi
from billing.facts import Facts
from billing.keys import OWN_ACCOUNT, CustomerKey
from billing.model import CustomerRow
from billing.projection import project
from billing.stripe_state import fetch
from local.stack import LocalStack

#: The template's defaults.
POLICY = AccessPolicy(
    past_due_grace=7 * 86_400,
    delayed_payment=14 * 86_400,
    renewal_slack=72 * 3600,
    pause_collection_keeps_access=True,
)
SUBJECT_KEY = "user_id"


def key_of(customer: str) -> CustomerKey:
    return CustomerKey(OWN_ACCOUNT, "test", customer)


def stored(stack: LocalStack, customer: str) -> CustomerRow:
    """Return the customer's row in the table."""
    store = DynamoDBStore(stack.client("dynamodb"), stack.deployment.table_name)
    return store.load(key_of(customer))


def in_stripe(stack: LocalStack, customer: str) -> Facts:
    """Return the customer's facts as they are in Stripe now."""
    state = fetch(StripeApi(lambda: stack.stripe), customer, Facts(), lambda: None)
    return project(state, SUBJECT_KEY).facts


def differing(stack: LocalStack, customers: Iterable[str]) -> dict[str, tuple[Facts, Facts]]:
    """Return the customers whose row differs from Stripe: the row's facts, then Stripe's."""
    found = {}
    for customer in customers:
        row, truth = stored(stack, customer).facts, in_stripe(stack, customer)
        if row != truth:
            found[customer] = row, truth
    return found


class Writes:
    """Each state of a row that is written from now on, read from the table's stream."""

    def __init__(self, stack: LocalStack) -> None:
        table = stack.deployment.table_name
        dynamodb = stack.client("dynamodb")
        described = dynamodb.describe_table(TableName=table)["Table"]
        if not described.get("StreamSpecification", {}).get("StreamEnabled"):
            described = dynamodb.update_table(
                TableName=table,
                StreamSpecification={
                    "StreamEnabled": True,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            )["TableDescription"]
        self._streams = stack.client("dynamodbstreams")
        self._arn = described["LatestStreamArn"]

    def of(self, customer: str) -> list[CustomerRow]:
        """Return the written states of this customer's row, in order."""
        read = TypeDeserializer().deserialize
        key = key_of(customer)
        rows = []
        for record in self._records():
            image = record["dynamodb"].get("NewImage", {})
            item = {name: read(value) for name, value in image.items()}
            if item.get("pk") == key.pk:
                rows.append(CustomerRow.from_item(key, item))
        return rows

    def _records(self) -> Iterable[dict[str, Any]]:
        described = self._streams.describe_stream(StreamArn=self._arn)["StreamDescription"]
        for shard in described["Shards"]:
            iterator = self._streams.get_shard_iterator(
                StreamArn=self._arn,
                ShardId=shard["ShardId"],
                ShardIteratorType="TRIM_HORIZON",
            )["ShardIterator"]
            while iterator:
                response = self._streams.get_records(ShardIterator=iterator, Limit=1000)
                yield from response["Records"]
                if not response["Records"]:
                    break
                iterator = response.get("NextShardIterator")
