"""Scripts: lists of the changes that customers go through at Stripe."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from tests.simulation.actors import PRICES
from tests.simulation.billed_lifecycles import BILLED, CUS
from tests.simulation.billing import SUB, SUMMARY, step
from tests.simulation.invoicing import CATALOG, KNOWN_PRICES, MONTH, Customer
from tests.simulation.stripe_account import Change, Document, Script
from tests.simulation.stripe_model import EPOCH, METADATA_KEY, State


def subscription(
    name: str, status: str, *products: str, quantity: int = 1, period: int = 1, **more: Any
) -> dict[str, Any]:
    """A subscription to `products` in its `period`-th month. Its items are a plain list."""
    start = EPOCH + (period - 1) * MONTH
    lines = [
        {
            "id": f"il_{name}_{product}",
            "amount": 1900,
            "quantity": quantity,
            "period": {"start": start, "end": start + MONTH},
            "parent": {"subscription_item_details": {"subscription_item": f"si_{name}_{product}"}},
            "pricing": {"price_details": {"price": f"price_{product}", "product": product}},
        }
        for product in products
    ]
    paid = _invoice(f"in_{name}_0", "paid", start - MONTH, lines)
    unpaid = _invoice(f"in_{name}_{period}", "open", start, lines)
    return {
        "id": name,
        "status": status,
        "items": [
            {
                "id": f"si_{name}_{product}",
                "price": {"id": f"price_{product}", "product": product, "lookup_key": None},
                "quantity": quantity,
                "current_period_start": start,
                "current_period_end": start + MONTH,
            }
            for product in products
        ],
        "cancel_at": None,
        "cancel_at_period_end": False,
        "trial_end": None,
        "_invoices": [unpaid, paid] if status == "past_due" else [paid],
        **more,
    }


def _invoice(name: str, status: str, finalized: int, lines: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": name,
        "status": status,
        "billing_reason": "subscription_cycle",
        "total": 1900,
        "created": finalized,
        "due_date": None,
        "status_transitions": {"finalized_at": finalized},
        "lines": [{**line, "id": f"{line['id']}_{name}"} for line in lines],
    }


def state(
    customer: str,
    *subscriptions: Mapping[str, Any],
    catalog: Mapping[str, tuple[str, ...]] = CATALOG,
    claim: str | None = None,
    **more: Any,
) -> State:
    """A customer with these subscriptions. Its entitlements follow from the catalog."""
    entitled = {
        feature
        for held in subscriptions
        if held["status"] in ("active", "trialing")
        for item in held["items"]
        for feature in catalog[item["price"]["product"]]
    }
    return State(
        customer,
        subscriptions=tuple(subscriptions),
        entitlements=tuple(sorted(entitled)),
        catalog=catalog,
        profile={"delinquent": False, "metadata": {METADATA_KEY: claim} if claim else {}, **more},
    )


def script(*changes: tuple[float, State | Document, str]) -> Script:
    return Script(Change(wait, after, tuple(events.split())) for wait, after, events in changes)


def _lifecycles() -> dict[str, Script]:
    def sub(status: str, *products: str, **more: Any) -> dict[str, Any]:
        return subscription("sub_1", status, *(products or ("prod_basic",)), **more)

    def one(*subscriptions: Mapping[str, Any], **more: Any) -> State:
        return state(CUS, *subscriptions, claim="user_1", **more)

    created, updated = f"{SUB}.created", f"{SUB}.updated"
    soon = EPOCH + 14 * 86400
    card = {
        "invoice_settings": {
            "default_payment_method": {
                "object": "payment_method",
                "type": "card",
                "card": {"brand": "visa"},
            }
        }
    }
    more_features = {**CATALOG, "prod_basic": ("export", "priority")}
    born = (0.0, one(), "customer.created")
    return {
        "trial to paid": script(
            born,
            (0, one(sub("trialing", trial_end=soon)), created),
            (1, one(sub("trialing", trial_end=soon), **card), "payment_method.attached"),
            (40, one(sub("active", trial_end=soon), **card), f"{updated} invoice.paid"),
        ),
        "upgrade": script(
            (0, one(sub("active")), created),
            (0, one(sub("active", "prod_pro")), f"{updated} {SUMMARY}"),
            (0, one(sub("active", "prod_pro", quantity=3)), f"{updated} invoice.paid"),
        ),
        "downgrade": script(
            (0, one(sub("active", "prod_pro")), created),
            (70, one(sub("active", "prod_basic")), f"{updated} {SUMMARY}"),
            (20, one(sub("active", "prod_basic", period=2)), f"{updated} invoice.paid"),
        ),
        "cancel at period end, then reactivate": script(
            (0, one(sub("active")), f"{created} invoice.paid"),
            (0, one(sub("active", cancel_at=EPOCH + MONTH)), updated),
            (5, one(sub("active")), updated),
            (70, one(sub("active", cancel_at_period_end=True)), updated),
        ),
        "cancel now": script(
            (0, one(sub("active", "prod_pro")), f"{created} invoice.paid"),
            (30, one(), f"{SUB}.deleted {SUMMARY}"),
            (0, one(subscription("sub_2", "incomplete", "prod_basic")), created),
        ),
        "past due, then paid": script(
            (0, one(sub("active")), created),
            (30, one(sub("past_due", period=2), delinquent=True), "invoice.payment_failed"),
            (0, one(sub("past_due", period=2), delinquent=True), updated),
            (65, one(sub("active", period=2)), f"invoice.paid {updated}"),
        ),
        "pause, then resume": script(
            (0, one(sub("active")), created),
            (10, one(sub("paused")), f"{SUB}.paused {SUMMARY}"),
            (0, one(sub("active")), f"{SUB}.resumed {SUMMARY}"),
        ),
        "customer deleted": script(
            born,
            (0, one(sub("active")), f"{created} invoice.paid"),
            (0, one(), f"{SUB}.deleted"),
            (0, State(CUS, deleted=True), "customer.deleted"),
        ),
        "two subscriptions": script(
            (0, one(sub("active")), created),
            (
                0,
                one(sub("active"), subscription("sub_2", "active", "prod_seats", quantity=5)),
                f"{created} {SUMMARY}",
            ),
            (62, one(subscription("sub_2", "active", "prod_seats", quantity=5)), f"{SUB}.deleted"),
            (0, one(subscription("sub_2", "active", "prod_seats", "prod_basic")), updated),
        ),
        "feature added to a product": script(
            (0, one(sub("active")), f"{created} {SUMMARY}"),
            (45, one(sub("active"), catalog=more_features), SUMMARY),
            (0, one(sub("past_due", period=2), catalog=more_features), f"{updated} {SUMMARY}"),
        ),
    }


LIFECYCLES = _lifecycles() | BILLED


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


def configuration(*features: str) -> Document:
    """A portal configuration that offers these features."""
    offered = ("customer_update", "invoice_history", "subscription_cancel")
    content = {
        "name": "default",
        "active": True,
        "is_default": True,
        "login_page": "",
        "features": {name: name in features for name in offered},
    }
    response = {
        **content,
        "id": "bpc_1",
        "login_page": {"url": None},
        "features": {name: {"enabled": name in features} for name in offered},
    }
    return Document("bpc_1", response, content)


def prices(unit_amount: int) -> Document:
    """What is for sale."""
    entry = {"id": "price_1", "lookup_key": None, "currency": "usd", "unit_amount": unit_amount}
    recurring = {"interval": "month", "interval_count": 1}
    product = {"id": "prod_1", "name": "One", "active": True, "description": None}
    sold: dict[str, Any] = {"id": "prod_1", "name": "One", "description": None, "features": []}
    return Document(
        PRICES,
        [{**entry, "recurring": recurring, "product": product, "active": True}],
        {"products": [{**sold, "prices": [{**entry, **recurring}]}]},
    )


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


def random_script(rng: Random, *, customers: int, changes: int) -> Script:
    """Draw at least `changes` changes of `customers` customers."""
    catalog = dict(CATALOG)
    known: dict[str, Customer] = {}
    claims: dict[str, str | None] = {}
    gone: set[str] = set()
    found: list[Change] = []
    while len(found) < changes and len(gone) < customers:
        if rng.random() < 0.1:
            # The account's own documents change too.
            offered = rng.sample(("customer_update", "invoice_history", "subscription_cancel"), 2)
            updated = ("billing_portal.configuration.updated",)
            found.append(Change(rng.uniform(0, 40), configuration(*offered), updated))
            found.append(Change(0, prices(rng.randrange(1, 99)), ("price.updated",)))
            continue
        name = f"cus_{rng.randrange(customers)}"
        if name in gone:
            continue
        wait = rng.choice((0.0, 0.0, rng.uniform(0, 2), rng.uniform(0, 40), rng.uniform(0, 200)))
        changed = [name]
        if name not in known:
            known[name] = Customer(
                name, rng, lists_in_grace=rng.random() < 0.5, on_test_clock=rng.random() < 0.1
            )
            # Most customers claim a subject of their own; some compete for a shared one.
            claims[name] = rng.choice((name, name, "user_shared", None))
            events = "customer.created"
        elif (kind := rng.random()) < 0.1:
            # Claims change hands: sometimes for a subject that another customer holds.
            claims[name] = rng.choice((name, *sorted(known), "user_shared", None))
            events = "customer.updated"
        elif kind < 0.13:
            gone.add(name)
            tombstone = State(name, deleted=True, catalog=dict(catalog), prices=KNOWN_PRICES)
            found.append(Change(wait, tombstone, ("customer.deleted",)))
            continue
        elif kind < 0.2:
            # A new feature of a product may change every other customer too.
            product = rng.choice(sorted(catalog))
            catalog[product] = (*catalog[product], f"feature_{len(found)}")
            changed = sorted(known.keys() - gone)
            events = SUMMARY
        else:
            events = step(known[name], catalog)
        for each in changed:
            after = known[each].state(dict(catalog), claims[each])
            found.append(Change(wait, after, tuple(dict.fromkeys(events.split()))))
            wait = 0.0
    return Script(found)
