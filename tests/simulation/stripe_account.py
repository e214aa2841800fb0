"""Stripe at one moment: what has happened so far, and what it answers.

A script of changes runs, and checkout adds changes of its own. Each change puts one customer or one
document into a new state and creates events. A read returns the current state, or one that was
replaced less than `max_lag` seconds ago. Timestamps have one-second resolution, so they do not
order two changes within one second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from stripe import WebhookSignature

from billing.errors import Conflict, CustomerNotFound
from billing.stripe_objects import StripeObject
from tests.simulation.script import Change, Document, Script, StripeEvent
from tests.simulation.stripe_model import EPOCH, State

NOTHING_MORE: Mapping[str, Any] = {"data": [], "has_more": False}

#: For how long a checkout session can be paid, in seconds: https://docs.stripe.com/api/checkout/
#: sessions/object#checkout_session_object-expires_at
SESSION_SECONDS = 86400


class Seen(NamedTuple):
    """What a read saw: the version that it returned, and the current version at that time."""

    version: int
    truth: int


class Session(NamedTuple):
    """A checkout session. `key` is the idempotency key it was created with."""

    id: str
    customer: str
    key: str
    created: int
    parameters: str
    status: str = "open"
    subscription: str | None = None

    @property
    def object(self) -> StripeObject:
        parameters = json.loads(self.parameters)
        lines = [
            {"price": {"id": line["price"], "product": "prod_basic"}, "quantity": line["quantity"]}
            for line in parameters["line_items"]
        ]
        return {
            **parameters,
            "id": self.id,
            "status": self.status,
            "url": f"https://pay.example/{self.id}" if self.status == "open" else None,
            "line_items": {"data": lines, "has_more": False},
            "created": self.created,
            "expires_at": self.created + SESSION_SECONDS,
            "subscription": self.subscription,
        }


class Past(NamedTuple):
    """What has happened so far, as an immutable value: each step makes a new one.

    log       the changes, each with its time
    versions  by the name of a customer or document, the indices of its changes
    owners    the customer of each subscription and invoice
    events    by id
    scripted  how many changes of the script have happened, and when the last one did
    latest    the state that some customer entered last: it has the current catalog and prices
    sessions  the checkout sessions after each step that changed one, each with its time
    keys      what was created under each idempotency key
    """

    log: tuple[tuple[float, Change], ...] = ()
    versions: Mapping[str, tuple[int, ...]] = {}
    owners: Mapping[str, str] = {}
    events: Mapping[str, StripeEvent] = {}
    scripted: tuple[int, float] = (0, 0.0)
    latest: State = State("")
    sessions: tuple[tuple[float, tuple[Session, ...]], ...] = ()
    keys: Mapping[str, str] = {}


class StripeModel:
    """Stripe's account. `max_lag` is how stale a read may be, and `skew` how far two of Stripe's
    clocks may differ, both in seconds."""

    def __init__(self, script: Script, *, max_lag: float, skew: float = 0.0) -> None:
        self.script = script
        self.max_lag = max_lag
        self.skew = skew
        self.past = Past()

    # What happens.

    def next_due(self, start: float) -> float | None:
        """When the next change of the script is due; None after the last."""
        done, last = self.past.scripted
        if done == len(self.script.changes):
            return None
        return (last if done else start) + self.script.changes[done].wait

    def advance(self, now: float) -> int:
        """Make the next change of the script; return its index in the log."""
        done, _ = self.past.scripted
        change = self.script.changes[done]
        self.past = self.past._replace(scripted=(done + 1, now))
        return self._add(change, now)

    def _add(self, change: Change, now: float) -> int:
        past, name, index = self.past, change.state.id, len(self.past.log)
        names = [f"evt_{index}_{number}" for number in range(len(change.events))]
        self.past = past._replace(
            log=(*past.log, (now, change)),
            latest=change.state if isinstance(change.state, State) else past.latest,
            versions={**past.versions, name: (*past.versions.get(name, ()), index)},
            owners={**past.owners, **_owned(change.state)},
            events={
                **past.events,
                **{
                    event: StripeEvent(event, kind, index, name)
                    for event, kind in zip(names, change.events, strict=True)
                },
            },
        )
        return index

    # What is true.

    def versions(self, name: str) -> tuple[int, ...]:
        """Indices of the changes of a customer or document so far; the last one is current."""
        return self.past.versions.get(name, ())

    def version(self, index: int) -> Any:
        """The state that this change led to."""
        return self.past.log[index][1].state

    def state(self, name: str) -> Any:
        """The current state of a customer or document; None before its first change."""
        versions = self.versions(name)
        return self.version(versions[-1]) if versions else None

    def customers(self) -> Iterator[tuple[str, State]]:
        """The current state of each customer, deleted or not."""
        for name in self.past.versions:
            state = self.state(name)
            if isinstance(state, State):
                yield name, state

    def events_of(self, index: int) -> list[str]:
        return [f"evt_{index}_{n}" for n in range(len(self.past.log[index][1].events))]

    @property
    def catalog(self) -> Mapping[str, tuple[str, ...]]:
        """The features of each product now."""
        return self.past.latest.catalog

    def body(self, event: StripeEvent) -> bytes:
        """The webhook of an event. The server that creates it has the clock furthest behind."""
        return _body(event, int(self.past.log[event.change][0] - self.skew))

    # What it answers.

    def lags(self, op_args: tuple[Any, ...], now: float) -> int:
        """How many versions behind a read may be at `now`."""
        versions = self.versions(self.owner(op_args[0]))
        return sum(1 for index in versions if self.past.log[index][0] > now - self.max_lag)

    def read(
        self, method: str, name: str, after: str | None, date: float, lag: int
    ) -> tuple[Any, Seen]:
        """The response to a read, `lag` versions behind; CustomerNotFound before the first one."""
        if method == "list_product_features":
            # A product belongs to no customer. The latest change has the current catalog.
            return _features(tuple(self.catalog.get(name, ())), after), Seen(0, 0)
        if method == "retrieve_price":
            return self.past.latest.prices.get(name), Seen(0, 0)
        versions = self.versions(self.owner(name))
        if lag >= len(versions):
            raise CustomerNotFound(name)
        seen = Seen(versions[-1 - lag], versions[-1])
        state = self.version(seen.version)
        match method:
            case "retrieve_customer":
                return (state.customer, int(date)), seen
            case "retrieve_document":
                return (state.response, int(date)), seen
            case "retrieve_ended_subscription":
                return self._ended(name), seen
            case "retrieve_subscription":
                held = [each for each in state.subscriptions if each["id"] == name]
                return held[0] if held else self._ended(name), seen
        if after is None or any(o["id"] == after for o in state._list(method, name)):
            return state.page(method, name, after), seen
        # The object at the cursor is gone, so the list ends here.
        return NOTHING_MORE, seen

    def _ended(self, name: str) -> StripeObject | None:
        """A subscription that is not current any more; None where Stripe has forgotten it."""
        for index in reversed(self.versions(self.owner(name))):
            for subscription in self.version(index).subscriptions:
                if subscription["id"] == name:
                    return None if subscription.get("_forgotten") else _canceled(name)
        return None

    def owner(self, name: str) -> str:
        return self.past.owners.get(name, name)

    # Checkout.

    def create_customer(self, metadata: Mapping[str, str], key: str, now: float) -> str:
        """A new customer, or the one that was created with this key."""
        if key not in self.past.keys:
            name = f"cus_new_{sum(found.startswith('cus_') for found in self.past.keys.values())}"
            self._add(_created(name, json.dumps(metadata), self.past.latest), now)
            self.past = self.past._replace(keys={**self.past.keys, key: name})
        return self.past.keys[key]

    def sessions(self, customer: str, lag: int = 0) -> list[Session]:
        """The customer's sessions, newest first, as they were `lag` steps ago."""
        steps = self.past.sessions
        found = steps[-1 - lag][1] if lag < len(steps) else ()
        return [each for each in reversed(found) if each.customer == customer]

    def session_lags(self, now: float) -> int:
        return sum(1 for at, _ in self.past.sessions if at > now - self.max_lag)

    def session(self, name: str) -> Session:
        return next(each for each in self._sessions if each.id == name)

    def is_payable(self, name: str) -> bool:
        """Whether the session is open; nobody pays for a deleted customer."""
        session = self.session(name)
        return session.status == "open" and not self.state(session.customer).deleted

    def create_session(self, parameters: Mapping[str, Any], key: str, now: float) -> Session:
        """A new session, or the one that was created with this key, as it is now. Raises Conflict
        where that one was for something else."""
        wanted = json.dumps(parameters, sort_keys=True)
        for each in self._sessions:
            if each.key == key:
                if each.parameters != wanted:
                    raise Conflict("the key was used for another checkout session")
                return each
        name = f"cs_{len(self._sessions)}"
        created = Session(name, parameters["customer"], key, int(now), wanted)
        self._step((*self._sessions, created), now)
        return created

    def expire_session(self, name: str, now: float) -> bool:
        """Whether this ended the session."""
        return self._end(name, now, status="expired")

    def pay_session(self, name: str, now: float) -> bool:
        """The buyer pays; whether the session was open. Its customer then has a subscription."""
        paid = self._end(name, now, status="complete", subscription=f"sub_{name}")
        if paid:
            state = self.state(self.session(name).customer)
            self._add(_paid(state, f"sub_{name}", self.past.latest), now)
        return paid

    @property
    def _sessions(self) -> tuple[Session, ...]:
        return self.past.sessions[-1][1] if self.past.sessions else ()

    def _end(self, name: str, now: float, **changed: Any) -> bool:
        if not self.is_payable(name):
            return False
        session = self.session(name)
        ended = session._replace(**changed)
        self._step(tuple(ended if each is session else each for each in self._sessions), now)
        return True

    def _step(self, sessions: tuple[Session, ...], now: float) -> None:
        self.past = self.past._replace(sessions=(*self.past.sessions, (now, sessions)))


@lru_cache(maxsize=1 << 14)
def _owned(state: State | Document) -> Mapping[str, str]:
    """The names of what belongs to the customer, with its own."""
    names = {}
    for subscription in state.subscriptions:
        names[subscription["id"]] = state.id
        names |= {invoice["id"]: state.id for invoice in subscription["_invoices"]}
    return names


@lru_cache(maxsize=1 << 14)
def _canceled(subscription: str) -> StripeObject:
    return {
        "id": subscription,
        "status": "canceled",
        "ended_at": EPOCH,
        "cancellation_details": {"reason": "cancellation_requested"},
    }


@lru_cache(maxsize=1 << 10)
def _features(keys: tuple[str, ...], after: str | None) -> StripeObject:
    """A page of a product's features: always the same object for the same page."""
    if after is not None and after not in [f"pf_{key}" for key in keys]:
        return NOTHING_MORE
    state = State("", catalog={"": keys})
    return state.page("list_product_features", "", after)


@lru_cache(maxsize=1 << 10)
def _created(name: str, metadata: str, latest: State) -> Change:
    profile = {"delinquent": False, "metadata": json.loads(metadata)}
    return Change(0, replace(_shop(latest), id=name, profile=profile), ("customer.created",))


@lru_cache(maxsize=1 << 10)
def _paid(state: State, name: str, latest: State) -> Change:
    from tests.simulation.states import subscription

    shop = _shop(latest)
    after = replace(
        state,
        subscriptions=(*state.subscriptions, subscription(name, "active", "prod_basic")),
        entitlements=tuple(sorted({*state.entitlements, *shop.catalog["prod_basic"]})),
        catalog=shop.catalog,
        prices=shop.prices,
    )
    return Change(0, after, ("customer.subscription.created", "checkout.session.completed"))


def _shop(latest: State) -> State:
    """A customer without anything, with the account's catalog and prices as they are now."""
    from tests.simulation.invoicing import CATALOG

    return State("", catalog=latest.catalog or CATALOG, prices=latest.prices)


@lru_cache(maxsize=1 << 14)
def _body(event: StripeEvent, created: int) -> bytes:
    return event.body(created)


@lru_cache(maxsize=1 << 14)
def signed(body: bytes, secrets: tuple[str, ...], timestamp: int) -> str:
    """The Stripe-Signature header, with one signature for each active secret."""
    headers = [
        WebhookSignature.generate_signature_header(body.decode(), secret, timestamp)
        for secret in secrets
    ]
    return ",".join([headers[0], *(header.split(",", 1)[1] for header in headers[1:])])
