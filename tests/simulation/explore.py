"""Explore: `python -m tests.simulation.explore [--seeds N] [--states N] [--replay HISTORY]`.

Small worlds and lifecycles to the end, then long histories by seed, on two processes. Prints what
was explored, and each violation with the line that replays it; exits 1 if there is one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from tests.simulation import cases, seeds
from tests.simulation.design import design
from tests.simulation.exhaustive import explore, replay

REPLAY = "python -m tests.simulation.explore --replay"

SEEDS = 5000
SEEDS_A_TASK = 50
PROCESSES = 2

#: A small world is left at so many moments, lest one of them eat all the time.
STATES = 5_000_000


@dataclass(frozen=True, slots=True)
class Report:
    """What one task found. `explored`: distinct states of a small world, or histories by seed."""

    name: str
    explored: int
    seeds: int = 0
    moves: int = 0
    complete: bool = True
    violations: tuple[tuple[str, str], ...] = ()
    histories: frozenset[int] = field(default_factory=frozenset)


def small(name: str, most: int) -> Report:
    """Explore a small world to its end. States of two worlds differ by what is to come in them."""
    found = explore(cases.case(name, design(strands=False)), limit=most)
    violations: tuple[tuple[str, str], ...] = ()
    if found.violation is not None:
        violations = ((f"{name}:{'.'.join(map(str, found.moves))}", str(found.violation)),)
    return Report(
        name, found.states, moves=found.transitions, complete=found.complete, violations=violations
    )


def large(first: int, count: int) -> Report:
    """Live through the histories of `count` seeds."""
    code, moves = design(), 0
    violations: list[tuple[str, str]] = []
    histories: set[int] = set()
    for seed in range(first, first + count):
        outcome = seeds.run(seed, code)
        moves += outcome.moves
        histories.add(outcome.history)
        if outcome.violation is not None:
            violations.append((str(seed), str(outcome.violation)))
    return Report("", 0, count, moves, violations=tuple(violations), histories=frozenset(histories))


def run(seed_count: int, states: int) -> int:
    """Explore it all; return the number of violations."""
    began, done, violations, histories = time.monotonic(), 0, 0, set[int]()
    explored = moves = 0
    with ProcessPoolExecutor(PROCESSES) as pool:
        for report in _in_turn(pool, seed_count, states):
            explored, moves = explored + report.explored, moves + report.moves
            done += report.seeds
            histories |= report.histories
            violations += len(report.violations)
            if report.name:
                ending = "all of them" if report.complete else "stopped there"
                print(f"{report.name:44} {report.explored:>9,} states, {ending}", flush=True)
            for line, violation in report.violations:
                print(f"VIOLATION {violation}\n  {REPLAY} '{line}'", flush=True)
            if report.seeds and (done % 500 == 0 or done >= seed_count):
                spent = time.monotonic() - began
                print(
                    f"{f'{done:,} of {seed_count:,} seeds':44} {_left(done, seed_count, spent)}",
                    flush=True,
                )
    spent = time.monotonic() - began
    print(f"{moves:,} moves in {spent:.0f} s; replay one: {REPLAY} SEED")
    print(f"simulate: explored={explored + len(histories)} seeds={done} violations={violations}")
    return violations


def _in_turn(pool: ProcessPoolExecutor, seed_count: int, states: int) -> Iterator[Report]:
    """The reports of all tasks as they come, with few tasks waiting at a time."""
    tasks = [(small, (name, states)) for name in cases.names()]
    chunks = (
        (large, (first, min(SEEDS_A_TASK, seed_count - first)))
        for first in range(0, seed_count, SEEDS_A_TASK)
    )
    waiting: set[Future[Report]] = set()
    for function, arguments in [*tasks, *chunks]:
        waiting.add(pool.submit(function, *arguments))  # type: ignore[arg-type]
        if len(waiting) > 2 * PROCESSES:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ready)
    while waiting:
        ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in ready)


def _left(done: int, total: int, spent: float) -> str:
    return f"{spent:.0f} s gone, about {(total - done) * spent / done:.0f} s left"


def tell(history: str) -> int:
    """Print the story of a seed or of a small world's moves; return the number of violations."""
    if history.isdigit():
        outcome = seeds.run(int(history), design(), tell=True)
        story, violation = list(outcome.story), outcome.violation
    else:
        name, _, moves = history.partition(":")
        path = tuple(int(index) for index in moves.split("."))
        story, violation = replay(cases.case(name, design(strands=False)), path)
    print("\n".join(story))
    print(f"VIOLATION {violation}" if violation else "No violation.")
    return 1 if violation else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.explore")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--states", type=int, default=STATES, help="most of a small world")
    parser.add_argument("--replay", metavar="SEED|NAME:MOVES")
    arguments = parser.parse_args()
    if arguments.replay:
        return tell(arguments.replay)
    return 1 if run(arguments.seeds, arguments.states) else 0


if __name__ == "__main__":
    sys.exit(main())
