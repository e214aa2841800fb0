"""What must hold in every history. Each class is one promise, checked wherever it could break."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from billing.access import Access, decide
from billing.facts import Facts, Item
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow
from billing.stripe_objects import StripeObject
from billing.sync import MAX_ATTEMPTS
from tests.simulation import oracle
from tests.simulation.design import ISSUER
from tests.simulation.sqs_model import Received
from tests.simulation.stripe_model import EPOCH, PAGE_SIZE, POLICY, Script, Seen, State

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
    """When the queue is quiet, each customer's row holds the facts of Stripe's true state, and
    allows what the oracle says, at any time."""

    def quiet(self, world: World) -> None:
        for customer in world.setup.script.versions:
            state, row = world.stripe.state(customer), _row(world, customer)
            if state is None:
                continue
            if row.facts != state.facts:
                raise self.broken(
                    f"{customer} is {_brief(state)} at Stripe; revision {row.revision} differs"
                )
            if found := difference(row.facts, state, edges(state)):
                raise self.broken(f"{customer} is {_brief(state)} at Stripe; {found}")


class CommitGivesWhatStripeSays(Invariant):
    """A row whose fetch saw a single state allows what the oracle says of that state."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        state = _only_state(world, actor, after)
        if state is not None and (found := difference(after.facts, state, _ends(state))):
            raise self.broken(f"{after.key.id} is {_brief(state)} at Stripe; {found}")


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
    """A row grants only what the oracle granted at some time: the exact subscription items,
    features and products, and none of them for longer."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        customer, versions = after.key.id, len(world.stripe.versions(after.key.id))
        history = (world.setup.script, customer, versions, len(world.stripe.happened))
        # If a change happens during a fetch, it may see pages of invoices that no state has.
        if self._excess(after, _given(*history)) and (
            excess := self._excess(after, _given(*history, mixed=True))
        ):
            raise self.broken(f"{customer}: {excess}")

    def _excess(self, row: CustomerRow, given: _Given) -> str | None:
        access = row.access(POLICY, EPOCH)
        for subscription in row.facts.subscriptions:
            for item in subscription.items:
                if (subscription.id, item) not in given.items:
                    return f"{subscription.id} never had {item}"
        for name, feature in access.features.items():
            if feature.until > given.features.get(name, 0):
                return f"{name} until {feature.until} was never given"
        for name, product in access.products.items():
            quantity, until = given.products.get(name, (0, 0))
            if product.quantity > quantity or product.until > until:
                return f"{name} {product} was never given"
        return None


class NothingUnpaidToThoseWhoOwe(Invariant):
    """Where a subscription is past_due, each product and quantity is covered by a paid invoice line
    of that subscription or by another subscription in good standing, and so is each feature of a
    product, unless it is granted.

    It reads invoices alone, so a rule of the debt that decide and the oracle both have wrong still
    shows here. It is weaker than the oracle: any paid charge counts, however old or given back, and
    nothing is said of ends."""

    def commit(self, world: World, actor: Actor, before: CustomerRow, after: CustomerRow) -> None:
        if all(each.status != "past_due" for each in after.facts.subscriptions):
            return
        customer, access = after.key.id, after.access(POLICY, EPOCH)
        paid = _paid(world.setup.script, customer, len(world.stripe.versions(customer)))
        covered: dict[str, int] = {}
        for subscription in after.facts.subscriptions:
            if subscription.status == "past_due":
                counts = paid.get(subscription.id, [])
            elif subscription.status in ("active", "trialing"):
                counts = [
                    (item.product, 1 if item.quantity is None else item.quantity)
                    for item in subscription.items
                ]
            else:
                continue
            for product, quantity in counts:
                covered[product] = covered.get(product, 0) + quantity
        for name, given in access.products.items():
            if given.quantity > covered.get(name, 0):
                raise self.broken(f"{customer} owes and has {name} {given}; paid for is {covered}")
        granted = {grant.feature for grant in after.facts.grants}
        held = {item.product for each in after.facts.subscriptions for item in each.items}
        for feature in access.features.keys() - granted:
            attached = after.facts.product_features
            carriers = {product for product in held if feature in attached.get(product, ())}
            if carriers and not any(feature in attached.get(product, ()) for product in covered):
                raise self.broken(f"{customer} owes and has {feature}; paid for is {covered}")


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
    NothingUnpaidToThoseWhoOwe(),
    CommitGivesWhatStripeSays(),
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
def _given(
    script: Script, customer: str, versions: int, happened: int, *, mixed: bool = False
) -> _Given:
    """`mixed`: each page of a list of invoices may be from another version."""
    items: set[tuple[str, Item]] = set()
    features: dict[str, int] = {}
    quantities: dict[tuple[str, str], int] = {}
    untils: dict[str, int] = {}
    states = [script.changes[index].state for index in script.versions.get(customer, ())[:versions]]
    for state in states:
        items |= {(each.id, item) for each in state.facts.subscriptions for item in each.items}
        for name, given in _by_subscription(state, *(states if mixed else ())):
            for product in {each.product for each in given}:
                counts = [each.quantity for each in given if each.product == product]
                # Metered items count as one, and only where nothing is licensed.
                count = sum(each or 0 for each in counts) or int(None in counts)
                quantities[name, product] = max(quantities.get((name, product), 0), count)
            for each in given:
                untils[each.product] = max(untils.get(each.product, 0), each.until)
    # A product's features belong to no customer, so a read returns them before any event.
    catalog = script.changes[happened - 1].state.catalog if happened else {}
    listed = {feature for state in states for feature in state.entitlements}
    attached = {f for _, product in quantities for f in catalog.get(product, ())}
    features = dict.fromkeys(listed | attached, max(untils.values(), default=0))
    for state in states:
        for feature, until in () if state.deleted else oracle.granted_features(state):
            features[feature] = max(features.get(feature, 0), until)
    # If a change happens during a fetch, it may see one subscription before and another after it.
    products = {
        product: (sum(most for (_, p), most in quantities.items() if p == product), until)
        for product, until in untils.items()
    }
    return _Given(frozenset(items), features, products)


@lru_cache(maxsize=1 << 12)
def _by_subscription(state: State, *others: State) -> list[tuple[str, list[oracle.Given]]]:
    """What each subscription gives in this state, with its own invoices or as a reader may find
    them that sees the `others` too."""
    found = []
    for subscription in state.subscriptions:
        lists = [
            each["_invoices"]
            for other in others
            for each in other.subscriptions
            if each["id"] == subscription["id"]
        ]
        readings = _readings(lists, None) if lists else [subscription["_invoices"]]
        for invoices in readings:
            as_read = {**subscription, "_invoices": invoices}
            found.append((subscription["id"], oracle.gives(as_read, state, POLICY)))
    return found


def _readings(
    lists: Sequence[Sequence[StripeObject]], after: str | None
) -> Iterator[tuple[StripeObject, ...]]:
    """The lists that can be read page by page, where each page may be from another one of `lists`:
    from its start, or after the object with the id `after`."""
    pages: dict[tuple[int, ...], tuple[tuple[StripeObject, ...], bool]] = {}
    for each in lists:
        names = [None, *(one["id"] for one in each)]
        rest = tuple(each[names.index(after) :]) if after in names else ()
        page, more = rest[:PAGE_SIZE], len(rest) > PAGE_SIZE
        pages[*map(id, page), more] = (page, more)
    for page, more in pages.values():
        for tail in _readings(lists, page[-1]["id"]) if more else [()]:
            yield (*page, *tail)


@lru_cache(maxsize=1 << 12)
def _paid(script: Script, customer: str, versions: int) -> dict[str, list[tuple[str, int]]]:
    """By subscription, the products and quantities that its paid invoices ever charged: the most of
    each product for each subscription item."""
    most: dict[tuple[str, str, str], int] = {}
    for index in script.versions.get(customer, ())[:versions]:
        state = script.changes[index].state
        for subscription in state.subscriptions:
            for invoice in subscription["_invoices"]:
                if invoice["status"] != "paid":
                    continue
                sums: dict[tuple[str, str, int], int] = {}
                for line in invoice["lines"]:
                    item, details = oracle.item_of(line), line["pricing"]["price_details"]
                    if item and line["amount"] >= 0:
                        # A price that Stripe no longer has may be billed by usage.
                        price, quantity = state.prices.get(details["price"]), line["quantity"]
                        if price is None or oracle.metered(price):
                            quantity = max(1, quantity) if price is None else 1
                        key = (item, details["product"], line["period"]["start"])
                        sums[key] = sums.get(key, 0) + quantity
                for (item, product, _), quantity in sums.items():
                    key = (subscription["id"], item, product)
                    most[key] = max(most.get(key, 0), quantity)
    found: dict[str, list[tuple[str, int]]] = {}
    for (name, _, product), quantity in most.items():
        found.setdefault(name, []).append((product, quantity))
    return found


#: Longer than a read may lag and a worker may run.
UNDISTURBED_SECONDS = 150


def _only_state(world: World, actor: Actor, row: CustomerRow) -> State | None:
    """The state behind a row; None where the reads of its fetch may have seen several."""
    fetch = actor.fetch
    if fetch is None or fetch.customer != row.key:
        return None
    change = world.stripe.versions(row.key.id)[-1]
    state, seen = world.setup.script.changes[change].state, Seen(change, change)
    if fetch.profile != seen or (fetch.entitlements != seen and not state.deleted):
        return None
    # Not every read is recorded. So no read may have been stale, or the state must be old.
    lagged = world.budgets.lags != world.setup.budgets.lags
    if lagged and world.now - world.stripe.happened[change] < UNDISTURBED_SECONDS:
        return None
    # A product's features are read from the latest catalog, which other customers' changes make.
    latest = world.setup.script.changes[len(world.stripe.happened) - 1].state
    return state if latest.catalog == state.catalog else None


def difference(facts: Facts, state: State, times: tuple[int, ...]) -> str | None:
    """Where decide and the oracle differ at one of `times`, if they do."""
    if facts == state.facts:
        return _own_difference(state, times)
    return first_difference(facts, state, times)


@lru_cache(maxsize=1 << 12)
def _own_difference(state: State, times: tuple[int, ...]) -> str | None:
    return first_difference(state.facts, state, times)


def first_difference(facts: Facts, state: State, times: tuple[int, ...]) -> str | None:
    for now in times:
        access, answer = decide(facts, POLICY, now), oracle.may_use(state, POLICY, now)
        decided = oracle.Answer(
            {name: (given.quantity, given.until) for name, given in access.products.items()},
            {name: given.until for name, given in access.features.items()},
        )
        if decided != answer:
            return f"at {now} the row allows {decided}, and the oracle {answer}"
    return None


@lru_cache(maxsize=1 << 12)
def _ends(state: State) -> tuple[int, ...]:
    """A time at which everything is given, and each at which something ends."""
    ends = {each.until for _, given in _by_subscription(state) for each in given}
    return (EPOCH, *sorted(ends))


@lru_cache(maxsize=1 << 12)
def edges(state: State) -> tuple[int, ...]:
    """The times around everything that could matter, and some long before and after it."""
    edges = set(_ends(state))
    if not state.deleted:
        edges |= {until for _, until in oracle.granted_features(state)}
    for subscription in state.subscriptions:
        edges |= {item["current_period_end"] for item in subscription["items"]}
        edges |= {subscription["cancel_at"] or EPOCH}
    years = (EPOCH - 10**8, EPOCH + 10**8, EPOCH + 10**9)
    return (*sorted({edge + second for edge in edges for second in (-1, 0, 1)}), *years)


def _linked(world: World, subject: str) -> CustomerKey | None:
    return world.store.load_link(SubjectKey("test", ISSUER, subject)).customer


def _row(world: World, customer: str) -> CustomerRow:
    return world.store.load(CustomerKey("own", "test", customer))


def _brief(state: State) -> str:
    if state.deleted:
        return "deleted"
    statuses = [f"{s['id']} {s['status']}" for s in state.subscriptions]
    return ", ".join(statuses) or "without a subscription"
