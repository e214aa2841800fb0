"""A smaller simulation for the test run; `make simulate` explores further."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import cases, explore, seeds
from tests.simulation.design import releases
from tests.simulation.exhaustive import explore as explore_all
from tests.simulation.exhaustive import replay
from tests.simulation.lifecycles import LIFECYCLES
from tests.simulation.mutants import MUTANTS, Mutant, judge

ROOT = Path(__file__).parents[2]

#: Moments to visit in each small world. Most worlds have fewer.
MAX_STATES = 8_000


@pytest.mark.parametrize("name", [*cases.CASES, *LIFECYCLES])
def test_no_history_of_a_small_world_breaks_a_promise(name: str) -> None:
    found = explore_all(cases.case(name, cases.real), limit=MAX_STATES)
    assert found.violation is None, f"--replay '{name}:{'.'.join(map(str, found.moves))}'"
    assert found.complete or found.states == MAX_STATES


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_no_seed_breaks_a_promise(first: int) -> None:
    report = explore.run_seeds(first, 50)
    assert report.violations == ()
    assert len(report.histories) == 50


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_wrong_design_is_caught_by_the_invariant_it_breaks(mutant: Mutant) -> None:
    verdict = judge(mutant)
    assert verdict.good, str(verdict)


def test_a_failing_history_replays_as_a_story_that_ends_in_the_same_violation() -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "blind fetch-latest")
    found = explore_all(cases.case(mutant.where, mutant.make))
    assert found.violation is not None
    story, violation = replay(cases.case(mutant.where, mutant.make), found.moves)
    assert str(violation) == str(found.violation)
    assert any("store.put" in line for line in story)


def test_a_seed_gives_the_same_history_in_every_process() -> None:
    program = (
        "from tests.simulation import seeds; from tests.simulation.design import releases;"
        "print(*seeds.run(7, releases(), with_story=True).story, sep='\\n')"
    )
    stories = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert stories[0] == stories[1]
    assert stories[0].splitlines() == list(seeds.run(7, releases(), with_story=True).story)
