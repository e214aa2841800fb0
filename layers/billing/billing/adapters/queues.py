"""The event queue and its dead-letter queue in SQS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing.adapters.aws_errors import raised_as
from billing.batch import Message
from billing.errors import QueueUnavailable
from billing.sync_request import SyncRequest

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsQueues:
    """Every method raises QueueUnavailable unless SQS has accepted the call."""

    def __init__(self, client: SQSClient, events: str, dead_letters: str) -> None:
        self._client = client
        self._events = events
        self._dead_letters = dead_letters

    def send(self, request: SyncRequest, delay: int = 0) -> None:
        """Enqueue `request`, visible after `delay` seconds (SQS allows 900)."""
        with raised_as(QueueUnavailable):
            self._client.send_message(
                QueueUrl=self._events, MessageBody=request.to_message(), DelaySeconds=delay
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
