"""The event queue's worker: makes the rows named in a batch equal to Stripe."""

from collections.abc import Mapping
from typing import Any

from billing import wiring
from billing.adapters import telemetry
from billing.batch import Message

batch = wiring.batch()


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """The partial batch response: the messages that stay on the queue."""
    messages = [Message.from_record(record) for record in event["Records"]]
    try:
        deferred = batch(messages, context.get_remaining_time_in_millis)
    finally:
        telemetry.flush()
    return {"batchItemFailures": [{"itemIdentifier": message} for message in deferred]}
