"""The simulation's smallest worlds, for the mutants of what the worker does."""

from __future__ import annotations

import pytest

from tests.simulation import cases
from tests.simulation.exhaustive import explore
from tests.simulation.lifecycles import LIFECYCLES

#: Each is explored to its first moments only: together they take about a second.
WORLDS = {
    "two workers": 600,
    "two reads lag": 600,
    "a late webhook, reads at the margin": 600,
    "the customer is deleted": 600,
    "two customers claim one subject": 600,
    "the empty holder is deleted": 600,
    "the holder gives its claim up": 600,
} | dict.fromkeys(LIFECYCLES, 100)


@pytest.mark.parametrize("name", WORLDS)
def test_the_first_histories_of_a_small_world_break_no_promise(name: str) -> None:
    found = explore(cases.case(name, cases.real), limit=WORLDS[name])
    assert found.violation is None
