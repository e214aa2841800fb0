"""The small worlds that are explored to the end, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from billing.link import Issuers
from tests.simulation.actors import Memory
from tests.simulation.design import FORMER_ISSUER, ISSUER, ISSUERS, Design, Make, design
from tests.simulation.lifecycles import LIFECYCLES
from tests.simulation.script import Script
from tests.simulation.scripts import (
    a_second_holder_is_deleted,
    claim_shows_late,
    claimant_changes_when_the_holder_is_deleted,
    claims_are_swapped,
    comes_and_is_deleted,
    configuration_changes,
    empty_holder_is_deleted,
    ends_deleted,
    holder_gives_its_claim_up,
    nobody_yet,
    one_after_another,
    one_beside_another,
    one_deleted_while_another_comes,
    prices_change,
    three_changes,
    too_many_subscriptions,
    two_customers,
    wanted_subject_is_taken_and_freed,
)
from tests.simulation.setups import Budgets, Setup


class Small(NamedTuple):
    """A small world: its script, its faults, its workers, which stop at every I/O point, and other
    fields of Setup. Its first deploy trusts `issuers`; a later one trusts ISSUERS."""

    script: Script
    budgets: Budgets = Budgets()
    workers: int = 2
    fields: Mapping[str, Any] = {}


CASES: dict[str, Small] = {
    # The largest first, so that the two processes end at about the same time. It includes all the
    # smaller ones: three changes or two, with or without the duplicate and the crash.
    "three changes, a duplicate and a crash": Small(
        three_changes(0, 0, 0),
        Budgets(crashes=1, duplicates=1),
    ),
    "two workers": Small(three_changes(0, 0), Budgets()),
    "a crash": Small(three_changes(0, 0), Budgets(crashes=1)),
    "time passes": Small(three_changes(0, 0), Budgets(waits=1)),
    "a message handed out twice, and a crash": Small(
        three_changes(0, 0),
        Budgets(crashes=1, copies=1),
    ),
    "two reads lag": Small(three_changes(0, 0), Budgets(lags=2)),
    "a read lags, a worker crashes": Small(three_changes(0, 20), Budgets(lags=1, crashes=1)),
    "two calls fail": Small(three_changes(0, 1), Budgets(failures=2)),
    "a read lags past a pending confirm": Small(three_changes(0, 32, 25), Budgets(lags=2, waits=1)),
    "a late webhook, reads at the margin": Small(
        three_changes(0, 0.9, 59.1),
        Budgets(lags=3, holds=1),
    ),
    "a pending confirm at the margin": Small(three_changes(0, 30.9, 0), Budgets(lags=1)),
    "a late webhook, a crash, a lagging read": Small(
        three_changes(0, 71, 4),
        Budgets(crashes=1, lags=2, holds=1),
    ),
    "time passes between the steps": Small(three_changes(0, 0), Budgets(waits=1, duplicates=1)),
    "the customer is deleted": Small(ends_deleted(0, 0, 0), Budgets(lags=1)),
    "an orphan comes with an event": Small(three_changes(0, 90), Budgets(crashes=1)),
    "two customers claim one subject": Small(two_customers(0, 0, 0), Budgets(crashes=1)),
    "the empty holder is deleted": Small(empty_holder_is_deleted(0, 100, 90), Budgets(crashes=1)),
    "a claim and a deletion show late": Small(claim_shows_late(0, 100, 100, 0), Budgets(lags=2)),
    # Two workers and a crash at once: more moments than can be explored to the end.
    "the holder gives its claim up": Small(holder_gives_its_claim_up(0, 100, 100), Budgets()),
    "the holder gives its claim up, and a crash": Small(
        holder_gives_its_claim_up(0, 100, 100),
        Budgets(crashes=1),
        1,
    ),
    "claims are swapped": Small(claims_are_swapped(0, 100, 100, 0), Budgets(crashes=1), 1),
    "a wanted subject is taken and freed": Small(
        wanted_subject_is_taken_and_freed(0, 100, 90, 200), Budgets(lags=1)
    ),
    "a second holder is deleted": Small(
        a_second_holder_is_deleted(0, 100, 100, 100, 0, 300), Budgets(crashes=1), 1
    ),
    "a holder is deleted slowly": Small(
        one_deleted_while_another_comes(0, 100, 61), Budgets(waits=1), 2, {"waits": (62.0,)}
    ),
    "a confirm comes with an event": Small(one_after_another(0, 88, 0), Budgets(lags=1, waits=1)),
    "a Date jumps": Small(three_changes(0, 5, 5), Budgets(dates=1), 2, {"dates": (600.0, -600.0)}),
    "a Date jumps while reads lag": Small(
        three_changes(0, 35), Budgets(dates=1, lags=2), 1, {"dates": (600.0, -600.0)}
    ),
    "Dates jump while reads lag": Small(
        three_changes(0, 89), Budgets(dates=2, lags=2), 1, {"dates": (-600.0,)}
    ),
    "a Date jumps before a claim": Small(
        claimant_changes_when_the_holder_is_deleted(0, 0, 100, 0),
        Budgets(dates=1, lags=2),
        1,
        {"dates": (-600.0,)},
    ),
    "a Date jumps, a confirm is late": Small(
        three_changes(0, 89),
        Budgets(dates=1, lags=2, waits=1),
        1,
        {"dates": (-40.0,), "waits": (51.0,)},
    ),
    "our clocks are wrong": Small(
        three_changes(0, 5, 5), Budgets(), 2, {"clock_skews": (0.0, 600.0, -600.0)}
    ),
    "one of our clocks is behind while reads lag": Small(
        one_beside_another(0, 35, 0), Budgets(lags=2), 2, {"clock_skews": (0.0, 0.0, -600.0)}
    ),
    "a fetch is slow": Small(three_changes(0, 5), Budgets(waits=2), 1, {"waits": (5.0, 70.0)}),
    "a configuration changes": Small(configuration_changes(0, 1, 20), Budgets(lags=2)),
    "prices change": Small(prices_change(0, 0), Budgets(crashes=1)),
    "a row does not fit": Small(
        too_many_subscriptions(0, 0, 70), Budgets(duplicates=1), 2, {"max_subscriptions": 1}
    ),
    "a row never fits again": Small(
        too_many_subscriptions(0, 0),
        Budgets(),
        1,
        {"max_subscriptions": 1, "worker_stops": False},
    ),
    "reads of one customer are throttled for good": Small(
        two_customers(0, 0),
        Budgets(),
        1,
        {"throttled": frozenset({"cus_b"}), "worker_stops": False},
    ),
    "a reader comes during a takeover": Small(
        empty_holder_is_deleted(0, 100, 90),
        Budgets(readers=1, lags=1),
        1,
        {"subjects": ("user_1",)},
    ),
    "a reader comes while a claim is given up": Small(
        holder_gives_its_claim_up(0, 100, 100),
        Budgets(readers=1, lags=1),
        1,
        {"subjects": ("user_1",)},
    ),
    "the issuer changes": Small(
        two_customers(0, 0, 100), Budgets(deploys=1), 2, {"issuers": (FORMER_ISSUER,)}
    ),
    "two tabs buy": Small(
        nobody_yet(),
        Budgets(purchases=2),
        1,
        {"subjects": ("user_1",), "worker_stops": False},
    ),
    "a buyer comes back before the webhook": Small(
        nobody_yet(),
        Budgets(purchases=1, holds=1),
        1,
        {"subjects": ("user_1",), "worker_stops": False},
    ),
    "a purchase, and failures": Small(
        nobody_yet(),
        Budgets(purchases=2, failures=1, crashes=1),
        1,
        {"subjects": ("user_1",), "worker_stops": False},
    ),
    "a buyer whose customer is deleted": Small(
        comes_and_is_deleted(0, 100),
        Budgets(purchases=2),
        1,
        {"subjects": ("user_1",), "worker_stops": False},
    ),
}

#: Enough for one duplicate of each event of a lifecycle, so that every subset occurs.
MAX_DUPLICATES = 5


def names() -> list[str]:
    """The names of all cases, the small worlds first."""
    return [*CASES, *LIFECYCLES]


def case(name: str, make: Make) -> Setup:
    """Return the setup of a case. Raises KeyError."""
    if name in CASES:
        small = CASES[name]
        fields = dict(small.fields)
        first = fields.pop("issuers", None)
        return Setup(
            script=small.script,
            budgets=small.budgets,
            designs=(make(issuers=first), make(issuers=ISSUERS)) if first else (make(),),
            start=Memory({}),
            workers=small.workers,
            delivers_at_once=not small.budgets.holds,
            **fields,
        )
    setup = Setup(script=LIFECYCLES[name], designs=(make(),), start=Memory({}), workers=1)
    return replace(setup, budgets=Budgets(duplicates=MAX_DUPLICATES), worker_stops=False)


def real(*, issuers: Issuers = (ISSUER,)) -> Design:
    """The real design, for small worlds: their strands would only add histories."""
    return design(issuers=issuers, strands=False)
