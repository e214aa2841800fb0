"""What must hold in every history. Each class is one promise, checked wherever it could break."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow, Item
from billing.sync import MAX_ATTEMPTS
from tests.simulation.design import ISSUER
from tests.simulation.sqs_model import Received
from tests.simulation.stripe_model import Script, Seen, State

if TYPE_CHECKING:
    from tests.simulation.world import Actor, World


class Violated(AssertionError):
    """A broken promise: its name and the details."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant, self.detail = invariant, detail


class Invariant:
    """A promise. The world calls the hooks where something happens that could break it."""

    def read(self, world: World, actor: Actor) -> None:
        """`actor` is about to read from Stripe."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        """`actor` has replaced the row `before` with `after`."""

    def acknowledge(self, world: World, received: Received) -> None:
        """A message is about to be deleted from the queue."""

    def respond(self, world: World, event: str) -> None:
        """The webhook of `event` is about to get a 200 response."""

    def quiet(self, world: World) -> None:
        """The history has ended: no move is left."""

    def broken(self, detail: str) -> Violated:
        return Violated(type(self).__name__, detail)


class QuietStoreEqualsStripe(Invariant):
    """When the queue is quiet, each customer's row is the projection of Stripe's true state."""

    def quiet(self, world: World) -> None:
        for customer in world.setup.script.versions:
            state, row = world.stripe.state(customer), _row(world, customer)
            if state is not None and row.billing != state.billing:
                raise self.broken(
                    f"{customer} is {_brief(state)} in Stripe; revision {row.revision} differs"
                )


class NeverBackwards(Invariant):
    """A stored state is never replaced by one that was fetched when fewer changes had happened. A
    new state shows an older version than the stored one only if its own read was stale."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        held, fetch = world.seen.get(after.key), actor.fetch
        if held is None or fetch is None or fetch.customer != after.key:
            return
        self._compare(after, held[0], fetch.profile)
        self._compare(after, held[1], fetch.entitlements)

    def _compare(self, row: CustomerRow, held: Seen | None, new: Seen | None) -> None:
        if held is None or new is None:
            return
        stale = new.version < new.truth
        if new.truth < held.truth or (new.version < held.version and not stale):
            raise self.broken(
                f"{row.key.id} held change {held.version}, fetched after change {held.truth}; "
                f"now it holds change {new.version}, fetched after change {new.truth}"
            )


class AcknowledgedMeansCovered(Invariant):
    """An event's message is deleted only if a commit covers it whose fetch began after the message
    was received, or the row has already seen the event's change, or the row is a tombstone, or the
    message is on the dead-letter queue."""

    def acknowledge(self, world: World, received: Received) -> None:
        event = world.setup.script.events.get(received.request.cause.id)
        if event is None or received.receipt in world.covered:
            return
        key = CustomerKey("own", "test", event.customer)
        if world.store.load(key).deleted:
            return
        profile, entitlements = world.seen.get(key, (None, None))
        if (
            profile is not None
            and profile.version >= event.change
            and (entitlements is None or entitlements.version >= event.change)
        ):
            return
        if any(body == received.request.to_message() for body, _ in world.queue.dead_letters):
            return
        raise self.broken(f"{received.id} is deleted, but no fetch after its receipt is stored")


class AnsweredMeansKept(Invariant):
    """An event whose webhook got a 200 is on a queue, or its message is acknowledged."""

    def respond(self, world: World, event: str) -> None:
        self._check(world, event)

    def quiet(self, world: World) -> None:
        for event in world.answered:
            self._check(world, event)

    def _check(self, world: World, event: str) -> None:
        if (
            event not in world.acknowledged
            and not any(
                message.request.cause.id == event for message in world.queue.messages.values()
            )
            and not any(event in body for body, _ in world.queue.dead_letters)
        ):
            raise self.broken(f"{event} got a 200, but it is on no queue and not acknowledged")


class NoAccessBeyondHistory(Invariant):
    """A row gives only what Stripe once gave: the same subscription items, features and products,
    and none of them for longer."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        customer, billing = after.key.id, after.billing
        versions = world.stripe.versions(customer)
        given = _given(world.setup.script, customer, len(versions), len(world.stripe.happened))
        for subscription in billing.subscriptions:
            for item in subscription.items:
                if (subscription.id, item) not in given.items:
                    raise self.broken(f"{customer}: {subscription.id} never had {item}")
        for feature, until in billing.features.items():
            if until > given.features.get(feature, 0):
                raise self.broken(f"{customer}: feature {feature} until {until} was never given")
        for product, grant in billing.products.items():
            quantity, until = given.products.get(product, (0, 0))
            if grant.quantity > quantity or grant.until > until:
                raise self.broken(f"{customer}: {product} {grant} was never given")


class RevisionCountsCommits(Invariant):
    """The revision rises by exactly one with each commit."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        if after.revision != before.revision + 1:
            raise self.broken(
                f"{after.key.id} went from revision {before.revision} to {after.revision}"
            )


class TombstoneStays(Invariant):
    """A deleted customer never gets access again."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        if before.deleted and not after.deleted:
            raise self.broken(f"{after.key.id} was deleted and is no tombstone any more")
        if after.deleted and (after.billing.features or after.billing.products):
            raise self.broken(f"{after.key.id} is deleted and still has access")


class OneCustomerOneSubject(Invariant):
    """A subject belongs to at most one living customer. A customer keeps its subject. Link and row
    agree. A customer that always claims the same subject, and is the only one to claim it, has it.
    """

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        if before.subject is not None and after.subject != before.subject:
            raise self.broken(f"{after.key.id} passed from {before.subject} to {after.subject}")
        if after.subject is None or after.subject == before.subject:
            return
        link = world.store.links.get(SubjectKey(after.key.mode, ISSUER, after.subject))
        if link != after.key:
            raise self.broken(f"{after.key.id} has {after.subject}, whose link names {link}")
        for key, row in world.store.rows.items():
            if key != after.key and row.subject == after.subject and not row.deleted:
                raise self.broken(f"{after.subject} also belongs to {key.id}")

    def quiet(self, world: World) -> None:
        for customer, claim in _sole_claims(world.setup.script).items():
            row = _row(world, customer)
            state = world.stripe.state(customer)
            if state is None or state.deleted:
                continue
            if row.subject != claim:
                raise self.broken(f"only {customer} claimed {claim}, but it has {row.subject}")


class ReadsWithinBudget(Invariant):
    """An invocation fetches a customer at most once per attempt. A confirm requests no confirm, so
    there are never more confirms than fetches for events."""

    def read(self, world: World, actor: Actor) -> None:
        if actor.reads and actor.reads.count(actor.reads[-1]) > MAX_ATTEMPTS:
            raise self.broken(f"{actor.name} fetched {actor.reads[-1]} {len(actor.reads)} times")

    def acknowledge(self, world: World, received: Received) -> None:
        if world.queue.confirms > world.fetches_for_events:
            raise self.broken(
                f"{world.queue.confirms} confirms for {world.fetches_for_events} fetches"
            )


class Progress(Invariant):
    """Every history ends quiet, and no message is dead-lettered: each of them can succeed. The
    exploration raises this too, when a history exceeds the limit of moves."""

    def quiet(self, world: World) -> None:
        if world.queue.dead_letters:
            raise self.broken(f"dead-lettered: {world.queue.dead_letters}")


INVARIANTS: tuple[Invariant, ...] = (
    RevisionCountsCommits(),
    TombstoneStays(),
    NeverBackwards(),
    NoAccessBeyondHistory(),
    OneCustomerOneSubject(),
    AcknowledgedMeansCovered(),
    AnsweredMeansKept(),
    ReadsWithinBudget(),
    QuietStoreEqualsStripe(),
    Progress(),
)


class _Given(NamedTuple):
    """The most access that the first versions of a customer ever gave."""

    items: frozenset[tuple[str, Item]]
    features: dict[str, int]
    products: dict[str, tuple[int, int]]


@lru_cache(maxsize=1 << 12)
def _given(script: Script, customer: str, versions: int, happened: int) -> _Given:
    items: set[tuple[str, Item]] = set()
    features: dict[str, int] = {}
    quantities: dict[tuple[str, str], int] = {}
    untils: dict[str, int] = {}
    longest = 0
    for index in script.versions.get(customer, [])[:versions]:
        billing = script.changes[index].state.billing
        longest = max([longest, *(s.until or 0 for s in billing.subscriptions)])
        features |= dict.fromkeys(billing.features, 0)
        for subscription in billing.subscriptions:
            items |= {(subscription.id, item) for item in subscription.items}
            sums: dict[str, int] = {}
            for item in subscription.items:
                sums[item.product] = sums.get(item.product, 0) + item.quantity
            for product, quantity in sums.items():
                held = quantities.get((subscription.id, product), 0)
                quantities[subscription.id, product] = max(held, quantity)
        for product, grant in billing.products.items():
            untils[product] = max(untils.get(product, 0), grant.until)
    # Features belong to products: a customer has a new one before the customer's own event.
    catalog = script.changes[happened - 1].state.catalog if happened else {}
    for _, product in quantities:
        features |= dict.fromkeys(catalog.get(product, ()), 0)
    # A fetch during a change may see one subscription before it and another one after it.
    products = {
        product: (sum(most for (_, p), most in quantities.items() if p == product), until)
        for product, until in untils.items()
    }
    return _Given(frozenset(items), dict.fromkeys(features, longest), products)


@lru_cache(maxsize=1 << 12)
def _sole_claims(script: Script) -> dict[str, str]:
    """Return the customers that always claimed one subject which no other customer claimed."""
    claims: dict[str, set[str | None]] = {}
    for change in script.changes:
        if not change.state.deleted:
            claims.setdefault(change.state.id, set()).add(change.state.claim)
    sole = {c: next(iter(found)) for c, found in claims.items() if len(found) == 1}
    everyone = [claim for found in claims.values() for claim in found]
    return {c: claim for c, claim in sole.items() if claim and everyone.count(claim) == 1}


def _row(world: World, customer: str) -> CustomerRow:
    return world.store.load(CustomerKey("own", "test", customer))


def _brief(state: State) -> str:
    if state.deleted:
        return "deleted"
    statuses = [f"{s['id']} {s['status']}" for s in state.subscriptions]
    return ", ".join(statuses) or "without a subscription"
