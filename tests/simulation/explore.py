"""Run it: `python -m tests.simulation.explore [--seeds N] [--states N] [--replay HISTORY]`.

Explores the small worlds and lifecycles completely, then runs long histories from seeds, in two
processes. Prints what it explored, and each violation with the command that replays it. Exits with
status 1 if there is a violation.
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
SEEDS_PER_TASK = 50
PROCESSES = 2

#: The exploration of a small world stops after this many moments.
MAX_STATES = 5_000_000


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of one task: the states of a small world, or the histories of some seeds."""

    name: str
    explored: int
    seeds: int = 0
    moves: int = 0
    complete: bool = True
    violations: tuple[tuple[str, str], ...] = ()
    histories: frozenset[int] = field(default_factory=frozenset)


def small(name: str, limit: int) -> TaskResult:
    """Explore a small world. No two worlds share a state, because their scripts differ."""
    found = explore(cases.case(name, design(strands=False)), limit=limit)
    violations: tuple[tuple[str, str], ...] = ()
    if found.violation is not None:
        violations = ((f"{name}:{'.'.join(map(str, found.moves))}", str(found.violation)),)
    return TaskResult(
        name, found.states, moves=found.transitions, complete=found.complete, violations=violations
    )


def large(first: int, count: int) -> TaskResult:
    """Run the histories of `count` seeds, from `first`."""
    code, moves = design(), 0
    violations: list[tuple[str, str]] = []
    histories: set[int] = set()
    for seed in range(first, first + count):
        outcome = seeds.run(seed, code)
        moves += outcome.moves
        histories.add(outcome.history)
        if outcome.violation is not None:
            violations.append((str(seed), str(outcome.violation)))
    return TaskResult(
        "", 0, count, moves, violations=tuple(violations), histories=frozenset(histories)
    )


def run(seed_count: int, states: int) -> int:
    """Explore everything. Return the number of violations."""
    began, done, violations, histories = time.monotonic(), 0, 0, set[int]()
    explored = moves = 0
    with ProcessPoolExecutor(PROCESSES) as pool:
        for result in _results(pool, seed_count, states):
            explored, moves = explored + result.explored, moves + result.moves
            done += result.seeds
            histories |= result.histories
            violations += len(result.violations)
            if result.name:
                ending = "all of them" if result.complete else "stopped there"
                print(f"{result.name:44} {result.explored:>9,} states, {ending}", flush=True)
            for line, violation in result.violations:
                print(f"VIOLATION {violation}\n  {REPLAY} '{line}'", flush=True)
            if result.seeds and (done % 500 == 0 or done >= seed_count):
                spent = time.monotonic() - began
                print(
                    f"{f'{done:,} of {seed_count:,} seeds':44} {_left(done, seed_count, spent)}",
                    flush=True,
                )
    spent = time.monotonic() - began
    print(f"{moves:,} moves in {spent:.0f} s; replay a seed: {REPLAY} SEED")
    print(f"simulate: explored={explored + len(histories)} seeds={done} violations={violations}")
    return violations


def _results(pool: ProcessPoolExecutor, seed_count: int, states: int) -> Iterator[TaskResult]:
    """Yield the result of each task as it ends. Only a few tasks are submitted at a time."""
    tasks = [(small, (name, states)) for name in cases.names()]
    chunks = (
        (large, (first, min(SEEDS_PER_TASK, seed_count - first)))
        for first in range(0, seed_count, SEEDS_PER_TASK)
    )
    pending: set[Future[TaskResult]] = set()
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
    """Print the story of a seed, or of moves in a small world. Return the number of violations."""
    if history.isdigit():
        outcome = seeds.run(int(history), design(), record=True)
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
    parser.add_argument("--states", type=int, default=MAX_STATES, help="maximum per small world")
    parser.add_argument("--replay", metavar="SEED|NAME:MOVES")
    arguments = parser.parse_args()
    if arguments.replay:
        return print_story(arguments.replay)
    return 1 if run(arguments.seeds, arguments.states) else 0


if __name__ == "__main__":
    sys.exit(main())
