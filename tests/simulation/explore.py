"""Explore: `python -m tests.simulation.explore [--seeds N] [--states N] [--replay HISTORY]`.

Explores small worlds and lifecycles to the end, then long histories by seed, on two processes.
Prints what was explored, and for each violation the command that replays it. Exits 1 if there is
a violation.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from tests.simulation import cases, seeds
from tests.simulation.design import releases
from tests.simulation.exhaustive import explore, replay

REPLAY = "python -m tests.simulation.explore --replay"

SEEDS = 10_000
SEEDS_PER_TASK = 50
PROCESSES = 2

#: Exploring a small world stops at this many moments, so that no world takes all the time.
STATES = 5_000_000


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one task. `explored` counts the distinct states of a small world."""

    name: str
    explored: int
    seeds: int = 0
    moves: int = 0
    complete: bool = True
    violations: tuple[tuple[str, str], ...] = ()
    histories: frozenset[int] = field(default_factory=frozenset)


def explore_small_world(name: str, max_states: int) -> Report:
    """Explore a small world to its end."""
    found = explore(cases.case(name, cases.real), limit=max_states)
    violations: tuple[tuple[str, str], ...] = ()
    if found.violation is not None:
        violations = ((f"{name}:{'.'.join(map(str, found.moves))}", str(found.violation)),)
    return Report(
        name, found.states, moves=found.transitions, complete=found.complete, violations=violations
    )


def run_seeds(first: int, count: int) -> Report:
    """Run the histories of `count` seeds, starting with seed `first`."""
    code, moves = releases(), 0
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
    """Run all tasks and print their results; return the number of violations."""
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
    print(f"{moves:,} moves in {spent:.0f} s; to replay a seed: {REPLAY} SEED")
    print(f"simulate: explored={explored + len(histories)} seeds={done} violations={violations}")
    return violations


def _in_turn(pool: ProcessPoolExecutor, seed_count: int, states: int) -> Iterator[Report]:
    """Yield the report of each task when it ends, with few pending tasks at a time."""
    tasks = [(explore_small_world, (name, states)) for name in cases.names()]
    chunks = (
        (run_seeds, (first, min(SEEDS_PER_TASK, seed_count - first)))
        for first in range(0, seed_count, SEEDS_PER_TASK)
    )
    pending: set[Future[Report]] = set()
    for function, arguments in [*tasks, *chunks]:
        pending.add(pool.submit(function, *arguments))  # type: ignore[arg-type]
        if len(pending) > 2 * PROCESSES:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ready)
    while pending:
        ready, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in ready)


def _left(done: int, total: int, spent: float) -> str:
    return f"{spent:.0f} s elapsed, about {(total - done) * spent / done:.0f} s left"


def print_story(history: str) -> int:
    """Print the story of a seed or of a small world's moves; return the number of violations."""
    if history.isdigit():
        outcome = seeds.run(int(history), releases(), with_story=True)
        story, violation = list(outcome.story), outcome.violation
    else:
        name, _, moves = history.partition(":")
        path = tuple(int(index) for index in moves.split("."))
        story, violation = replay(cases.case(name, cases.real), path)
    print("\n".join(story))
    print(f"VIOLATION {violation}" if violation else "No violation.")
    return 1 if violation else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.explore")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--states", type=int, default=STATES, help="limit for each small world")
    parser.add_argument("--replay", metavar="SEED|NAME:MOVES")
    arguments = parser.parse_args()
    if arguments.replay:
        return print_story(arguments.replay)
    return 1 if run(arguments.seeds, arguments.states) else 0


if __name__ == "__main__":
    sys.exit(main())
