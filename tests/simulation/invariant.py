"""What an invariant is: a promise, checked wherever it could break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billing.keys import CustomerKey
from billing.model import CustomerRow
from tests.simulation.sqs_model import Received
from tests.simulation.stripe_model import State

if TYPE_CHECKING:
    from tests.simulation.world import Actor, World


class Violated(AssertionError):
    """A promise was broken: which one, and how."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant, self.detail = invariant, detail


class Invariant:
    """A promise. The world calls each hook at a moment that could break it."""

    def read(self, world: World, actor: Actor) -> None:
        """`actor` is about to read from Stripe."""

    def commit(self, world: World, actor: Actor, before: Any, after: Any) -> None:
        """`actor` has replaced the row `before` with `after`, of a customer or a document."""

    def acknowledge(self, world: World, received: Received) -> None:
        """A message is about to be deleted from the queue."""

    def answer(self, world: World, event: str) -> None:
        """The webhook of `event` is about to be answered 200."""

    def respond(
        self, world: World, subject: str, row: CustomerRow | None, session: str = ""
    ) -> None:
        """`subject` is told what the row says. `session`: it has come back from this checkout."""

    def pay(self, world: World, subject: str, session: str) -> None:
        """`subject` is about to pay in this checkout session."""

    def quiet(self, world: World) -> None:
        """Nothing more can happen."""

    def broken(self, detail: str) -> Violated:
        return Violated(type(self).__name__, detail)


def row_of(world: World, customer: str) -> CustomerRow:
    return world.store.load(CustomerKey("own", "test", customer))


def stays_behind(world: World, customer: str, state: State) -> bool:
    """Whether the row cannot be written: it does not fit, or Stripe refuses the reads."""
    return customer in world.setup.throttled or not fits(world, state)


def fits(world: World, state: State) -> bool:
    most = world.setup.max_subscriptions
    return most is None or len(state.subscriptions) <= most
