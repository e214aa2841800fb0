"""The real code, stopped at every I/O point.

A program runs in a greenlet. Each call of a port passes an `Op` to the scheduler and stops until
the scheduler returns its outcome. So the scheduler alone decides what happens between two I/O
points. Between them the code uses no clock, no randomness and no threads.

One stop per operation, before its effect, is enough for a crash on either side of it: a crash at
the next stop is a crash after the effect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from greenlet import GreenletExit, getcurrent, greenlet

from billing.batch import Message
from billing.keys import CustomerKey, DocumentKey, SubjectKey
from billing.model import CustomerRow, DocumentRow, Link
from billing.stripe_objects import Page, StripeObject
from billing.sync_request import SyncRequest

Program = Callable[[], None]

#: The name under which what is for sale is read.
PRICES = "prices"

#: What is for sale.
PRICE: StripeObject = {
    "id": "price_prod_basic",
    "lookup_key": None,
    "active": True,
    "recurring": {"interval": "month", "interval_count": 1},
    "currency": "usd",
    "unit_amount": 1900,
    "product": {"id": "prod_basic", "name": "Basic", "active": True},
}


class Op(NamedTuple):
    """An I/O operation at which a program has stopped."""

    service: str
    method: str
    args: tuple[Any, ...] = ()


class Raised(NamedTuple):
    """The outcome of an operation that raises an error in the program."""

    error: Callable[[str], Exception]
    reason: str


def io(service: str, method: str, *args: Any) -> Any:
    """Stop until the scheduler has performed the operation; return its outcome, or raise it."""
    outcome = getcurrent().parent.switch(Op(service, method, args))  # type: ignore[union-attr]
    if type(outcome) is Raised:
        raise outcome.error(outcome.reason)
    return outcome


# Ports: they replace the adapters of the real code.


class StorePort:
    """link.Store and replicas.DocumentStore."""

    def load(self, key: CustomerKey) -> CustomerRow:
        row: CustomerRow = io("store", "load", key)
        return row

    def load_link(self, key: SubjectKey) -> Link:
        link: Link = io("store", "load_link", key)
        return link

    def load_document(self, key: DocumentKey) -> DocumentRow:
        row: DocumentRow = io("store", "load_document", key)
        return row

    def commit(self, row: CustomerRow | DocumentRow | Link) -> None:
        io("store", "commit", row)

    def commit_and_link(
        self, row: CustomerRow, link: Link, *, released: CustomerRow | None = None
    ) -> None:
        io("store", "commit_and_link", row, link, released)


class ReaderPort:
    """customers.Reads: a read may return what the table held before the last write."""

    def load(self, key: CustomerKey, *, consistent: bool = True) -> CustomerRow:
        row: CustomerRow = io("store", "load" if consistent else "read", key)
        return row

    def load_link(self, key: SubjectKey, *, consistent: bool = True) -> Link:
        link: Link = io("store", "load_link" if consistent else "read_link", key)
        return link


class StripePort:
    """stripe_state.StripeReads, documents.DocumentReads and checkout.sessions.CheckoutApi."""

    def retrieve_customer(self, customer: str) -> tuple[StripeObject, int]:
        response: tuple[StripeObject, int] = io("stripe", "retrieve_customer", customer, None)
        return response

    def list_subscriptions(self, customer: str, after: str | None) -> Page:
        return self._page("list_subscriptions", customer, after)

    def list_subscription_items(self, subscription: str, after: str | None) -> Page:
        return self._page("list_subscription_items", subscription, after)

    def list_tax_ids(self, customer: str, after: str | None) -> Page:
        return self._page("list_tax_ids", customer, after)

    def list_active_entitlements(self, customer: str, after: str | None) -> Page:
        return self._page("list_active_entitlements", customer, after)

    def list_invoices(self, subscription: str, after: str | None) -> Page:
        return self._page("list_invoices", subscription, after)

    def list_invoice_lines(self, invoice: str, after: str | None) -> Page:
        return self._page("list_invoice_lines", invoice, after)

    def list_product_features(self, product: str, after: str | None) -> Page:
        return self._page("list_product_features", product, after)

    def retrieve_ended_subscription(self, subscription: str) -> StripeObject | None:
        found: StripeObject | None = io("stripe", "retrieve_ended_subscription", subscription, None)
        return found

    def retrieve_price(self, price: str) -> StripeObject | None:
        found: StripeObject | None = io("stripe", "retrieve_price", price, None)
        return found

    def retrieve_portal_configuration(self, configuration: str) -> tuple[StripeObject, int]:
        response: tuple[StripeObject, int] = io("stripe", "retrieve_document", configuration, None)
        return response

    def list_prices(self, names: Sequence[str]) -> tuple[list[StripeObject], int]:
        response: tuple[list[StripeObject], int] = io("stripe", "retrieve_document", PRICES, None)
        return response

    def find_price(self, name: str) -> StripeObject | None:
        return PRICE

    def create_customer(self, metadata: Mapping[str, str], key: str) -> str:
        name: str = io("stripe", "create_customer", json.dumps(metadata), key)
        return name

    def newest_checkout_sessions(self, customer_id: str) -> Sequence[StripeObject]:
        sessions: Sequence[StripeObject] = io("stripe", "newest_sessions", customer_id)
        return sessions

    def list_open_checkout_sessions(self, customer_id: str) -> Sequence[StripeObject]:
        sessions: Sequence[StripeObject] = io("stripe", "open_sessions", customer_id)
        return sessions

    def retrieve_checkout_session(self, session: str) -> StripeObject | None:
        found: StripeObject = io("stripe", "retrieve_session", session)
        return found

    def expire_checkout_session(self, session: str) -> bool:
        expired: bool = io("stripe", "expire_session", session)
        return expired

    def create_checkout_session(self, parameters: Mapping[str, Any], key: str) -> StripeObject:
        created: StripeObject = io("stripe", "create_session", json.dumps(parameters), key)
        return created

    def retrieve_subscription(self, subscription: str) -> StripeObject | None:
        found: StripeObject | None = io("stripe", "retrieve_subscription", subscription, None)
        return found

    def list_all_subscriptions(self, customer_id: str) -> Sequence[StripeObject]:
        raise NotImplementedError("no trial is configured")

    def _page(self, method: str, name: str, after: str | None) -> Page:
        page: Page = io("stripe", method, name, after)
        return page


class QueuePort:
    """ingest.EventQueue, sync.ConfirmQueue, link.ClaimQueue and batch.MessageQueue."""

    def send(self, request: SyncRequest, delay: int = 0) -> None:
        io("queue", "send", request, delay)

    def hide(self, message: Message, seconds: int) -> None:
        io("queue", "hide", message, seconds)

    def dead_letter(self, body: str, reason: str) -> None:
        io("queue", "dead_letter", body, reason)


class SecretsPort:
    """ingest.Secrets."""

    def current(self) -> tuple[str, ...]:
        secrets: tuple[str, ...] = io("secrets", "current")
        return secrets

    def refreshed(self) -> tuple[str, ...]:
        secrets: tuple[str, ...] = io("secrets", "refreshed")
        return secrets


def clock() -> float:
    """Epoch seconds by this function's own clock."""
    seconds: float = io("here", "clock")
    return seconds


def jitter() -> float:
    """A random number from 0 to 1."""
    share: float = io("here", "jitter")
    return share


def remaining_ms() -> int:
    """Milliseconds until the invocation is killed."""
    left: int = io("here", "remaining_ms")
    return left


def pause(attempt: int) -> None:
    """Wait a random moment before attempt number `attempt`."""
    io("here", "pause", attempt)


def parallel(tasks: Sequence[Callable[[], None]]) -> None:
    """batch.Parallel: the scheduler interleaves the tasks as strands."""
    if len(tasks) > 1:
        io("here", "parallel", tuple(tasks))
    else:
        for task in tasks:
            task()


def one_after_another(tasks: Sequence[Callable[[], None]]) -> None:
    """batch.Parallel without strands, where they would only add histories that others cover."""
    for task in tasks:
        task()


# Positions: where an actor is in its program.


class Position(Protocol):
    """A program that is stopped at `op`, or has ended if `op` is None."""

    @property
    def op(self) -> Op | None: ...

    def next(self, outcome: object, mark: Hashable) -> Position:
        """The position after `outcome`. `mark` identifies the outcome among all others."""
        ...

    def kill(self) -> None: ...


class Live:
    """A program that runs in its own greenlet. It only moves forward."""

    __slots__ = ("_greenlet", "op")

    def __init__(self, program: Program) -> None:
        self._greenlet = greenlet(program)
        self.op: Op | None = self._greenlet.switch()

    def next(self, outcome: object, mark: Hashable) -> Live:
        self.op = self._greenlet.switch(outcome)
        return self

    def kill(self) -> None:
        self._greenlet.throw(GreenletExit)
        self.op = None


class Remembered:
    """A program's position as the sequence of outcomes that led to it: a node in a tree.

    A program is a function of its outcomes. So it runs once for each distinct sequence, and the
    position is kept. A position is an immutable value, and exploring can return to it at any time.
    """

    __slots__ = ("_next", "_parent", "_program", "op", "outcome")

    def __init__(self, program: Program, parent: Remembered | None, outcome: object) -> None:
        self._program, self._parent, self.outcome = program, parent, outcome
        self._next: dict[Hashable, Remembered] = {}
        self.op: Op | None = self._run()

    def next(self, outcome: object, mark: Hashable) -> Remembered:
        node = self._next.get(mark)
        if node is None:
            node = self._next[mark] = Remembered(self._program, self, outcome)
        return node

    def kill(self) -> None:
        """Do nothing: a position has no running greenlet."""

    def _run(self) -> Op | None:
        outcomes: list[object] = []
        node = self
        while node._parent is not None:
            outcomes.append(node.outcome)
            node = node._parent
        running = greenlet(self._program)
        op: Op | None = running.switch()
        for outcome in reversed(outcomes):
            op = running.switch(outcome)
        if not running.dead:
            running.throw(GreenletExit)
        return op


@dataclass(slots=True)
class Memory:
    """The first position of each program, kept so that each program has one tree."""

    roots: dict[Hashable, Remembered]

    def __call__(self, key: Hashable, program: Program) -> Remembered:
        root = self.roots.get(key)
        if root is None:
            root = self.roots[key] = Remembered(program, None, None)
        return root


def live(key: Hashable, program: Program) -> Live:
    """Start a program that runs once and only moves forward."""
    return Live(program)
