"""The simulator's time: real time plus an offset that only grows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """The time in Unix seconds. While a billing step runs, `now` is the time it was due."""

    def __init__(self) -> None:
        self.offset = 0
        self._pinned: int | None = None

    def now(self) -> int:
        return self._pinned if self._pinned is not None else int(time.time()) + self.offset

    def advance(self, seconds: int) -> None:
        """Move forward. A negative value is an error, because Stripe's time never goes back."""
        if seconds < 0:
            raise ValueError("the clock only moves forward")
        self.offset += seconds

    @contextmanager
    def pinned_at(self, moment: int) -> Iterator[None]:
        before, self._pinned = self._pinned, moment
        try:
            yield
        finally:
            self._pinned = before
