"""Every version of every object of one mode, by kind and id.

A change stores a new version and never changes an object in place. Stale reads can therefore see
an earlier state, and a failed call leaves nothing behind.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

# The keys of stored objects that have an index.
_INDEXED = (
    "_secret",
    "customer",
    "invoice",
    "subscription",
    "product",
    "_customer",
    "_product",
    "_subscription",
)

# Sessions and events are not part of the billing state, so they do not count as changes.
_UNCOUNTED = frozenset({"billing_portal.session", "checkout.session", "event"})


@dataclass(frozen=True)
class Version:
    """An object after a change; its value is None once it is removed."""

    change: int
    written_at: float
    value: Json | None


class Tables:
    """The versions of every object, by kind (Stripe's `object`) and id."""

    def __init__(self) -> None:
        self.change = 0
        self._rows: dict[str, dict[str, list[Version]]] = {}
        self._index: dict[tuple[str, str, str], dict[str, None]] = {}
        self._journal: list[tuple[str, str]] | None = None
        self._counted = False
        self._began_at = 0

    def peek(self, kind: str, id: str) -> Json | None:
        """Return the current value for reading only, or None if there is none."""
        versions = self._rows.get(kind, {}).get(id)
        return self._pick(versions) if versions else None

    def draft(self, kind: str, id: str) -> Json | None:
        """Return a copy of the current value, which the caller can change and store."""
        return copy.deepcopy(self.peek(kind, id))

    def all(self, kind: str, **where: object) -> list[Json]:
        """Return the current values, newest first, whose keys equal those of `where`."""
        rows = self._rows.get(kind, {})
        ids: Any = rows
        for name, wanted in where.items():
            if name in _INDEXED and isinstance(wanted, str):
                ids = self._index.get((kind, name, wanted), {})
                break
        found = []
        for id in reversed(ids):
            value = self._pick(rows[id])
            if value is not None and all(value.get(key) == want for key, want in where.items()):
                found.append(value)
        return found

    def put(self, kind: str, id: str, value: Json | None) -> None:
        if not self._counted and kind not in _UNCOUNTED:
            self.change += 1
            self._counted = True
        self._rows.setdefault(kind, {}).setdefault(id, []).append(
            Version(self.change, time.monotonic(), value)
        )
        for name in _INDEXED:
            key = value.get(name) if value else None
            if isinstance(key, str):
                self._index.setdefault((kind, name, key), {})[id] = None
        if self._journal is not None:
            self._journal.append((kind, id))

    def begin(self) -> None:
        self._journal, self._counted, self._began_at = [], False, self.change

    def commit(self) -> None:
        self._journal = None

    def undo(self) -> None:
        """Undo everything that was put since `begin`."""
        self.change = self._began_at
        for kind, id in reversed(self._journal or []):
            versions = self._rows[kind][id]
            versions.pop()
            if not versions:
                del self._rows[kind][id]
                for (of, _, _), ids in self._index.items():
                    if of == kind:
                        ids.pop(id, None)
        self._journal = None

    def as_of(self, *, changes_ago: int = 0, seconds_ago: float = 0.0) -> Tables:
        """Return a reader of the tables as they were before both limits."""
        return _Past(self, self.change - changes_ago, time.monotonic() - seconds_ago)

    def _pick(self, versions: list[Version]) -> Json | None:
        return versions[-1].value


class _Past(Tables):
    """The same rows up to one change and one moment."""

    def __init__(self, present: Tables, change: int, moment: float) -> None:
        super().__init__()
        vars(self).update(vars(present))
        self.change, self._moment = change, moment

    def _pick(self, versions: list[Version]) -> Json | None:
        for version in reversed(versions):
            if version.change <= self.change and version.written_at <= self._moment:
                return version.value
        return None
