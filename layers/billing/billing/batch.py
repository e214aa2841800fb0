"""A batch of queue messages: one sync for each key they name, and for each one of three ends.

done   covered by our own commit: acknowledged
wait   not now (Stripe down, conflict, no time left): back to the queue, visible after a backoff
dead   never: to the dead-letter queue with its reason, body unchanged, then acknowledged
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from billing.errors import (
    Conflict,
    CustomerNotFound,
    OutOfTime,
    Unavailable,
    Unprocessable,
)
from billing.events import Hint
from billing.link import Report
from billing.model import Key

#: A message waits at most this long for Stripe or AWS, in seconds; then it is dead-lettered.
PATIENCE = 3 * 24 * 3600

#: A customer that Stripe does not know may be a read that lags; this long, in seconds.
NOT_FOUND_PATIENCE = 3600

#: Longest backoff between two tries, in seconds.
LONGEST_BACKOFF = 900

#: Customers synced side by side.
SIDE_BY_SIDE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An SQS record. `sent_at` in epoch seconds by SQS' clock; `receives` counts this one too."""

    id: str
    receipt: str
    body: str
    sent_at: float
    receives: int

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Message:
        attributes = record["attributes"]
        return cls(
            id=record["messageId"],
            receipt=record["receiptHandle"],
            body=record["body"],
            sent_at=int(attributes["SentTimestamp"]) / 1000,
            receives=int(attributes["ApproximateReceiveCount"]),
        )


class MessageQueue(Protocol):
    """Both may raise QueueUnavailable."""

    def hide(self, message: Message, seconds: int) -> None:
        """Make the message visible again only after `seconds`."""
        ...

    def dead_letter(self, body: str, reason: str) -> None:
        """Send `body`, unchanged, to the dead-letter queue with its reason as an attribute."""
        ...


class SideBySide(Protocol):
    """How the syncs of one batch run."""

    def __call__(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run all tasks, several at a time, and return when all have ended."""
        ...


def threads(tasks: Sequence[Callable[[], None]]) -> None:
    """SideBySide on threads: a sync spends its time waiting for Stripe."""
    if len(tasks) == 1:
        tasks[0]()
        return
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch's dependencies. `clock` gives epoch seconds; `jitter()` a number from 0 to 1."""

    sync: Callable[[Key, Sequence[Hint], Callable[[], int]], None]
    queue: MessageQueue
    side_by_side: SideBySide
    clock: Callable[[], float]
    jitter: Callable[[], float]
    report: Report

    def __call__(self, messages: Iterable[Message], remaining_ms: Callable[[], int]) -> list[str]:
        """Process the messages; return the ids of those that stay on the queue."""
        waiting: list[str] = []
        by_key: dict[Key, list[tuple[Message, Hint]]] = {}
        for message in messages:
            try:
                hint = Hint.from_message(message.body)
            except Unprocessable as error:
                self._bury(message, error.reason, waiting)
            else:
                by_key.setdefault(hint.key, []).append((message, hint))

        def task(key: Key, group: list[tuple[Message, Hint]]) -> Callable[[], None]:
            return lambda: self._sync(key, group, remaining_ms, waiting)

        self.side_by_side([task(key, group) for key, group in by_key.items()])
        return waiting

    def _sync(
        self,
        key: Key,
        group: list[tuple[Message, Hint]],
        remaining_ms: Callable[[], int],
        waiting: list[str],
    ) -> None:
        messages = [message for message, _ in group]
        try:
            self.sync(key, [hint for _, hint in group], remaining_ms)
        except OutOfTime:
            # No fault of theirs, so no backoff: the next worker takes them at once.
            for message in messages:
                self._wait(message, 0, waiting)
        except CustomerNotFound:
            self._give_time(messages, "customer_not_found", NOT_FOUND_PATIENCE, waiting)
        except (Conflict, Unavailable) as error:
            self.report("SyncWaits", key=key.pk, reason=type(error).__name__)
            self._give_time(messages, type(error).__name__, PATIENCE, waiting)
        except Exception as error:  # noqa: BLE001  the outermost edge of one customer: the others go on
            self.report("SyncFailed", key=key.pk, error=repr(error))
            for message in messages:
                self._bury(message, f"unexpected {type(error).__name__}", waiting)

    def _give_time(
        self, messages: list[Message], reason: str, patience: float, waiting: list[str]
    ) -> None:
        for message in messages:
            if self.clock() - message.sent_at > patience:
                self._bury(message, reason, waiting)
            else:
                self._wait(message, backoff(message.receives, self.jitter()), waiting)

    def _wait(self, message: Message, seconds: int, waiting: list[str]) -> None:
        waiting.append(message.id)
        try:
            self.queue.hide(message, seconds)
        except Unavailable as error:
            # It stays invisible for the queue's own visibility timeout instead: later, not lost.
            self.report("BackoffFailed", message=message.id, reason=error.reason)

    def _bury(self, message: Message, reason: str, waiting: list[str]) -> None:
        try:
            self.queue.dead_letter(message.body, reason)
        except Unavailable:
            self._wait(message, backoff(message.receives, self.jitter()), waiting)
        else:
            self.report("DeadLettered", message=message.id, reason=reason)


def backoff(receives: int, jitter: float) -> int:
    """Seconds until the next try: doubling from 2 s to 15 minutes, half of it at random."""
    ceiling = min(LONGEST_BACKOFF, 1 << min(receives, 10))
    return round(ceiling / 2 + jitter * ceiling / 2)
