"""The small worlds that are explored to the end, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from tests.simulation.actors import Memory
from tests.simulation.design import Design
from tests.simulation.lifecycles import (
    LIFECYCLES,
    claim_shows_late,
    empty_holder_is_deleted,
    ends_deleted,
    holder_gives_its_claim_up,
    three_changes,
    two_customers,
)
from tests.simulation.setups import Budgets, Setup
from tests.simulation.stripe_account import Script


class Small(NamedTuple):
    """A small world: its script, its faults, and its workers, which stop at every I/O point."""

    script: Script
    budgets: Budgets = Budgets()
    workers: int = 2


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
}

#: Enough for one duplicate of each event of a lifecycle, so that every subset occurs.
MAX_DUPLICATES = 5


def names() -> list[str]:
    """The names of all cases, the small worlds first."""
    return [*CASES, *LIFECYCLES]


def case(name: str, design: Design) -> Setup:
    """Return the setup of a case. Raises KeyError."""
    if name in CASES:
        small = CASES[name]
        return Setup(
            script=small.script,
            budgets=small.budgets,
            designs=(design,),
            start=Memory({}),
            workers=small.workers,
            delivers_at_once=not small.budgets.holds,
        )
    setup = Setup(script=LIFECYCLES[name], designs=(design,), start=Memory({}), workers=1)
    return replace(setup, budgets=Budgets(duplicates=MAX_DUPLICATES), worker_stops=False)
