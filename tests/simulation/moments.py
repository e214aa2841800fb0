"""Moments of a world as values: saved, restored, and told apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from billing.model import CustomerRow, DocumentRow
from tests.simulation.stripe_account import Past

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Hashes of values that are kept, at most.
MAX_DIGESTS = 1 << 18


class Moments:
    """The moments of one world. All its state is immutable values."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._checked: dict[Hashable, Any] = {}
        self._digests: dict[int, tuple[Any, int]] = {}
        self._marks: dict[int, tuple[Any, int]] = {}

    def snapshot(self) -> tuple[Any, ...]:
        """Everything `restore` needs to return to this moment. Positions must be `Remembered`."""
        return (
            self._world.now,
            self._world.stripe.past,
            self._world.queue.snapshot(),
            self._world.store.snapshot(),
            self._world.actors,
            self._world.budgets,
            self._world.pending,
            self._world.answered,
            self._world.acknowledged,
            self._world.repeated,
            self._world.covered,
            self._world.seen,
            self._world.fetches_for_events,
            self._world.deployed,
            self._world.people,
            self._world.checkouts,
        )

    def restore(self, moment: tuple[Any, ...]) -> None:
        (
            self._world.now,
            self._world.stripe.past,
            queue,
            store,
            self._world.actors,
            self._world.budgets,
            self._world.pending,
            self._world.answered,
            self._world.acknowledged,
            self._world.repeated,
            self._world.covered,
            self._world.seen,
            self._world.fetches_for_events,
            self._world.deployed,
            self._world.people,
            self._world.checkouts,
        ) = moment
        self._world.queue.restore(queue)
        self._world.store.restore(store)

    def fingerprint(self) -> int:
        """A hash that identifies this moment: the world's state and the actors' positions.

        The workers' names are left out where their clocks agree: workers are interchangeable.
        """
        world, store, known = self._world, self._world.store, self._digests
        hashes: list[Hashable] = []
        for value, content in (
            (world.stripe.past, _content),
            (world.queue.messages, _values),
            (store.rows, self._marks_of),
            (store.links, _items),
        ):
            found = known.get(id(value))
            hashes.append(found[1] if found is not None else self.digest(value, content))
        if store.documents:
            hashes.append(self.digest(store.documents, self._marks_of))
        if world.setup.budgets.readers:
            hashes.append(self.digest(store.former, self._marks_of))
            hashes.append(self.digest(store.former_links, _items))
        named = bool(world.setup.clock_skews)
        return hash(
            (
                world.now,
                *hashes,
                len(world.queue.dead),
                frozenset(world.seen.items()),
                frozenset(
                    [
                        (id(a.position), a.receipts, a.fetch, a.deadline, a.name if named else "")
                        for a in world.actors.values()
                    ]
                ),
                world.budgets,
                frozenset(world.pending.items()),
                world.answered,
                world.acknowledged,
                world.repeated,
                world.covered,
                world.deployed,
                world.checkouts,
            )
        )

    def digest(self, value: Any, content: Callable[[Any], Hashable]) -> int:
        """The hash of the content of an immutable value, kept as long as the value."""
        known = self._digests.get(id(value))
        if known is None:
            if len(self._digests) > MAX_DIGESTS:
                self._digests.clear()
            known = self._digests[id(value)] = (value, hash(content(value)))
        return known[1]

    def knows(self, *checked: Any) -> bool:
        """Whether this was checked after the same changes at Stripe before: with the same row."""
        if not self._world.remembers:
            return False
        key = (*map(id, checked), self.digest(self._world.stripe.past, _content))
        known = key in self._checked
        self._checked[key] = checked
        return known

    def _marks_of(self, rows: Any) -> Hashable:
        return frozenset([self.mark(row) for row in rows.values()])

    def mark(self, outcome: object) -> Hashable:
        """A value that identifies an outcome among all outcomes of the same operation."""
        if not self._world.remembers:
            return None
        if isinstance(outcome, CustomerRow | DocumentRow):
            if not outcome.revision:
                return None
            known = self._marks.get(id(outcome))
            if known is None:
                known = self._marks[id(outcome)] = (
                    outcome,
                    # `transitions` explains access to people. No step depends on it.
                    hash(
                        repr(
                            replace(outcome, transitions=())
                            if isinstance(outcome, CustomerRow)
                            else outcome
                        )
                    ),
                )
            return known[1]
        if isinstance(outcome, dict):
            return id(outcome)  # the model returns the same object for the same page
        if isinstance(outcome, list):
            return repr(outcome)
        if type(outcome) is tuple and outcome and isinstance(outcome[0], dict | list):
            return (id(outcome[0]), outcome[1])
        return outcome


def _items(values: Any) -> Hashable:
    return frozenset(values.items())


def _values(values: Any) -> Hashable:
    return frozenset(values.values())


def _content(past: Past) -> Hashable:
    return past.log, past.sessions, frozenset(past.keys.items())
