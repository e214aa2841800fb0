"""Explore every history of a small world, depth first. Each moment is visited once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.simulation.actors import Memory
from tests.simulation.choices import Move, faults_of, moves_of
from tests.simulation.invariant import Violated
from tests.simulation.setups import Setup
from tests.simulation.world import World

#: A history with more moves than this makes no progress.
MAX_MOVES = 2000


@dataclass(slots=True)
class Explored:
    """The result of an exploration.

    `states` counts distinct moments and `transitions` the moves between them. A history ends when
    the world is quiet, or at a moment that another history has visited. `moves` is the failing
    history, as indices into `choices`.
    """

    states: int = 0
    histories: int = 0
    transitions: int = 0
    violation: Violated | None = None
    moves: tuple[int, ...] = ()
    complete: bool = False


def choices(world: World) -> list[Move]:
    """Everything that may happen now, in a fixed order: a replay finds a choice by its index."""
    return moves_of(world) + faults_of(world)


def explore(setup: Setup, *, limit: int | None = None) -> Explored:
    """Visit every reachable moment, or the first `limit`. Stops at a violation."""
    found = Explored()
    world = World(setup)
    assert isinstance(setup.start, Memory), "exploring restores moments"
    seen = {world.moments.fingerprint()}
    path: list[int] = []
    stack: list[tuple[object, Iterator[tuple[int, Move]]]] = []

    def enter() -> None:
        if len(stack) > MAX_MOVES:
            raise Violated("Progress", f"not quiet after {MAX_MOVES} moves")
        moves = moves_of(world)
        if not moves:
            found.histories += 1
            world.check_quiet()
        stack.append((world.moments.snapshot(), enumerate(moves + faults_of(world))))

    try:
        enter()
        while stack:
            moment, left = stack[-1]
            index, move = next(left, (0, None))
            if move is None:
                stack.pop()
                if path:
                    path.pop()
                continue
            world.moments.restore(moment)  # type: ignore[arg-type]
            path.append(index)
            world.take(move)
            found.transitions += 1
            fingerprint = world.moments.fingerprint()
            if fingerprint in seen:
                found.histories += 1
                path.pop()
                continue
            seen.add(fingerprint)
            if limit is not None and len(seen) >= limit:
                found.states = len(seen)
                return found
            enter()
    except Violated as violation:
        found.histories += 1
        found.violation, found.moves = violation, tuple(path)
    else:
        found.complete = True
    found.states = len(seen)
    return found


def replay(setup: Setup, moves: tuple[int, ...]) -> tuple[list[str], Violated | None]:
    """Return the story of a history, and its violation if there is one."""
    world = World(setup)
    world.story = []
    try:
        for index in moves:
            world.take(choices(world)[index])
        if not moves_of(world):
            world.check_quiet()
    except Violated as violation:
        return world.story, violation
    return world.story, None
