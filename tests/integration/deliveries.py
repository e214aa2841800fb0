"""Webhooks that a test posts to the deployed API itself: any event, any number of times, in any
order, with a valid or an invalid signature.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from billing.events import EFFECTS
from local.stack import LocalStack

JSON = "application/json; charset=utf-8"


def signature(body: bytes, secret: str, at: float) -> str:
    """Sign bytes as Stripe does. The helper of Stripe's library signs text only."""
    moment = str(int(at))
    mac = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256)
    return f"t={moment},v1={mac.hexdigest()}"


def post(
    stack: LocalStack,
    body: bytes | dict[str, Any],
    *,
    header: str | bytes | None = None,
    content_type: str = JSON,
) -> httpx.Response:
    """POST a webhook. Without `header`, its signature is valid."""
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    if header is None:
        header = signature(body, stack.webhook_secret, time.time())
    return post_unsigned(stack, body, content_type, ("stripe-signature", header))


def post_unsigned(
    stack: LocalStack, body: bytes, content_type: str, *more: tuple[str, str | bytes]
) -> httpx.Response:
    """POST a webhook with only these headers."""
    headers = [(b"content-type", content_type.encode())]
    headers += [
        (name.encode(), value.encode() if isinstance(value, str) else value) for name, value in more
    ]
    return stack.http.post(stack.deployment.webhook_url, content=body, headers=headers)


class EventLog:
    """Stripe's list of events. Each read continues where the last one ended."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        newest = stack.stripe.v1.events.list({"limit": 1}).data
        self._seen: str | None = newest[0].id if newest else None

    def new(self) -> list[dict[str, Any]]:
        """Return the events since the last read, oldest first, of the types that we ingest."""
        found: list[dict[str, Any]] = []
        while True:
            parameters: dict[str, Any] = {"limit": 100}
            if self._seen is not None:
                parameters["ending_before"] = self._seen
            page = self._stack.stripe.v1.events.list(parameters)  # type: ignore[arg-type]
            if not page.data:
                return [event for event in found if event["type"] in EFFECTS]
            self._seen = page.data[0].id
            found += [event.to_dict(for_json=True) for event in reversed(page.data)]


@contextmanager
def worker_paused(stack: LocalStack) -> Iterator[None]:
    """Pause the worker for the block. All messages that arrive meanwhile make one batch."""
    functions = stack.client("lambda")
    name = stack.deployment.functions["SyncCustomer"]
    (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def dead_letters(stack: LocalStack) -> list[tuple[str, str]]:
    """Remove all messages from the dead-letter queue. Return their bodies and reasons."""
    sqs = stack.client("sqs")
    url = stack.deployment.dead_letter_queue_url
    found: list[tuple[str, str]] = []
    while True:
        messages = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages", [])
        if not messages:
            return found
        for message in messages:
            reason = message.get("MessageAttributes", {}).get("reason", {}).get("StringValue", "")
            found.append((message["Body"], reason))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
