"""From the signed-in subject to the customer's row: one read when warm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from billing.keys import CustomerKey, SubjectKey
from billing.link import Issuers
from billing.model import CustomerRow, Link

#: Seconds for which a process remembers a subject's customer. The link hardly ever changes.
LINK_CACHE_SECONDS = 300

#: Links that one process remembers, at most.
MAX_CACHED_LINKS = 10_000


class Reads(Protocol):
    """Both raise StoreUnavailable."""

    def load(self, key: CustomerKey, *, consistent: bool = True) -> CustomerRow: ...
    def load_link(self, key: SubjectKey, *, consistent: bool = True) -> Link: ...


class Customers:
    """Finds the living customer of a subject. `clock` returns seconds that never go back."""

    def __init__(
        self, store: Reads, *, mode: str, issuers: Issuers, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._mode = mode
        self._issuers = issuers
        self._clock = clock
        self._links: dict[str, tuple[CustomerKey, float]] = {}

    def of(self, subject: str) -> CustomerRow | None:
        """The row of the subject's customer; None where there is none, or it was deleted.

        Raises StoreUnavailable.
        """
        key, since = self._links.get(subject, (None, 0.0))
        if key is not None and self._clock() - since < LINK_CACHE_SECONDS:
            row = self._store.load(key, consistent=False)
            # The row itself says whose it is: the link alone gives nobody access.
            if row.subject == subject and not row.deleted:
                return row
        # Not known, too old, or no longer theirs: another customer may have taken its place.
        for issuer in self._issuers:
            link = SubjectKey(self._mode, issuer, subject)
            key = self._store.load_link(link, consistent=False).customer
            if key is None:
                continue
            row = self._store.load(key, consistent=False)
            if row.subject != subject:
                continue
            if row.deleted:
                return None
            if len(self._links) >= MAX_CACHED_LINKS:
                self._links.clear()
            self._links[subject] = (key, self._clock())
            return row
        return None
