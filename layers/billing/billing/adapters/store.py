"""The entitlement table in DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from billing.adapters.aws_errors import raised_as
from billing.errors import Conflict, StoreRefused, StoreUnavailable
from billing.keys import CustomerKey, DocumentKey, SubjectKey
from billing.model import CustomerRow, DocumentRow, Link, Row

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: Errors that a repeated request gets again: https://docs.aws.amazon.com/amazondynamodb/latest/
#: developerguide/Programming.Errors.html. In a transaction each item has one of the second kind.
_REFUSALS = {"ValidationException", "ItemCollectionSizeLimitExceededException"}
_REFUSALS_IN_TRANSACTIONS = {"ValidationError", "ItemCollectionSizeLimitExceeded"}

#: The largest item that DynamoDB stores.
MAX_ITEM_BYTES = 400 * 1024

#: What one write unit writes.
WRITE_UNIT_BYTES = 1024

_to_dynamodb = TypeSerializer().serialize
_from_dynamodb = TypeDeserializer().deserialize


class DynamoDBStore:
    """Rows and links in one table whose only key attribute is `pk`.

    Every method raises StoreUnavailable when DynamoDB fails, and StoreRefused when it refuses the
    request for good.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def load(self, key: CustomerKey, *, consistent: bool = True) -> CustomerRow:
        """The customer's row; revision 0 where there is none."""
        return CustomerRow.from_item(key, self._get(key.pk, consistent))

    def load_link(self, key: SubjectKey, *, consistent: bool = True) -> Link:
        """The subject's link; revision 0 where there is none."""
        return Link.from_item(key, self._get(key.pk, consistent))

    def commit(self, row: Row) -> None:
        """Write the row if the stored revision is one less. Raises Conflict."""
        with _translated():
            self._client.put_item(**self._put(row))

    def load_document(self, key: DocumentKey, *, consistent: bool = True) -> DocumentRow:
        """The document's row; revision 0 where there is none."""
        return DocumentRow.from_item(key, self._get(key.pk, consistent))

    def configuration_named(self, mode: str, name: str, *, consistent: bool = False) -> str | None:
        """The id of the portal configuration that portcullis.toml calls `name`."""
        item = self._get(_name_pk(mode, name), consistent)
        return item.get("configuration")

    def name_configuration(self, mode: str, name: str, configuration_id: str) -> None:
        """Point `name` to this portal configuration; only a deploy does, one at a time."""
        row = {"pk": _name_pk(mode, name), "configuration": configuration_id}
        with _translated():
            self._client.put_item(TableName=self._table, Item=_serialized(row))

    def commit_and_link(
        self, row: CustomerRow, link: Link, *, released: CustomerRow | None = None
    ) -> None:
        """Write the row, the link to it and the released row in one transaction, each if its stored
        revision is one less. Raises Conflict."""
        rows: list[Row] = [row, link] if released is None else [row, link, released]
        with _translated():
            try:
                self._client.transact_write_items(
                    TransactItems=[{"Put": self._put(each)} for each in rows]
                )
            except self._client.exceptions.TransactionCanceledException as error:
                codes = {reason.get("Code") for reason in error.response["CancellationReasons"]}
                if codes & {"ConditionalCheckFailed", "TransactionConflict"}:
                    raise Conflict(row.key.pk) from error
                for code in _REFUSALS_IN_TRANSACTIONS & codes:
                    raise StoreRefused(code) from error
                raise

    def _get(self, pk: str, consistent: bool) -> dict[str, Any]:
        with _translated():
            answer = self._client.get_item(
                TableName=self._table, Key=_serialized({"pk": pk}), ConsistentRead=consistent
            )
        return {name: _from_dynamodb(value) for name, value in answer.get("Item", {}).items()}

    def _put(self, row: Row) -> Any:
        """A Put of `row` over the revision before it."""
        item = row.to_item()
        if (size := item_size(item)) > MAX_ITEM_BYTES:
            raise StoreRefused(f"the row has {size:,} bytes, and DynamoDB takes {MAX_ITEM_BYTES:,}")
        put: dict[str, Any] = {"TableName": self._table, "Item": _serialized(item)}
        if row.revision == 1:
            return put | {"ConditionExpression": "attribute_not_exists(pk)"}
        condition = "rev = :before"
        if isinstance(row, Link) and row.revision == 2:
            # The first release wrote links without a revision: that counts as the first.
            condition += " OR (attribute_exists(pk) AND attribute_not_exists(rev))"
        return put | {
            "ConditionExpression": condition,
            "ExpressionAttributeValues": _serialized({":before": row.revision - 1}),
        }


@contextmanager
def _translated() -> Iterator[None]:
    """DynamoDB's errors as ours. A write that meets another one on the way is a conflict, like one
    whose condition does not hold."""
    with raised_as(StoreUnavailable):
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("ConditionalCheckFailedException", "TransactionConflictException"):
                raise Conflict(code) from error
            if code in _REFUSALS:
                raise StoreRefused(code) from error
            raise


def item_size(item: Mapping[str, Any]) -> int:
    """Bytes of an item as DynamoDB counts them. A map or a list has 3 more, and 1 for each element
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Any) -> int:
    match value:
        case Mapping():
            return 3 + len(value) + item_size(value)
        case list() | tuple():
            return 3 + len(value) + sum(map(_value_size, value))
        case str():
            return len(value.encode())
        case bytes():
            return len(value)
        case bool() | None:
            return 1
        case _:
            return len(str(value)) // 2 + 2


def _name_pk(mode: str, name: str) -> str:
    return f"CONFIG#{mode}#name#{name}"


def _serialized(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: _to_dynamodb(value) for name, value in attributes.items()}
