"""The event queue and its dead-letter queue in SQS: the adapter behind ingest, sync and batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing.adapters.aws_errors import raised_as
from billing.batch import Message
from billing.errors import QueueUnavailable
from billing.events import Hint

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsQueues:
    """Every method raises QueueUnavailable unless SQS has accepted the call."""

    def __init__(self, client: SQSClient, events: str, dead_letters: str) -> None:
        self._client = client
        self._events = events
        self._dead_letters = dead_letters

    def send(self, hint: Hint) -> None:
        """Enqueue a hint, visible at once."""
        with raised_as(QueueUnavailable):
            self._client.send_message(QueueUrl=self._events, MessageBody=hint.to_message())

    def send_confirm(self, hint: Hint, delay: int) -> None:
        """Enqueue a hint, visible after `delay` seconds (SQS allows 900)."""
        with raised_as(QueueUnavailable):
            self._client.send_message(
                QueueUrl=self._events, MessageBody=hint.to_message(), DelaySeconds=delay
            )

    def hide(self, message: Message, seconds: int) -> None:
        """Make a received message visible again only after `seconds`."""
        with raised_as(QueueUnavailable):
            self._client.change_message_visibility(
                QueueUrl=self._events, ReceiptHandle=message.receipt, VisibilityTimeout=seconds
            )

    def dead_letter(self, body: str, reason: str) -> None:
        """Send `body`, unchanged, to the dead-letter queue; `reason` is a message attribute."""
        with raised_as(QueueUnavailable):
            self._client.send_message(
                QueueUrl=self._dead_letters,
                MessageBody=body,
                MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
            )
