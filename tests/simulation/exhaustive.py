"""Every history of a small world: depth first, each moment visited once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.simulation.actors import Memory
from tests.simulation.invariants import Violated
from tests.simulation.world import Move, Setup, World

#: A history longer than this is not getting anywhere.
LONGEST = 400


@dataclass(slots=True)
class Explored:
    """What an exploration found: distinct moments, the ways between them, and the histories, each
    ending quiet or where another has been. `moves`: the failing one, as indices of choices."""

    states: int = 0
    histories: int = 0
    transitions: int = 0
    violation: Violated | None = None
    moves: tuple[int, ...] = ()
    complete: bool = False


def choices(world: World) -> list[Move]:
    """Everything that may happen now, in an order that a replay finds again."""
    return world.moves() + world.faults()


def explore(setup: Setup, *, limit: int | None = None) -> Explored:
    """Visit every moment that can be reached, or the first `limit`; stop at a violation."""
    found = Explored()
    world = World(setup)
    assert isinstance(setup.start, Memory), "exploring returns to moments"
    seen = {world.fingerprint()}
    path: list[int] = []
    stack: list[tuple[object, Iterator[tuple[int, Move]]]] = []

    def enter() -> None:
        if len(stack) > LONGEST:
            raise Violated("Progress", f"not quiet after {LONGEST} moves")
        moves = world.moves()
        if not moves:
            found.histories += 1
            world.check_quiet()
        stack.append((world.snapshot(), enumerate(moves + world.faults())))

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
            world.restore(moment)  # type: ignore[arg-type]
            path.append(index)
            world.take(move)
            found.transitions += 1
            fingerprint = world.fingerprint()
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
    """The story of a history, and what it violates."""
    world = World(setup)
    world.story = []
    try:
        for index in moves:
            world.take(choices(world)[index])
        if not world.moves():
            world.check_quiet()
    except Violated as violation:
        return world.story, violation
    return world.story, None
