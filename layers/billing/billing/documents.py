"""What the table knows of the account: portal configurations, by the same fenced write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from billing.errors import Conflict, OutOfTime
from billing.events import Hint
from billing.model import DocumentKey, DocumentRow
from billing.projection import StripeObject
from billing.sync import ATTEMPT_BUDGET_MS, ATTEMPTS, MARGIN

#: A document's content and Stripe's Date (epoch seconds) at the first read it was made from.
Fetched = tuple[Mapping[str, Any], int]


class DocumentStore(Protocol):
    """Both may raise StoreUnavailable."""

    def load_document(self, key: DocumentKey) -> DocumentRow: ...

    def commit(self, row: DocumentRow) -> None:
        """Write the row if the stored revision is one less. Raises Conflict."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSync:
    """A document's sync: `fetch` reads it whole from Stripe, by its kind."""

    store: DocumentStore
    fetch: Mapping[str, Callable[[DocumentKey], Fetched]]
    pause: Callable[[int], None]

    def __call__(
        self, key: DocumentKey, hints: Sequence[Hint], remaining_ms: Callable[[], int]
    ) -> None:
        """Make the row of `key` cover all `hints`: the steps of sync.py, in that order.

        Raises Conflict, OutOfTime, or any Unavailable: then nothing may be acknowledged.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                self.pause(attempt)
            if remaining_ms() < ATTEMPT_BUDGET_MS:
                raise OutOfTime
            row = self.store.load_document(key)
            if all(hint.created + MARGIN < row.as_of for hint in hints):
                return
            content, as_of = self.fetch[key.kind](key)
            try:
                self.store.commit(
                    DocumentRow(key=key, revision=row.revision + 1, as_of=as_of, content=content)
                )
            except Conflict:
                continue
            return
        raise Conflict(f"{ATTEMPTS} tries lost to other writers")


def portal_configuration(stripe_configuration: StripeObject) -> dict[str, Any]:
    """What is kept of a portal configuration: its name, what it offers, its login page."""
    features: Mapping[str, Any] = stripe_configuration["features"]
    login_page: Mapping[str, Any] = stripe_configuration.get("login_page") or {}
    return {
        "name": stripe_configuration.get("name") or "",
        "active": bool(stripe_configuration["active"]),
        "is_default": bool(stripe_configuration["is_default"]),
        "login_page": login_page.get("url") or "",
        "features": {name: bool(feature["enabled"]) for name, feature in features.items()},
    }
