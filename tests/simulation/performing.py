"""What an I/O operation does to the world, without a fault or with one, and what it returns."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from billing.errors import (
    Conflict,
    CustomerNotFound,
    QueueUnavailable,
    StoreRefused,
    StoreUnavailable,
    StripeRefused,
    StripeUnavailable,
)
from billing.model import CustomerRow, DocumentRow, Link
from tests.simulation.actors import Op, Raised
from tests.simulation.script import key_of
from tests.simulation.stripe_account import Seen
from tests.simulation.stripe_model import State

if TYPE_CHECKING:
    from tests.simulation.world import Actor, World

#: How an operation goes: "" as it should, a number of versions that a read is behind, or a fault.
Variant = str | int | tuple[str, float]

#: The moments at which invariants are checked; see Invariant.
HOOKS = ("commit", "acknowledge", "answer", "read", "pay", "respond", "quiet")

#: Operations that change nothing.
_TABLE_READS = ("load", "load_link", "load_document")
_SESSION_READS = ("newest_sessions", "open_sessions")
_STRIPE_WRITES = ("create_customer", "create_session", "expire_session")

#: The first read of a fetch: its Date counts.
_DATED = ("retrieve_customer", "retrieve_document")


def variants(world: World, op: Op) -> list[Variant]:
    """The faults that this operation may meet now."""
    budgets, found = world.budgets, list[Variant]()
    if budgets.failures and op.service in ("stripe", "store", "queue"):
        found.append("refused")
        reads = op.service == "stripe" or op.method in (*_TABLE_READS, "read", "read_link")
        if not reads or op.method in _STRIPE_WRITES:
            found.append("lost")
    if op.service == "stripe" and op.method not in _STRIPE_WRITES:
        if budgets.lags:
            found += range(1, _lags(world, op) + 1)
        if budgets.dates and op.method in _DATED:
            found += [("date", offset) for offset in world.setup.dates]
    if budgets.lags and op.method in ("read", "read_link"):
        found.append("former")
    return found


def _lags(world: World, op: Op) -> int:
    if op.method in _SESSION_READS:
        return world.stripe.session_lags(world.now)
    return world.stripe.lags(op.args, world.now) if op.method[:4] in ("list", "retr") else 0


def perform(world: World, actor: Actor, op: Op, variant: Variant) -> Any:
    """Perform the operation at which `actor` has stopped. Raises Violated."""
    if variant in ("refused", "lost"):
        world.spend(failures=1)
    elif isinstance(variant, tuple):
        world.spend(dates=1)
    elif variant:
        world.spend(lags=1)
    match op.service:
        case "stripe":
            return _stripe(world, actor, op, variant)
        case "store":
            return _store(world, actor, op, variant)
        case "queue":
            return _queue(world, op, variant)
        case "secrets":
            age = world.setup.chance(0, 300 if op.method == "current" else 60)
            return world.setup.secrets.verifying(world.now - world.start - age)
        case "edge":
            _edge(world, actor, op)
            return None
        case "here":
            return None
    raise LookupError(op)


# Stripe.


def _stripe(world: World, actor: Actor, op: Op, variant: Variant) -> Any:
    setup = world.setup
    begin, end = setup.outage
    if (
        variant == "refused"
        or begin <= world.now - world.start < end
        or world.stripe.owner(op.args[0]) in setup.throttled
    ):
        return Raised(StripeUnavailable, "rate_limit")
    if op.method in (*_SESSION_READS, *_STRIPE_WRITES, "retrieve_session"):
        outcome = _checkout(world, op, variant if isinstance(variant, int) else 0)
        return Raised(StripeUnavailable, "timeout") if variant == "lost" else outcome
    name, after = op.args
    if op.method == "payload":
        return _payload(world, actor, name)
    if op.method in _DATED:
        actor = _begins(world, actor, name)
    for check in world.checks["read"]:
        check(world, actor)
    date = world.now + setup.chance(-setup.skew, setup.skew)
    lag = 0
    if isinstance(variant, tuple):
        date += variant[1]
    elif variant:
        lag = int(variant)
    try:
        response, seen = world.stripe.read(op.method, name, after, date, lag)
    except CustomerNotFound:
        return Raised(CustomerNotFound, name)
    _record(world, actor, op, seen)
    return response


def _begins(world: World, actor: Actor, name: str) -> Actor:
    """A fetch begins."""
    key = key_of(name)
    actor = actor._replace(reads=(*actor.reads, name))
    requests = [received.request for received in actor.received]
    if not requests or any(each.key == key and not each.is_confirm for each in requests):
        world.fetches_for_events += 1
    world.actors = {**world.actors, actor.name: actor}
    return actor


def _record(world: World, actor: Actor, op: Op, seen: Seen) -> None:
    """Note what a fetch has seen, and which messages it covers."""
    name, after = op.args
    fetch = actor.fetch
    if op.method in _DATED:
        key = key_of(name)
        received = frozenset(
            received.receipt
            for other in world.actors.values()
            for received in other.received
            if received.request.key == key
        )
        fetch = _fetch(key, received, seen, None)
    elif op.method == "list_active_entitlements" and after is None and fetch is not None:
        fetch = fetch._replace(entitlements=seen)
    else:
        return
    world.actors = {**world.actors, actor.name: actor._replace(fetch=fetch)}


def _fetch(*fields: Any) -> Any:
    from tests.simulation.world import Fetch

    return Fetch(*fields)


def _payload(world: World, actor: Actor, name: str) -> State:
    """The state in an event's payload. Only a mutant reads it."""
    event = world.stripe.past.events[name]
    received = frozenset(received.receipt for received in actor.received)
    seen = Seen(event.change, event.change)
    fetch = _fetch(event.key, received, seen, seen)
    world.actors = {**world.actors, actor.name: actor._replace(fetch=fetch)}
    state: State = world.stripe.version(event.change)
    return state


def _checkout(world: World, op: Op, lag: int) -> Any:
    stripe, now = world.stripe, world.now
    match op.method:
        case "newest_sessions":
            return [each.object for each in stripe.sessions(op.args[0], lag)]
        case "open_sessions":
            customer = stripe.state(op.args[0]).customer
            return [
                {**each.object, "customer": customer}
                for each in stripe.sessions(op.args[0], lag)
                if each.status == "open"
            ]
        case "retrieve_session":
            return stripe.session(op.args[0]).object
        case "expire_session":
            return stripe.expire_session(op.args[0], now)
        case "create_customer":
            metadata, key = op.args
            changes = len(stripe.past.log)
            name = stripe.create_customer(json.loads(metadata), key, now)
            if len(stripe.past.log) > changes:
                world.announce(changes)
            return name
    text, key = op.args
    parameters = json.loads(text)
    if stripe.state(parameters["customer"]).deleted:
        return Raised(_no_such_customer, "InvalidRequestError")
    try:
        return stripe.create_session(parameters, key, now).object
    except Conflict as error:
        return Raised(Conflict, str(error))


def _no_such_customer(reason: str) -> StripeRefused:
    return StripeRefused(400, "resource_missing", "customer", reason)


# The table.


def _store(world: World, actor: Actor, op: Op, variant: Variant) -> Any:
    store = world.store
    if variant == "refused":
        return Raised(StoreUnavailable, "ThrottlingException")
    match op.method:
        case "load":
            return store.load(op.args[0])
        case "load_link":
            return store.load_link(op.args[0])
        case "load_document":
            return store.load_document(op.args[0])
        case "read":
            return store.load(op.args[0], consistent=variant != "former")
        case "read_link":
            return store.load_link(op.args[0], consistent=variant != "former")
    try:
        written = _write(world, op)
    except Conflict as error:
        return Raised(Conflict, str(error))
    except StoreRefused as error:
        return Raised(StoreRefused, error.reason)
    for before, row in written:
        for check in world.checks["commit"]:
            check(world, actor, before, row)
    fetch = actor.fetch
    if fetch is not None and fetch.key in [row.key for _, row in written]:
        world.covered |= fetch.received
        world.seen = {**world.seen, fetch.key: (fetch.profile, fetch.entitlements)}
    return Raised(StoreUnavailable, "timeout") if variant == "lost" else None


def _write(world: World, op: Op) -> list[tuple[Any, Any]]:
    """Write; return each row as it was and as it is. Raises Conflict, StoreRefused."""
    store = world.store
    row: CustomerRow | DocumentRow | Link = op.args[0]
    if isinstance(row, Link):
        store.commit(row)
        return []
    if isinstance(row, DocumentRow):
        held = store.load_document(row.key)
        store.commit(row)
        return [(held, row)]
    before = store.load(row.key)
    match op.method:
        case "commit":
            store.commit(row)
        case "commit_and_link":
            _, link, released = op.args
            former = store.load(released.key) if released else None
            store.commit_and_link(row, link, released=released)
            if former is not None:
                return [(before, row), (former, released)]
        case "put":
            row = store.put(row, op.args[1], newer=op.args[2])
        case "put_unbumped":
            store.commit(row)
            row = replace(row, revision=before.revision)
    return [(before, row)]


# SQS, and the edge.


def _queue(world: World, op: Op, variant: Variant) -> Any:
    if variant == "refused":
        return Raised(QueueUnavailable, "ServiceUnavailable")
    match op.method:
        case "send":
            world.queue.send(op.args[0], world.now, op.args[1])
        case "hide":
            world.queue.hide(op.args[0], world.now, op.args[1])
        case "dead_letter":
            world.queue.dead_letter(*op.args)
    return Raised(QueueUnavailable, "timeout") if variant == "lost" else None


def _edge(world: World, actor: Actor, op: Op) -> None:
    """What leaves the service before its function ends."""
    match op.method:
        case "delete":
            world.delete(actor.received, op.args[0])
        case "respond":
            for check in world.checks["respond"]:
                check(world, *op.args)
        case "sell":
            subject, session = op.args
            if (subject, session) not in world.checkouts:
                world.checkouts = (*world.checkouts, (subject, session))
