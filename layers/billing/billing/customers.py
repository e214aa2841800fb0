"""From the signed-in subject to the customer's row: one read when warm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from billing.model import CustomerKey, CustomerRow, SubjectKey

#: Seconds a subject's customer is remembered; the mapping hardly ever changes.
REMEMBERED = 300

#: Subjects one process remembers, at most.
MOST_REMEMBERED = 10_000


class Reads(Protocol):
    """Both raise StoreUnavailable."""

    def load(self, key: CustomerKey, *, consistent: bool = True) -> CustomerRow: ...
    def customer_of(
        self, subject: SubjectKey, *, consistent: bool = True
    ) -> CustomerKey | None: ...


class Customers:
    """Finds the living customer of a subject. `clock` gives seconds that never go back."""

    def __init__(self, store: Reads, *, mode: str, issuer: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._mode = mode
        self._issuer = issuer
        self._clock = clock
        self._remembered: dict[str, tuple[CustomerKey, float]] = {}

    def of(self, subject: str) -> CustomerRow | None:
        """The row of the subject's customer; None where there is none, or it was deleted.

        Raises StoreUnavailable.
        """
        key, since = self._remembered.get(subject, (None, 0.0))
        if key is not None and self._clock() - since < REMEMBERED:
            row = self._store.load(key, consistent=False)
            if not row.deleted:
                return row
        # Not known, not for sure any more, or deleted: a new customer may have taken its place.
        key = self._store.customer_of(
            SubjectKey(self._mode, self._issuer, subject), consistent=False
        )
        if key is None:
            return None
        row = self._store.load(key, consistent=False)
        if row.deleted or row.revision == 0:
            return None
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[subject] = (key, self._clock())
        return row
