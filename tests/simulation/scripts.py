"""Scripts of the small worlds: a few changes each, some seconds apart."""

from __future__ import annotations

from tests.simulation.billed_lifecycles import CUS
from tests.simulation.billing import SUB
from tests.simulation.script import Change, Document, Script
from tests.simulation.states import configuration, prices, state, subscription
from tests.simulation.stripe_model import State


def script(*changes: tuple[float, State | Document, str]) -> Script:
    return Script(Change(wait, after, tuple(events.split())) for wait, after, events in changes)


def three_changes(*waits: float) -> Script:
    """Subscribe, upgrade, cancel: one event each, `waits` seconds apart."""
    states = (
        state(CUS, subscription("sub_1", "active", "prod_basic"), claim="user_1"),
        state(CUS, subscription("sub_1", "active", "prod_seats"), claim="user_1"),
        state(CUS, claim="user_1"),
    )
    kinds = (f"{SUB}.created", f"{SUB}.updated", f"{SUB}.deleted")
    return script(*zip(waits, states, kinds, strict=False))


def ends_deleted(*waits: float) -> Script:
    """Subscribe, upgrade, delete the customer."""
    first, second = three_changes(0, 0).changes
    last = State(CUS, deleted=True)
    states = (first.state, second.state, last)
    kinds = (f"{SUB}.created", f"{SUB}.updated", "customer.deleted")
    return script(*zip(waits, states, kinds, strict=False))


def two_customers(*waits: float) -> Script:
    """Two customers claim one subject. At the end the first is deleted."""
    first = state("cus_a", subscription("sub_1", "active", "prod_basic"), claim="user_1")
    second = state("cus_b", subscription("sub_2", "active", "prod_seats"), claim="user_1")
    states = (first, second, State("cus_a", deleted=True))
    kinds = ("customer.created", "customer.created", "customer.deleted")
    return script(*zip(waits, states, kinds, strict=False))


def empty_holder_is_deleted(*waits: float) -> Script:
    """Two customers claim one subject. The empty one came first and is deleted; the paying one has
    no event afterwards."""
    states = (
        state("cus_a", claim="user_1"),
        state("cus_b", subscription("sub_2", "active", "prod_seats"), claim="user_1"),
        State("cus_a", deleted=True),
    )
    kinds = ("customer.created", "customer.created", "customer.deleted")
    return script(*zip(waits, states, kinds, strict=False))


def holder_gives_its_claim_up(*waits: float) -> Script:
    """Two customers claim one subject. The first one's metadata then names another subject."""
    states = (
        state("cus_a", claim="user_1"),
        state("cus_b", subscription("sub_2", "active", "prod_seats"), claim="user_1"),
        state("cus_a", claim="user_2"),
    )
    kinds = ("customer.created", "customer.created", "customer.updated")
    return script(*zip(waits, states, kinds, strict=False))


def claim_shows_late(*waits: float) -> Script:
    """A customer begins to claim a subject when the holder is deleted."""
    paying = subscription("sub_2", "active", "prod_seats")
    states = (
        state("cus_a", claim="user_1"),
        state("cus_b", paying),
        state("cus_b", paying, claim="user_1"),
        State("cus_a", deleted=True),
    )
    kinds = ("customer.created", "customer.created", "customer.updated", "customer.deleted")
    return script(*zip(waits, states, kinds, strict=True))


def claims_are_swapped(*waits: float) -> Script:
    """Two customers claim a subject each. Then their metadata is swapped."""
    first = subscription("sub_1", "active", "prod_basic")
    second = subscription("sub_2", "active", "prod_seats")
    states = (
        state("cus_a", first, claim="user_1"),
        state("cus_b", second, claim="user_2"),
        state("cus_a", first, claim="user_2"),
        state("cus_b", second, claim="user_1"),
    )
    kinds = ("customer.created", "customer.created", "customer.updated", "customer.updated")
    return script(*zip(waits, states, kinds, strict=True))


def wanted_subject_is_taken_and_freed(*waits: float) -> Script:
    """A holder claims another subject, which a customer takes just before it and leaves again."""
    states = (
        state("cus_a", claim="user_1"),
        state("cus_a", claim="user_2"),
        state("cus_b", claim="user_2"),
        State("cus_b", deleted=True),
    )
    kinds = ("customer.created", "customer.updated", "customer.created", "customer.deleted")
    return script(*zip(waits, states, kinds, strict=True))


def claimant_changes_when_the_holder_is_deleted(*waits: float) -> Script:
    """Two customers claim one subject. The second one changes just before the first is deleted."""
    states = (
        state("cus_a", claim="user_1"),
        state("cus_b", claim="user_1"),
        state("cus_b", claim="user_1", delinquent=True),
        State("cus_a", deleted=True),
    )
    kinds = ("customer.created", "customer.created", "customer.updated", "customer.deleted")
    return script(*zip(waits, states, kinds, strict=True))


def a_second_holder_is_deleted(*waits: float) -> Script:
    """Three customers claim one subject. The first one is deleted, and then its successor."""
    states = (
        state("cus_a", claim="user_1"),
        state("cus_b", claim="user_1"),
        state("cus_c", subscription("sub_3", "active", "prod_seats"), claim="user_1"),
        State("cus_a", deleted=True),
        state("cus_b", claim="user_1", delinquent=True),
        State("cus_b", deleted=True),
    )
    created, updated, deleted = "customer.created", "customer.updated", "customer.deleted"
    kinds = (created, created, created, deleted, updated, deleted)
    return script(*zip(waits, states, kinds, strict=True))


def one_deleted_while_another_comes(*waits: float) -> Script:
    """A customer is deleted, and another one that claims its subject is created."""
    states = (
        state("cus_a", claim="user_1"),
        State("cus_a", deleted=True),
        state("cus_b", subscription("sub_2", "active", "prod_seats"), claim="user_1"),
    )
    kinds = ("customer.created", "customer.deleted", "customer.created")
    return script(*zip(waits, states, kinds, strict=True))


def one_after_another(*waits: float) -> Script:
    """A customer subscribes and upgrades; then another one is created."""
    first, second = three_changes(0, 0).changes
    states = (first.state, second.state, state("cus_b"))
    kinds = (f"{SUB}.created", f"{SUB}.updated", "customer.created")
    return script(*zip(waits, states, kinds, strict=True))


def one_beside_another(*waits: float) -> Script:
    """A customer subscribes and upgrades; another one is created just before the upgrade."""
    first, second, other = one_after_another(0, 0, 0).changes
    states = (first.state, other.state, second.state)
    kinds = (f"{SUB}.created", "customer.created", f"{SUB}.updated")
    return script(*zip(waits, states, kinds, strict=True))


def too_many_subscriptions(*waits: float) -> Script:
    """A customer has a second subscription for a while."""
    first = subscription("sub_1", "active", "prod_basic")
    second = subscription("sub_2", "active", "prod_seats")
    states = (
        state(CUS, first, claim="user_1"),
        state(CUS, first, second, claim="user_1"),
        state(CUS, second, claim="user_1"),
    )
    kinds = (f"{SUB}.created", f"{SUB}.created", f"{SUB}.deleted")
    return script(*zip(waits, states, kinds, strict=False))


def comes_and_is_deleted(*waits: float) -> Script:
    """A customer is created and deleted."""
    states = (state(CUS, claim="user_1"), State(CUS, deleted=True))
    kinds = ("customer.created", "customer.deleted")
    return script(*zip(waits, states, kinds, strict=True))


def nobody_yet() -> Script:
    """Nothing happens at Stripe by itself."""
    return script()


def configuration_changes(*waits: float) -> Script:
    """A portal configuration is made and changed twice."""
    states = (
        configuration("customer_update"),
        configuration("customer_update", "subscription_cancel"),
        configuration("invoice_history"),
    )
    created, updated = (f"billing_portal.configuration.{what}" for what in ("created", "updated"))
    return script(*zip(waits, states, (created, updated, updated), strict=True))


def prices_change(*waits: float) -> Script:
    """What is for sale changes."""
    kinds = ("price.created", "price.updated")
    return script(*zip(waits, (prices(1900), prices(2900)), kinds, strict=True))
