"""What must hold in every history. Each class is one promise, checked wherever it could break."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from billing.access import Access, decide
from billing.customers import Customers
from billing.facts import Item
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow, Link
from billing.sync import MAX_ATTEMPTS
from billing.sync_request import SyncRequest
from tests.simulation.sqs_model import Received
from tests.simulation.stripe_account import Document, Seen
from tests.simulation.stripe_model import EPOCH, POLICY, State

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


class QuietStoreEqualsStripe(Invariant):
    """When the queue is quiet, each customer's row holds the facts of Stripe's true state."""

    def quiet(self, world: World) -> None:
        for customer, state in world.stripe.customers():
            row = _row(world, customer)
            if row.facts != state.facts and not _stays_behind(world, customer, state):
                raise self.broken(
                    f"{customer} is {_brief(state)} at Stripe; revision {row.revision} differs"
                )


class QuietDocumentsEqualStripe(Invariant):
    """When the queue is quiet, each document's row has the content of what Stripe returns."""

    def quiet(self, world: World) -> None:
        for name in world.stripe.past.versions:
            state = world.stripe.state(name)
            if isinstance(state, Document):
                row = world.store.load_document(state.key)
                if row.content != state.content:
                    raise self.broken(f"{name}: revision {row.revision} has {row.content}")


class NeverBackwards(Invariant):
    """A stored state is never replaced by one that was fetched when less had happened. The new
    state is an older version than the stored one only if its read was stale."""

    def commit(self, world: World, actor: Actor, before: Any, after: Any) -> None:
        held, fetch = world.seen.get(after.key), actor.fetch
        if held is None or fetch is None or fetch.key != after.key:
            return
        self._compare(after, held[0], fetch.profile)
        self._compare(after, held[1], fetch.entitlements)

    def _compare(self, row: Any, held: Seen | None, new: Seen | None) -> None:
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
        event = world.stripe.past.events.get(received.request.cause.id)
        if event is None or received.receipt in world.covered:
            return
        key = event.key
        if isinstance(key, CustomerKey) and world.store.load(key).deleted:
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

    def commit(self, world: World, actor: Actor, before: Any, after: Any) -> None:
        if not isinstance(after, CustomerRow):
            return
        customer, access = after.key.id, after.access(POLICY, EPOCH)
        states = tuple(map(world.stripe.version, world.stripe.versions(customer)))
        given = _given(states, tuple(world.stripe.catalog.items()))
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

    def commit(self, world: World, actor: Actor, before: Any, after: Any) -> None:
        if after.revision != before.revision + 1:
            raise self.broken(
                f"{after.key.id} went from revision {before.revision} to {after.revision}"
            )


class TombstoneStays(Invariant):
    """A deleted customer never gets access again."""

    def commit(self, world: World, actor: Actor, before: Any, after: Any) -> None:
        if before.deleted and not after.deleted:
            raise self.broken(f"{after.key.id} was deleted; the new row is no tombstone")
        if after.deleted and after.access(POLICY, EPOCH) != Access():
            raise self.broken(f"{after.key.id} is deleted and has access")


class OneCustomerOneSubject(Invariant):
    """A subject has at most one customer. Link and row agree. A customer loses its subject only to
    another one that takes it over, or to take another one itself. At the end, each living customer
    has the subject that it claims, or another living one that claims it has it."""

    def commit(self, world: World, actor: Actor, before: Any, after: Any) -> None:
        if not isinstance(after, CustomerRow) or after.subject == before.subject:
            return
        if before.subject is not None and _linked(world, before.subject) == after.key:
            raise self.broken(f"{after.key.id} lost {before.subject}, which is linked to it")
        if after.subject is None:
            return
        # A function of the release before may still link under the former issuer.
        link = world.store.load_link(SubjectKey("test", after.issuer or "", after.subject))
        if link.customer != after.key:
            raise self.broken(
                f"{after.key.id} has {after.subject}, which is linked to {link.customer}"
            )
        for key, row in world.store.rows.items():
            if key != after.key and (row.subject, row.issuer) == (after.subject, after.issuer):
                raise self.broken(f"{key.id} has {after.subject} too")

    def quiet(self, world: World) -> None:
        living = {c: state for c, state in world.stripe.customers() if not state.deleted}
        for customer, state in living.items():
            if state.claim is None or _stays_behind(world, customer, state):
                continue
            row = _row(world, customer)
            if row.subject == state.claim:
                continue
            linked = _linked(world, state.claim)
            holder = living.get(linked.id) if linked else None
            if linked and holder and _stays_behind(world, linked.id, holder):
                continue
            if holder is None or holder.claim != state.claim:
                raise self.broken(f"{customer} claims {state.claim}, which {linked} has")


class ReadsWithinBudget(Invariant):
    """One invocation fetches a customer at most once per attempt. A confirm requests no confirm, so
    there are never more confirms than fetches for events."""

    def read(self, world: World, actor: Actor) -> None:
        if actor.received and actor.reads and actor.reads.count(actor.reads[-1]) > MAX_ATTEMPTS:
            raise self.broken(f"{actor.name} fetched {actor.reads[-1]} {len(actor.reads)} times")

    def acknowledge(self, world: World, received: Received) -> None:
        if world.queue.confirms > world.fetches_for_events:
            raise self.broken(
                f"{world.queue.confirms} confirms for {world.fetches_for_events} fetches"
            )


class Progress(Invariant):
    """Every history ends quiet. A message is dead-lettered only with a true reason: its customer's
    row does not fit, or Stripe refuses its reads for good. The explorers raise it too, at their
    limit of moves."""

    def quiet(self, world: World) -> None:
        for body, reason in world.queue.dead:
            request = SyncRequest.from_message(body)
            customer = request.key.id
            has_cause = (
                customer in world.setup.throttled
                if reason == "StripeUnavailable"
                else reason.startswith("StoreRefused") and _did_not_fit(world, customer)
            )
            if not has_cause:
                raise self.broken(f"dead-lettered: {body} {reason}")


class NobodyElsesAccess(Invariant):
    """A subject is told only of a customer that is living in the table, holds this subject there,
    and has claimed it at Stripe. Nobody who has a customer at the end is told of none."""

    def respond(
        self, world: World, subject: str, row: CustomerRow | None, session: str = ""
    ) -> None:
        if row is None:
            return
        claims = {
            state.claim
            for state in map(world.stripe.version, world.stripe.versions(row.key.id))
            if isinstance(state, State)
        }
        if row.deleted or row.subject != subject or subject not in claims:
            raise self.broken(f"{subject} is told of {row.key.id}, which has {row.subject}")

    def quiet(self, world: World) -> None:
        issuers = world.design.issuers
        reader = Customers(_Settled(world), mode="test", issuers=issuers, clock=lambda: 0.0)
        living = {c: state for c, state in world.stripe.customers() if not state.deleted}
        for subject in {state.claim for state in living.values()} - {None}:
            claimants = {c for c, state in living.items() if state.claim == subject}
            if any(_stays_behind(world, c, state) for c, state in living.items()):
                continue
            row = reader.of(subject or "")
            if row is None or row.key.id not in claimants:
                told = row.key.id if row else "no customer"
                raise self.broken(f"{subject} is told of {told}; {sorted(claimants)} claim it")


class WhatIsBoughtShows(Invariant):
    """Whoever comes back from a paid checkout is told of the subscription that it brought, unless a
    read was stale or a call failed."""

    def respond(
        self, world: World, subject: str, row: CustomerRow | None, session: str = ""
    ) -> None:
        budgets = world.setup.budgets
        if not session or row is None or budgets.lags or budgets.failures:
            return
        bought = world.stripe.session(session).subscription
        if bought not in [each.id for each in row.facts.subscriptions]:
            raise self.broken(f"{subject} paid {session} and is not told of {bought}")


class NobodyPaysTwice(Invariant):
    """A session can be paid only while no other living customer of its subject, and not this one,
    has a subscription that a checkout brought."""

    def pay(self, world: World, subject: str, session: str) -> None:
        for customer, state in world.stripe.customers():
            if state.deleted or state.claim != subject:
                continue
            bought = [each["id"] for each in state.subscriptions if each["id"][:6] == "sub_cs"]
            if bought:
                raise self.broken(f"{subject} can pay {session}; {customer} has {bought}")


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
    QuietDocumentsEqualStripe(),
    NobodyElsesAccess(),
    WhatIsBoughtShows(),
    NobodyPaysTwice(),
    Progress(),
)


class _Given(NamedTuple):
    """The most that a customer's versions so far ever granted."""

    items: frozenset[tuple[str, Item]]
    features: dict[str, int]
    products: dict[str, tuple[int, int]]


@lru_cache(maxsize=1 << 12)
def _given(states: tuple[State, ...], attached: tuple[tuple[str, tuple[str, ...]], ...]) -> _Given:
    items: set[tuple[str, Item]] = set()
    features: dict[str, int] = {}
    quantities: dict[tuple[str, str], int] = {}
    untils: dict[str, int] = {}
    latest = 0
    for facts in (state.facts for state in states):
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
    for _, product in quantities:
        features |= dict.fromkeys(dict(attached).get(product, ()), 0)
    # If a change happens during a fetch, it may see one subscription before and another after it.
    products = {
        product: (sum(most for (_, p), most in quantities.items() if p == product), until)
        for product, until in untils.items()
    }
    return _Given(frozenset(items), dict.fromkeys(features, latest), products)


class _Settled:
    """customers.Reads: every replica of the table has every write."""

    def __init__(self, world: World) -> None:
        self._store = world.store

    def load(self, key: CustomerKey, *, consistent: bool = True) -> CustomerRow:
        return self._store.load(key)

    def load_link(self, key: SubjectKey, *, consistent: bool = True) -> Link:
        return self._store.load_link(key)


def _linked(world: World, subject: str) -> CustomerKey | None:
    """The customer that a subject is linked to, by the latest issuer that has a link."""
    for issuer in world.design.issuers:
        customer = world.store.load_link(SubjectKey("test", issuer, subject)).customer
        if customer is not None and world.store.load(customer).subject == subject:
            return customer
    return None


def _row(world: World, customer: str) -> CustomerRow:
    return world.store.load(CustomerKey("own", "test", customer))


def _stays_behind(world: World, customer: str, state: State) -> bool:
    """Whether the row cannot be written: it does not fit, or Stripe refuses the reads."""
    return customer in world.setup.throttled or not _fits(world, state)


def _fits(world: World, state: State) -> bool:
    most = world.setup.max_subscriptions
    return most is None or len(state.subscriptions) <= most


def _did_not_fit(world: World, customer: str) -> bool:
    versions = map(world.stripe.version, world.stripe.versions(customer))
    return not all(_fits(world, state) for state in versions)


def _brief(state: State) -> str:
    if state.deleted:
        return "deleted"
    statuses = [f"{s['id']} {s['status']}" for s in state.subscriptions]
    return ", ".join(statuses) or "without a subscription"
