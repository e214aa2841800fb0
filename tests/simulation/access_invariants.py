"""What customers may use, in every history: judged by the oracle, and by invoices alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from billing.access import decide
from billing.facts import Facts, Item
from billing.model import CustomerRow
from billing.stripe_objects import StripeObject
from tests.simulation import oracle
from tests.simulation.invariant import Invariant, row_of, stays_behind
from tests.simulation.stripe_account import Seen
from tests.simulation.stripe_model import EPOCH, PAGE_SIZE, POLICY, State

if TYPE_CHECKING:
    from tests.simulation.world import Actor, World


class QuietStoreEqualsStripe(Invariant):
    """When the queue is quiet, each customer's row holds the facts of Stripe's true state, and
    allows what the oracle says, at any time."""

    def quiet(self, world: World) -> None:
        for customer, state in world.stripe.customers():
            row = row_of(world, customer)
            if row.facts == state.facts:
                if found := _difference(row.facts, state, edges(state)):
                    raise self.broken(f"{customer} is {_brief(state)} at Stripe; {found}")
            elif not stays_behind(world, customer, state):
                raise self.broken(
                    f"{customer} is {_brief(state)} at Stripe; revision {row.revision} differs"
                )


class CommitGivesWhatStripeSays(Invariant):
    """A row whose fetch saw a single state allows what the oracle says of that state."""

    def commit(self, world: World, actor: Actor, before: Any, after: Any) -> None:
        if not isinstance(after, CustomerRow):
            return
        state = _only_state(world, actor, after)
        if state is not None and (found := _difference(after.facts, state, _ends(state))):
            raise self.broken(f"{after.key.id} is {_brief(state)} at Stripe; {found}")


class NoAccessBeyondHistory(Invariant):
    """A row grants only what the oracle granted at some time: the exact subscription items,
    features and products, and none of them for longer."""

    def commit(self, world: World, actor: Actor, before: Any, after: Any) -> None:
        if not isinstance(after, CustomerRow) or world.moments.knows(type(self), after):
            return
        history = (_states(world, after), world.stripe.past.latest)
        # If a change happens during a fetch, it may see pages of invoices that no state has.
        if self._excess(after, _given(*history)) and (
            excess := self._excess(after, _given(*history, mixed=True))
        ):
            raise self.broken(f"{after.key.id}: {excess}")

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

    def commit(self, world: World, actor: Actor, before: Any, after: Any) -> None:
        if not isinstance(after, CustomerRow) or all(
            each.status != "past_due" for each in after.facts.subscriptions
        ):
            return
        customer, access = after.key.id, after.access(POLICY, EPOCH)
        paid = _paid(_states(world, after))
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


class _Given(NamedTuple):
    """The most that a customer's versions so far ever granted."""

    items: frozenset[tuple[str, Item]]
    features: dict[str, int]
    products: dict[str, tuple[int, int]]


@lru_cache(maxsize=1 << 12)
def _given(
    states: tuple[State, ...],
    latest: State,
    *,
    mixed: bool = False,
) -> _Given:
    """`mixed`: each page of a list of invoices may be from another version."""
    items: set[tuple[str, Item]] = set()
    features: dict[str, int] = {}
    quantities: dict[tuple[str, str], int] = {}
    untils: dict[str, int] = {}
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
    listed = {feature for state in states for feature in state.entitlements}
    attached = {f for _, product in quantities for f in latest.catalog.get(product, ())}
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
def _paid(states: tuple[State, ...]) -> dict[str, list[tuple[str, int]]]:
    """By subscription, the products and quantities that its paid invoices ever charged: the most of
    each product for each subscription item."""
    most: dict[tuple[str, str, str], int] = {}
    for state in states:
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


def _states(world: World, row: CustomerRow) -> tuple[State, ...]:
    """The customer's versions so far."""
    return tuple(map(world.stripe.version, world.stripe.versions(row.key.id)))


def _only_state(world: World, actor: Actor, row: CustomerRow) -> State | None:
    """The state behind a row; None where the reads of its fetch may have seen several."""
    fetch = actor.fetch
    if fetch is None or fetch.key != row.key:
        return None
    change = world.stripe.versions(row.key.id)[-1]
    state, seen = world.stripe.version(change), Seen(change, change)
    if fetch.profile != seen or (fetch.entitlements != seen and not state.deleted):
        return None
    # Not every read is recorded. So no read may have been stale, or the state must be old.
    lagged = world.budgets.lags != world.setup.budgets.lags
    if lagged and world.now - world.stripe.past.log[change][0] < UNDISTURBED_SECONDS:
        return None
    # A product's features are read from the latest catalog, which other customers' changes make.
    return state if world.stripe.catalog == state.catalog else None


def _difference(facts: Facts, state: State, times: tuple[int, ...]) -> str | None:
    """Where decide and the oracle differ at one of `times`, if they do."""
    if facts == state.facts:
        return _own_difference(state, times)
    return first_difference(facts, state, times)


@lru_cache(maxsize=1 << 12)
def _own_difference(state: State, times: tuple[int, ...]) -> str | None:
    return first_difference(state.facts, state, times)


def first_difference(facts: Facts, state: State, times: tuple[int, ...]) -> str | None:
    """The same, without a memory."""
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
    found = set(_ends(state))
    if not state.deleted:
        found |= {until for _, until in oracle.granted_features(state)}
    for subscription in state.subscriptions:
        found |= {item["current_period_end"] for item in subscription["items"]}
        found |= {subscription["cancel_at"] or EPOCH}
    years = (EPOCH - 10**8, EPOCH + 10**8, EPOCH + 10**9)
    return (*sorted({edge + second for edge in found for second in (-1, 0, 1)}), *years)


def _brief(state: State) -> str:
    if state.deleted:
        return "deleted"
    statuses = [f"{s['id']} {s['status']}" for s in state.subscriptions]
    return ", ".join(statuses) or "without a subscription"
