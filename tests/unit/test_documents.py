"""Documents: refreshed by the same fenced write as customers."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from billing.documents import DocumentSync, Fetched, portal_configuration
from billing.errors import Conflict, OutOfTime
from billing.keys import DocumentKey
from billing.model import DocumentRow
from billing.sync import MARGIN_SECONDS, MAX_ATTEMPTS
from billing.sync_request import SyncRequest
from tests.unit.fakes import hint
from tests.unit.stripe_objects import NOW

KEY = DocumentKey("CONFIG", "own", "test", "bpc_1")


@dataclass
class World:
    row: DocumentRow = field(default_factory=lambda: DocumentRow(key=KEY))
    beaten: int = 0
    fetches: int = 0

    def load_document(self, key: DocumentKey) -> DocumentRow:
        return self.row

    def commit(self, row: DocumentRow) -> None:
        if self.beaten:
            self.beaten -= 1
            self.row = DocumentRow(key=KEY, revision=self.row.revision + 1)
        if row.revision != self.row.revision + 1:
            raise Conflict
        self.row = row

    def fetch(self, key: DocumentKey) -> Fetched:
        self.fetches += 1
        return {"name": "first"}, NOW

    def sync(self, *hints: SyncRequest, remaining_ms: int = 60_000) -> DocumentRow:
        sync = DocumentSync(store=self, fetch={"CONFIG": self.fetch}, pause=lambda attempt: None)
        sync(KEY, hints, lambda: remaining_ms)
        return self.row


def test_a_document_is_written_as_the_next_revision() -> None:
    row = World().sync(hint())
    assert (row.revision, row.as_of, row.content) == (1, NOW, {"name": "first"})
    assert DocumentRow.from_item(KEY, row.to_item()) == row


def test_a_document_outgrown_by_the_margin_costs_no_fetch() -> None:
    world = World()
    world.sync(hint())
    world.sync(hint(created=NOW - MARGIN_SECONDS - 1))
    assert world.fetches == 1


def test_on_a_conflict_the_document_is_fetched_again() -> None:
    world = World(beaten=1)
    assert world.sync(hint()).revision == 2
    assert world.fetches == 2
    world = World(beaten=MAX_ATTEMPTS)
    with pytest.raises(Conflict):
        world.sync(hint())


def test_no_fetch_is_begun_without_time() -> None:
    world = World()
    with pytest.raises(OutOfTime):
        world.sync(hint(), remaining_ms=10)
    assert world.fetches == 0


def test_a_configuration_is_kept_by_what_it_offers() -> None:
    assert portal_configuration(
        {
            "name": "default",
            "active": True,
            "is_default": True,
            "login_page": {"enabled": True, "url": "https://billing.stripe.com/p/login/x"},
            "features": {
                "invoice_history": {"enabled": True},
                "subscription_pause": {"enabled": 0},
            },
        }
    ) == {
        "name": "default",
        "active": True,
        "is_default": True,
        "login_page": "https://billing.stripe.com/p/login/x",
        "features": {"invoice_history": True, "subscription_pause": False},
    }


def test_an_event_about_a_configuration_names_its_document() -> None:
    about = hint(type="billing_portal.configuration.updated", customer=None, object="bpc_1")
    assert about.key == KEY
    assert about.key.pk == "CONFIG#test#bpc_1"
    assert SyncRequest.from_message(about.to_message()) == about
