"""Documents: written by the same sync as customers, with the same confirm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from billing.documents import Document, portal_configuration
from billing.errors import Conflict, OutOfTime
from billing.events import Event
from billing.keys import CATALOG, CONFIGURATION, DocumentKey
from billing.model import DocumentRow
from billing.stripe_objects import Page, StripeObject
from billing.sync import CONFIRM_DELAY_SECONDS, MARGIN_SECONDS, MAX_ATTEMPTS, Sync
from billing.sync_request import SyncRequest
from tests.unit.fakes import MemoryQueue, MemoryStore, MemoryStripe, Reports, request, sync_of
from tests.unit.stripe_objects import NOW

KEY = DocumentKey(CONFIGURATION, "test", "bpc_1")
CONFIGURATION_IN_STRIPE = {
    "name": "default",
    "active": True,
    "is_default": True,
    "login_page": {"enabled": True, "url": "https://billing.stripe.com/p/login/x"},
    "features": {"invoice_history": {"enabled": True}, "subscription_pause": {"enabled": 0}},
}
CONTENT = {
    "name": "default",
    "active": True,
    "is_default": True,
    "login_page": "https://billing.stripe.com/p/login/x",
    "features": {"invoice_history": True, "subscription_pause": False},
}


class Stripe(MemoryStripe):
    """MemoryStripe with one portal configuration and one price."""

    def retrieve_portal_configuration(self, configuration: str) -> tuple[Mapping[str, Any], int]:
        self.calls.append("retrieve_portal_configuration")
        assert configuration == KEY.id
        return CONFIGURATION_IN_STRIPE, self.now

    def list_prices(self, names: Sequence[str]) -> tuple[list[StripeObject], int]:
        self.calls.append("list_prices")
        product = {"id": "prod_team", "active": True, "name": "Team"}
        price = {"id": "price_1", "lookup_key": names[0], "currency": "eur", "product": product}
        return [{**price, "recurring": {"interval": "month", "interval_count": 1}}], self.now

    def list_product_features(self, product: str, after: str | None) -> Page:
        assert product == "prod_team"
        names = {"sso": "Single sign-on", "api": "API access"}
        features = [
            {"id": f"pf_{key}", "entitlement_feature": {"lookup_key": key, "name": name}}
            for key, name in names.items()
        ]
        self.page = 1
        return self._list(features, after)


class World:
    def __init__(self) -> None:
        self.store, self.stripe, self.queue = MemoryStore(), Stripe(), MemoryQueue()

    @property
    def wired(self) -> Sync:
        return sync_of(
            store=self.store,
            stripe=self.stripe,
            queue=self.queue,
            report=Reports(),
            for_sale=("team_monthly",),
        )

    def sync(self, *requests: SyncRequest, remaining_ms: int = 80_000) -> DocumentRow:
        key = requests[0].key
        self.wired(key, requests, lambda: remaining_ms)
        assert isinstance(key, DocumentKey)
        return self.store.load_document(key)

    def beaten(self) -> None:
        """Another worker writes first."""
        row = self.store.load_document(KEY)
        other = DocumentRow(key=KEY, revision=row.revision + 1)
        self.store.documents = {KEY: other}


@pytest.fixture
def world() -> World:
    return World()


def test_a_document_is_written_as_the_next_revision(world: World) -> None:
    row = world.sync(request(key=KEY))
    assert (row.revision, row.as_of, row.content) == (1, NOW, CONTENT)
    assert DocumentRow.from_item(KEY, row.to_item()) == row


def test_a_commit_returns_the_row_as_it_was_written(world: World) -> None:
    written = world.wired.replicas[CONFIGURATION].commit(
        DocumentRow(key=KEY),
        Document(CONTENT, NOW),
        as_of=NOW,
        confirm_at=NOW + 90,
        cause=request().cause,
    )
    assert written == world.store.load_document(KEY)


def test_the_catalog_is_written_with_the_features_of_its_products(world: World) -> None:
    row = world.sync(request(key=DocumentKey(CATALOG, "test")))
    (team,) = row.content["products"]
    assert team["features"] == [
        {"lookup_key": "sso", "name": "Single sign-on"},
        {"lookup_key": "api", "name": "API access"},
    ]


def test_each_read_of_a_document_checks_that_time_is_left(world: World) -> None:
    for key, reads in ((KEY, 1), (DocumentKey(CATALOG, "test"), 3)):
        row = world.store.load_document(key)
        checks: list[int] = []
        world.wired.replicas[key.kind].fetch(row, partial(checks.append, 1))
        assert len(checks) == reads


def test_a_document_outgrown_by_the_margin_costs_no_fetch(world: World) -> None:
    world.sync(request(key=KEY))
    world.sync(request(key=KEY, up_to=NOW - MARGIN_SECONDS - 1))
    assert world.stripe.calls == ["retrieve_portal_configuration"]


def test_a_document_gets_one_confirm_which_requests_none(world: World) -> None:
    world.sync(request(key=KEY))
    ((confirm, delay),) = world.queue.confirms
    assert (confirm.key, delay) == (KEY, CONFIRM_DELAY_SECONDS)
    assert SyncRequest.from_message(confirm.to_message()) == confirm
    world.stripe.now = NOW + CONFIRM_DELAY_SECONDS
    assert world.sync(confirm).revision == 2
    assert len(world.queue.confirms) == 1


def test_on_a_conflict_the_document_is_fetched_again(world: World) -> None:
    world.store.before_commit = world.beaten
    assert world.sync(request(key=KEY)).revision == 2
    assert world.stripe.calls == ["retrieve_portal_configuration"] * 2


def test_a_document_with_too_many_writers_is_a_conflict(world: World) -> None:
    class AlwaysBeaten(MemoryStore):
        def commit(self, row: Any) -> None:
            raise Conflict

    world.store = AlwaysBeaten()
    with pytest.raises(Conflict):
        world.sync(request(key=KEY))
    assert len(world.stripe.calls) == MAX_ATTEMPTS


def test_no_fetch_begins_without_time(world: World) -> None:
    with pytest.raises(OutOfTime):
        world.sync(request(key=KEY), remaining_ms=10)
    assert world.stripe.calls == []


def test_a_configuration_is_stored_by_what_it_offers() -> None:
    assert portal_configuration(Stripe(), KEY, lambda: None) == Document(CONTENT, NOW)


@pytest.mark.parametrize("nothing", [{"name": None, "login_page": None}, {}])
def test_a_configuration_may_have_neither_a_name_nor_a_login_page(nothing: dict[str, Any]) -> None:
    class Nameless(Stripe):
        def retrieve_portal_configuration(self, configuration: str) -> tuple[StripeObject, int]:
            known = ("active", "is_default", "features")
            return nothing | {name: CONFIGURATION_IN_STRIPE[name] for name in known}, NOW

    stored = portal_configuration(Nameless(), KEY, lambda: None).content
    assert stored == CONTENT | {"name": "", "login_page": ""}


def test_a_document_is_never_a_tombstone() -> None:
    assert DocumentRow(key=KEY).deleted is False


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("billing_portal.configuration.updated", KEY),
        ("product.updated", DocumentKey(CATALOG, "test")),
        ("price.deleted", DocumentKey(CATALOG, "test")),
    ],
)
def test_an_event_about_a_document_names_its_key(kind: str, key: DocumentKey) -> None:
    event = Event(
        id="evt_1",
        type=kind,
        created=NOW,
        livemode=False,
        account="own",
        object={"id": "bpc_1"},
        previous_attributes={},
    )
    assert event.key == key
    assert event.request is not None
    assert SyncRequest.from_message(event.request.to_message()) == event.request
