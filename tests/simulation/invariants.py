"""What must hold in every history. Each class is one promise, checked wherever it could break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billing.access import Access
from billing.customers import Customers
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow, Link
from billing.sync import MAX_ATTEMPTS
from billing.sync_request import SyncRequest
from tests.simulation.access_invariants import (
    CommitGivesWhatStripeSays,
    NoAccessBeyondHistory,
    NothingUnpaidToThoseWhoOwe,
    QuietStoreEqualsStripe,
)
from tests.simulation.invariant import Invariant, fits, row_of, stays_behind
from tests.simulation.script import Document
from tests.simulation.sqs_model import Received
from tests.simulation.stripe_account import Seen
from tests.simulation.stripe_model import EPOCH, POLICY, State

if TYPE_CHECKING:
    from tests.simulation.world import Actor, World


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
        if after.subject is None:
            link = world.store.load_link(SubjectKey("test", before.issuer or "", before.subject))
            if link.customer == after.key and _linked(world, before.subject) is None:
                raise self.broken(f"{after.key.id} lost {before.subject}, and nobody has it")
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
            if state.claim is None or stays_behind(world, customer, state):
                continue
            row = row_of(world, customer)
            if row.subject == state.claim:
                continue
            linked = _linked(world, state.claim)
            holder = living.get(linked.id) if linked else None
            if linked and holder and stays_behind(world, linked.id, holder):
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
            row = reader.of(subject or "")
            told = row.key.id if row else "no customer"
            if any(stays_behind(world, c, living[c]) for c in {told, *claimants} & living.keys()):
                continue
            if told not in claimants:
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
    NothingUnpaidToThoseWhoOwe(),
    CommitGivesWhatStripeSays(),
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


def _did_not_fit(world: World, customer: str) -> bool:
    versions = map(world.stripe.version, world.stripe.versions(customer))
    return not all(fits(world, state) for state in versions)
