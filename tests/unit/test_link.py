"""Links: one customer per subject; a claim that contradicts a link is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow
from tests.unit.fakes import request
from tests.unit.stripe_objects import NOW, customer
from tests.unit.test_sync import KEY, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("claim", ["x" * 257, "[a b]", "map[a:b]"])
def test_a_claim_that_cannot_be_a_subject_is_reported_and_creates_no_link(
    world: World, claim: str
) -> None:
    world.stripe.customers["cus_1"] = customer(metadata={"user_id": claim})
    row = world.sync()
    assert (row.revision, row.subject, world.store.links) == (1, None, {})
    assert "SubjectUnusable" in world.reports.names


def test_the_metadata_links_the_subject_once(world: World) -> None:
    world.stripe.customers["cus_1"] = customer(metadata={"user_id": "user-1"})
    row = world.sync()
    assert row.subject == "user-1"
    assert list(world.store.links.values()) == [KEY]
    assert world.sync(request("evt_2", up_to=NOW + 90)).subject == "user-1"


def test_a_second_customer_that_claims_the_subject_is_reported_and_not_linked(world: World) -> None:
    world.stripe.customers["cus_1"] = customer(metadata={"user_id": "user-1"})
    world.sync()
    first = world.store.links.copy()
    other = CustomerKey("own", "test", "cus_2")
    world.store.rows = {other: replace(world.row, key=other)}
    world.store.links = dict.fromkeys(first, other)
    row = world.sync()
    assert row.subject is None
    assert row.facts.entitlements == ("sso",)
    assert "SubjectTaken" in world.reports.names
    assert set(world.store.links.values()) == {other}


def test_the_subject_of_a_tombstone_passes_to_the_next_customer(world: World) -> None:
    world.stripe.customers["cus_1"] = customer(metadata={"user_id": "user-1"})
    world.sync()
    deleted = CustomerKey("own", "test", "cus_0")
    world.store.links = dict.fromkeys(world.store.links, deleted)
    world.store.rows = {
        deleted: CustomerRow(
            key=deleted,
            revision=4,
            facts=replace(world.row.facts, deleted=True),
            subject="user-1",
        )
    }
    assert world.sync().subject == "user-1"
    assert set(world.store.links.values()) == {KEY}


def test_a_changed_claim_of_a_linked_customer_is_reported_and_ignored(world: World) -> None:
    world.stripe.customers["cus_1"] = customer(metadata={"user_id": "user-1"})
    world.sync()
    world.stripe.customers["cus_1"] = customer(metadata={"user_id": "user-2"})
    row = world.sync(request("evt_2", up_to=NOW + 500))
    assert row.subject == "user-1"
    assert "SubjectChanged" in world.reports.names


def test_a_new_issuer_links_the_same_subject_again(world: World) -> None:
    world.stripe.customers["cus_1"] = customer(metadata={"user_id": "user-1"})
    before = world.sync()
    world.store.rows[KEY] = replace(before, issuer="https://issuer-of-before/")
    world.store.links.clear()
    row = world.sync(request("evt_2", up_to=NOW + 500))
    assert (row.subject, row.issuer) == ("user-1", "https://issuer/")
    assert list(world.store.links.values()) == [KEY]


def test_a_sync_that_loses_the_race_for_a_link_still_writes_the_billing(world: World) -> None:
    world.stripe.customers["cus_1"] = customer(metadata={"user_id": "user-1"})
    other = CustomerKey("own", "test", "cus_2")

    def another_link() -> None:
        world.store.links[SubjectKey("test", "https://issuer/", "user-1")] = other

    world.store.before_commit = another_link
    row = world.sync()
    assert (row.revision, row.subject) == (1, None)
    assert world.reports.all[-1][1]["held_by"] == "cus_2"
