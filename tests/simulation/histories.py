"""Long histories of several customers, drawn at random."""

from __future__ import annotations

from random import Random

from tests.simulation.billing import SUMMARY, step
from tests.simulation.invoicing import CATALOG, KNOWN_PRICES, Customer
from tests.simulation.script import Change, Script
from tests.simulation.states import configuration, prices
from tests.simulation.stripe_model import State


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
