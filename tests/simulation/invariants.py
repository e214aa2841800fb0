"""What must hold in every history. Each class is one promise, checked wherever it could break."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from billing.access import Access, decide
from billing.facts import Item
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow
from billing.sync import MAX_ATTEMPTS
from tests.simulation.design import ISSUER
from tests.simulation.sqs_model import Received
from tests.simulation.stripe_model import EPOCH, POLICY, Script, Seen, State

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

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        """`actor` has replaced `before` with `after`."""

    def acknowledge(self, world: World, received: Received) -> None:
        """A message is about to be deleted from the queue."""

    def answer(self, world: World, event: str) -> None:
        """The webhook of `event` is about to be answered 200."""

    def quiet(self, world: World) -> None:
        """Nothing more can happen."""

    def broken(self, detail: str) -> Violated:
        return Violated(type(self).__name__, detail)


class QuietStoreEqualsStripe(Invariant):
    """When the queue is quiet, each customer's row holds the facts of Stripe's true state."""

    def quiet(self, world: World) -> None:
        for customer in world.setup.script.versions:
            state, row = world.stripe.state(customer), _row(world, customer)
            if state is not None and row.facts != state.facts:
                raise self.broken(
                    f"{customer} is {_brief(state)} at Stripe; revision {row.revision} differs"
                )


class NeverBackwards(Invariant):
    """A stored state is never replaced by one that was fetched when less had happened. The new
    state is an older version than the stored one only if its read was stale."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        held, fetch = world.seen.get(after.key), actor.fetch
        if held is None or fetch is None or fetch.customer != after.key:
            return
        self._compare(after, held[0], fetch.profile)
        self._compare(after, held[1], fetch.entitlements)

    def _compare(self, row: CustomerRow, held: Seen | None, new: Seen | None) -> None:
        if held is None or new is None:
            return
        lagged = new.version < new.truth
        if new.truth < held.truth or (new.version < held.version and not lagged):
            raise self.broken(
                f"{row.key.id} held change {held.version}, fetched after {held.truth}; "
                f"overwritten with change {new.version}, fetched after {new.truth}"
            )


class AcknowledgedMeansCovered(Invariant):
    """A message of an event is deleted only in one of these cases: a commit covers it whose fetch
    began after the message was received; the row already contains the event's change; the row is a
    tombstone; the message is in the dead-letter queue; it is the original of a copy on the queue,
    which was sent after a 404. A copy has no such excuse."""

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
        if any(body == received.request.to_message() for body, _ in world.queue.dead):
            return
        if world.queue.has_copy_of(received.request):
            return
        raise self.broken(
            f"{received.id} was deleted, and no fetch since it was received is stored"
        )


class AnsweredMeansKept(Invariant):
    """An event whose webhook was answered 200 is queued, dead-lettered or acknowledged."""

    def answer(self, world: World, event: str) -> None:
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
            and not any(event in body for body, _ in world.queue.dead)
        ):
            raise self.broken(f"{event} was answered 200 and is lost")


class NoAccessBeyondHistory(Invariant):
    """A row grants only what Stripe granted at some time: the exact subscription items, features
    and products, and none of them for longer."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        customer, access = after.key.id, after.access(POLICY, EPOCH)
        versions = world.stripe.versions(customer)
        given = _given(world.setup.script, customer, len(versions), len(world.stripe.happened))
        for subscription in after.facts.subscriptions:
            for item in subscription.items:
                if (subscription.id, item) not in given.items:
                    raise self.broken(f"{customer}: {subscription.id} never had {item}")
        for name, feature in access.features.items():
            if feature.until > given.features.get(name, 0):
                raise self.broken(f"{customer}: {name} until {feature.until} was never given")
        for name, product in access.products.items():
            quantity, until = given.products.get(name, (0, 0))
            if product.quantity > quantity or product.until > until:
                raise self.broken(f"{customer}: {name} {product} was never given")


class RevisionCountsCommits(Invariant):
    """Each commit increases the revision by exactly one."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        if after.revision != before.revision + 1:
            raise self.broken(
                f"{after.key.id} went from revision {before.revision} to {after.revision}"
            )


class TombstoneStays(Invariant):
    """A deleted customer never gets access again."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        if before.deleted and not after.deleted:
            raise self.broken(f"{after.key.id} was deleted; the new row is no tombstone")
        if after.deleted and after.access(POLICY, EPOCH) != Access():
            raise self.broken(f"{after.key.id} is deleted and has access")


class OneCustomerOneSubject(Invariant):
    """A subject has at most one customer. A customer loses its subject only to another one that
    takes it over. Link and row agree. At the end, a living customer without a subject claims none,
    or one that is held by a living customer which claims it too."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        if before.subject is not None and after.subject != before.subject:
            heir = _linked(world, before.subject)
            if after.subject is not None or heir == after.key:
                raise self.broken(f"{after.key.id}: {before.subject} became {after.subject}")
        if after.subject is None or after.subject == before.subject:
            return
        linked = _linked(world, after.subject)
        if linked != after.key:
            raise self.broken(f"{after.key.id} has {after.subject}, which is linked to {linked}")
        for key, row in world.store.rows.items():
            if key != after.key and row.subject == after.subject:
                raise self.broken(f"{key.id} has {after.subject} too")

    def quiet(self, world: World) -> None:
        now = {c: world.stripe.state(c) for c in world.setup.script.versions}
        living = {c: state for c, state in now.items() if state is not None and not state.deleted}
        for customer, state in living.items():
            if state.claim is None or _row(world, customer).subject is not None:
                continue
            linked = _linked(world, state.claim)
            holder = living.get(linked.id) if linked else None
            if holder is None or holder.claim != state.claim:
                raise self.broken(f"{customer} claims {state.claim}, which {linked} has")


class ReadsWithinBudget(Invariant):
    """One invocation fetches a customer at most once per attempt. A confirm requests no confirm, so
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
    """Every history ends quiet, and no message is dead-lettered: every message here can succeed.
    The explorers raise it too, at their limit of moves."""

    def quiet(self, world: World) -> None:
        if world.queue.dead:
            raise self.broken(f"dead-lettered: {world.queue.dead}")


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
    """The most that a customer's versions so far ever granted."""

    items: frozenset[tuple[str, Item]]
    features: dict[str, int]
    products: dict[str, tuple[int, int]]


@lru_cache(maxsize=1 << 12)
def _given(script: Script, customer: str, versions: int, happened: int) -> _Given:
    items: set[tuple[str, Item]] = set()
    features: dict[str, int] = {}
    quantities: dict[tuple[str, str], int] = {}
    untils: dict[str, int] = {}
    latest = 0
    for index in script.versions.get(customer, [])[:versions]:
        facts = script.changes[index].state.facts
        access = decide(facts, POLICY, EPOCH)
        latest = max([latest, *access.subscriptions.values()])
        features |= dict.fromkeys(access.features, 0)
        for subscription in facts.subscriptions:
            items |= {(subscription.id, item) for item in subscription.items}
            sums: dict[str, int] = {}
            for item in subscription.items:
                sums[item.product] = sums.get(item.product, 0) + (item.quantity or 0)
            for product, quantity in sums.items():
                held = quantities.get((subscription.id, product), 0)
                quantities[subscription.id, product] = max(held, quantity)
        for name, given in access.products.items():
            untils[name] = max(untils.get(name, 0), given.until)
    # A product's features belong to no customer, so a read returns them before any event.
    catalog = script.changes[happened - 1].state.catalog if happened else {}
    for _, product in quantities:
        features |= dict.fromkeys(catalog.get(product, ()), 0)
    # If a change happens during a fetch, it may see one subscription before and another after it.
    products = {
        product: (sum(most for (_, p), most in quantities.items() if p == product), until)
        for product, until in untils.items()
    }
    return _Given(frozenset(items), dict.fromkeys(features, latest), products)


def _linked(world: World, subject: str) -> CustomerKey | None:
    return world.store.load_link(SubjectKey("test", ISSUER, subject)).customer


def _row(world: World, customer: str) -> CustomerRow:
    return world.store.load(CustomerKey("own", "test", customer))


def _brief(state: State) -> str:
    if state.deleted:
        return "deleted"
    statuses = [f"{s['id']} {s['status']}" for s in state.subscriptions]
    return ", ".join(statuses) or "without a subscription"
