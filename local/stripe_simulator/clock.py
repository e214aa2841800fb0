"""The simulator's time: real time plus an offset that only grows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """The time in Unix seconds. While a billing step runs, `now` is the time it was due.

    `event_time` is the same, except for what happens on a test clock.
    """

    def __init__(self) -> None:
        self.offset = 0
        self._pinned: int | None = None
        self._pinned_events: int | None = None

    def now(self) -> int:
        return self._real() if self._pinned is None else self._pinned

    def event_time(self) -> int:
        return self._real() if self._pinned_events is None else self._pinned_events

    def _real(self) -> int:
        return int(time.time()) + self.offset

    def advance(self, seconds: int) -> None:
        """Move forward. A negative value is an error, because Stripe's time never goes back."""
        if seconds < 0:
            raise ValueError("the clock only moves forward")
        self.offset += seconds

    @contextmanager
    def pinned_at(self, moment: int, *, events: bool = True) -> Iterator[None]:
        """Stop the time at `moment`. Without `events`, events keep the simulator's time."""
        before = self._pinned, self._pinned_events
        self._pinned = moment
        if events:
            self._pinned_events = moment
        try:
            yield
        finally:
            self._pinned, self._pinned_events = before
