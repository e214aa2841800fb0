"""A standard SQS queue with its dead-letter queue, as the event source mapping sees them.

Delivery is at least once and unordered: any visible message may be received next, and a received
message may be received again. A message stays until it is deleted or was received too often.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from billing.batch import Message
from billing.sync_request import SyncRequest

#: template.yaml's VisibilityTimeout, maxReceiveCount and BatchSize.
VISIBILITY_TIMEOUT = 520
MAX_RECEIVES = 1000
BATCH_SIZE = 10


class Stored(NamedTuple):
    """A message on the queue. `sent_at` and `visible_at` are epoch seconds."""

    id: str
    request: SyncRequest
    sent_at: float
    visible_at: float
    receives: int


class Received(NamedTuple):
    """A message as one receive returned it."""

    receipt: str
    id: str
    request: SyncRequest


Values = tuple[dict[str, Stored], tuple[tuple[str, str], ...], dict[str, int], int]


class QueueModel:
    """Both queues. Fields are immutable values: a change replaces one."""

    def __init__(self) -> None:
        self.messages: dict[str, Stored] = {}
        self.dead: tuple[tuple[str, str], ...] = ()
        self.numbers: dict[str, int] = {}
        self.confirms = 0

    def snapshot(self) -> Values:
        return self.messages, self.dead, self.numbers, self.confirms

    def restore(self, values: Values) -> None:
        self.messages, self.dead, self.numbers, self.confirms = values

    def send(self, request: SyncRequest, now: float, delay: float = 0) -> None:
        number = self.numbers.get(request.cause.id, 0)
        self.numbers = {**self.numbers, request.cause.id: number + 1}
        self.confirms += request.is_confirm and not request.not_found
        message = Stored(f"{request.cause.id}#{number}", request, now, now + delay, 0)
        self.messages = {**self.messages, message.id: message}

    def visible(self, now: float) -> list[str]:
        return [name for name, message in self.messages.items() if message.visible_at <= now]

    def receive(
        self, ids: tuple[str, ...], now: float
    ) -> tuple[tuple[Received, ...], list[Message]]:
        """Return these messages to a worker; dead-letter those that were received too often."""
        received: list[Received] = []
        messages: list[Message] = []
        for name in ids:
            held = self.messages[name]
            if held.receives >= MAX_RECEIVES:
                self.delete(name)
                self.dead_letter(body_of(held.request), "received too often")
                continue
            held = held._replace(visible_at=now + VISIBILITY_TIMEOUT, receives=held.receives + 1)
            self.messages = {**self.messages, name: held}
            receipt = f"{name}/{held.receives}"
            received.append(Received(receipt, name, held.request))
            messages.append(
                Message(
                    id=name,
                    receipt=receipt,
                    body=body_of(held.request),
                    sent_at=held.sent_at,
                    receives=held.receives,
                )
            )
        return tuple(received), messages

    def hide(self, message: Message, now: float, seconds: float) -> None:
        held = self.messages.get(message.id)
        if held is not None and held.receives == message.receives:
            held = held._replace(visible_at=now + seconds)
            self.messages = {**self.messages, message.id: held}

    def delete(self, name: str) -> None:
        """Delete a message. SQS may accept an old receipt, so this accepts any: the harder case."""
        self.messages = {other: held for other, held in self.messages.items() if other != name}

    def has_copy_of(self, request: SyncRequest) -> bool:
        """Whether this message was sent again after its first 404, and the copy is on the queue."""
        copies = [each.request for each in self.messages.values() if each.request.not_found]
        return bool(copies) and not request.not_found and replace(request, not_found=True) in copies

    def dead_letter(self, body: str, reason: str) -> None:
        self.dead = (*self.dead, (body, reason))

    def duplicate(self, name: str) -> None:
        """Make a message in flight visible again: SQS delivers at least once."""
        held = self.messages[name]
        self.messages = {**self.messages, name: held._replace(visible_at=0.0)}


@lru_cache(maxsize=1 << 12)
def body_of(request: SyncRequest) -> str:
    """The message's body, cached: requests never change."""
    return request.to_message()
