"""From a subject to its customer's row: which reads it costs, and what they are."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from billing.customers import LINK_CACHE_SECONDS, Customers
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow, Link
from tests.unit.fakes import MemoryStore
from tests.unit.stripe_objects import NOW

KEY = CustomerKey("own", "test", "cus_1")
OTHER = CustomerKey("own", "test", "cus_2")
NEW, FORMER = "https://issuer/", "https://issuer-of-before/"


def row_of(key: CustomerKey, subject: str) -> CustomerRow:
    return CustomerRow(key=key, revision=1, subject=subject, issuer=NEW)


class Eventual(MemoryStore):
    """It refuses consistent reads, which cost twice as much."""

    def load(self, key: CustomerKey, *, consistent: bool = True) -> CustomerRow:
        assert consistent is False
        return super().load(key)

    def load_link(self, key: SubjectKey, *, consistent: bool = True) -> Link:
        assert consistent is False
        return super().load_link(key)


@dataclass
class World:
    now: float = NOW
    store: MemoryStore = field(
        default_factory=lambda: Eventual(
            rows={KEY: row_of(KEY, "user-1")}, links={SubjectKey("test", FORMER, "user-1"): KEY}
        )
    )

    def __post_init__(self) -> None:
        self.customers = Customers(
            self.store, mode="test", issuers=(NEW, FORMER), clock=lambda: self.now
        )

    def reads(self) -> int:
        """How many reads it takes to find the row of "user-1"."""
        before = self.store.reads
        assert self.customers.of("user-1") == self.store.rows[KEY]
        return self.store.reads - before


@pytest.fixture
def world() -> World:
    return World()


def test_a_link_is_remembered_for_a_while_and_no_longer(world: World) -> None:
    assert world.reads() == 3
    world.now += LINK_CACHE_SECONDS - 1
    assert world.reads() == 1
    world.now += 1
    assert world.reads() == 3


def test_a_link_to_a_row_of_another_subject_is_passed_over(world: World) -> None:
    world.store.rows[OTHER] = row_of(OTHER, "user-2")
    key = SubjectKey("test", NEW, "user-1")
    world.store.links[key] = Link(key=key, revision=1, customer=OTHER)
    assert world.reads() == 4
