"""A batch of queue messages: one sync for each key. Each message ends in one of three ways.

acknowledged   our own commit covers it, or a copy of it is on the queue
deferred       not now (Stripe down, conflict, no time left): back to the queue, after a backoff
dead-lettered  never: to the dead-letter queue with its reason, body unchanged, then acknowledged
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Protocol

from billing.errors import (
    Conflict,
    CustomerNotFound,
    OutOfTime,
    StoreRefused,
    Unavailable,
    Unprocessable,
)
from billing.keys import Key
from billing.reporter import Reporter
from billing.sync_request import SyncRequest

#: How long a message is deferred for Stripe or AWS before it is dead-lettered.
MAX_DEFERRAL_SECONDS = 3 * 24 * 3600

#: How long a message is deferred after its first 404: the read may be stale, or the key wrong.
MAX_NOT_FOUND_SECONDS = 3600

#: Receives up to which a message for which no time was left is taken again at once.
MAX_RECEIVES_AT_ONCE = 3

#: Longest backoff between two attempts.
MAX_BACKOFF_SECONDS = 900

#: Syncs that run at the same time.
MAX_PARALLEL_SYNCS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An SQS record. `sent_at` is in epoch seconds; `receives` counts this receive too."""

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
    """All may raise QueueUnavailable."""

    def send(self, request: SyncRequest, delay: int) -> None:
        """Enqueue `request`, visible after `delay` seconds."""
        ...

    def hide(self, message: Message, seconds: int) -> None:
        """Make the message visible again only after `seconds`."""
        ...

    def dead_letter(self, body: str, reason: str) -> None:
        """Send `body`, unchanged, to the dead-letter queue with its reason as an attribute."""
        ...


class Parallel(Protocol):
    """How the syncs of one batch run at the same time."""

    def __call__(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run all tasks, several at a time, and return when all have ended."""
        ...


#: For the process's life, since Stripe's library keeps one connection for each thread. Its threads
#: start when they are first needed.
_POOL = ThreadPoolExecutor(max_workers=MAX_PARALLEL_SYNCS, thread_name_prefix="sync")


def threads(tasks: Sequence[Callable[[], None]]) -> None:
    """Parallel on threads: a sync spends its time waiting for Stripe."""
    futures = [_POOL.submit(task) for task in tasks]
    wait(futures)
    for future in futures:
        future.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch's dependencies. `clock` returns epoch seconds, `jitter()` a number from 0 to 1."""

    sync: Callable[[Key, Sequence[SyncRequest], Callable[[], int]], None]
    queue: MessageQueue
    parallel: Parallel
    clock: Callable[[], float]
    jitter: Callable[[], float]
    report: Reporter

    def __call__(self, messages: Iterable[Message], remaining_ms: Callable[[], int]) -> list[str]:
        """Process the messages; return the ids of those that stay on the queue."""
        deferred: list[str] = []
        by_key: dict[Key, list[tuple[Message, SyncRequest]]] = {}
        for message in messages:
            try:
                request = SyncRequest.from_message(message.body)
            except Unprocessable as error:
                self._dead_letter(message, error.reason, deferred)
            else:
                by_key.setdefault(request.key, []).append((message, request))

        def task(key: Key, group: list[tuple[Message, SyncRequest]]) -> Callable[[], None]:
            return lambda: self._sync(key, group, remaining_ms, deferred)

        self.parallel([task(key, group) for key, group in by_key.items()])
        return deferred

    def _sync(
        self,
        key: Key,
        group: list[tuple[Message, SyncRequest]],
        remaining_ms: Callable[[], int],
        deferred: list[str],
    ) -> None:
        messages = [message for message, _ in group]
        try:
            self.sync(key, [request for _, request in group], remaining_ms)
        except OutOfTime:
            self.report("SyncDeferred", key=key.pk, reason="OutOfTime")
            self._out_of_time(messages, deferred)
        except CustomerNotFound:
            for message, request in group:
                self._not_found(message, request, deferred)
        except StoreRefused as error:
            for message in messages:
                self._dead_letter(message, f"StoreRefused {error.reason}", deferred)
        except (Conflict, Unavailable) as error:
            self.report("SyncDeferred", key=key.pk, reason=type(error).__name__)
            self._defer_or_dead_letter(
                messages, type(error).__name__, MAX_DEFERRAL_SECONDS, deferred
            )
        except Exception as error:  # noqa: BLE001  the outermost edge of one sync: the others go on
            self.report("SyncFailed", key=key.pk, error=repr(error))
            for message in messages:
                self._dead_letter(message, f"unexpected {type(error).__name__}", deferred)

    def _out_of_time(self, messages: list[Message], deferred: list[str]) -> None:
        """The messages are seldom at fault: the next worker takes them at once. A customer whose
        reads never fit is deferred like any other failure."""
        for message in messages:
            if message.receives < MAX_RECEIVES_AT_ONCE:
                self._defer(message, 0, deferred)
            else:
                self._defer_or_dead_letter([message], "OutOfTime", MAX_DEFERRAL_SECONDS, deferred)

    def _not_found(self, message: Message, request: SyncRequest, deferred: list[str]) -> None:
        """Defer a message for a customer whom Stripe does not have, or dead-letter it.

        It may have waited for days, for Stripe or for another key, before its first 404. So it is
        then sent again, and the age of the copy counts.
        """
        if request.not_found:
            self._defer_or_dead_letter(
                [message], "customer_not_found", MAX_NOT_FOUND_SECONDS, deferred
            )
            return
        delay = backoff(message.receives, self.jitter())
        try:
            self.queue.send(replace(request, not_found=True), delay)
        except Unavailable:
            self._defer(message, delay, deferred)

    def _defer_or_dead_letter(
        self, messages: list[Message], reason: str, limit: float, deferred: list[str]
    ) -> None:
        for message in messages:
            if self.clock() - message.sent_at > limit:
                self._dead_letter(message, reason, deferred)
            else:
                self._defer(message, backoff(message.receives, self.jitter()), deferred)

    def _defer(self, message: Message, seconds: int, deferred: list[str]) -> None:
        deferred.append(message.id)
        try:
            self.queue.hide(message, seconds)
        except Unavailable as error:
            # It stays hidden for the queue's own visibility timeout instead: later, not lost.
            self.report("BackoffFailed", message=message.id, reason=error.reason)

    def _dead_letter(self, message: Message, reason: str, deferred: list[str]) -> None:
        try:
            self.queue.dead_letter(message.body, reason)
        except Unavailable:
            self._defer(message, backoff(message.receives, self.jitter()), deferred)
        else:
            self.report("DeadLettered", message=message.id, reason=reason)


def backoff(receives: int, jitter: float) -> int:
    """Seconds until the next attempt: doubling from 2 s to 15 minutes, half of it at random."""
    ceiling = min(MAX_BACKOFF_SECONDS, 1 << min(receives, 10))
    return round(ceiling / 2 + jitter * ceiling / 2)
