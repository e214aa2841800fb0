"""Long histories with every fault on, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.simulation.design import Design
from tests.simulation.invariants import Violated
from tests.simulation.lifecycles import random_script
from tests.simulation.world import Budgets, Move, Secrets, Setup, World

#: Faults strike during so many moves; then the world has to come to rest.
FAULTY_MOVES = 300

#: A history longer than this is not getting anywhere.
LONGEST = 20_000

UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a history went: what it violates, after how many moves, and what tells it from others."""

    violation: Violated | None
    moves: int
    history: int
    story: tuple[str, ...] = ()


def setup_of(rng: Random, design: Design) -> Setup:
    """A world for one history: who lives in it, and how badly it treats them."""
    workers = rng.randrange(3, 7)
    roll = rng.uniform(0, 600)
    outage = rng.choice(((0.0, 0.0), (roll, roll + rng.uniform(60, 600))))
    return Setup(
        script=random_script(
            rng, customers=rng.choice((1, 2, 3, 5)), changes=rng.randrange(20, 25)
        ),
        design=design,
        workers=workers,
        budgets=Budgets(*[UNLIMITED] * len(Budgets._fields)),
        chance=rng.uniform,
        # The webhook's function is close to Stripe's clock, or it could verify nothing.
        clock_skews=(rng.uniform(-4, 60), *(rng.uniform(-600, 600) for _ in range(workers))),
        secrets=Secrets(roll=roll),
        webhook_delay=rng.choice((0.0, 5.0, 120.0)),
        ingest_stops=True,
        outage=outage,
    )


def run(seed: int, design: Design, *, tell: bool = False) -> Outcome:
    """Live through the history of `seed`."""
    rng = Random(seed)
    world = World(setup_of(rng, design))
    if tell:
        world.story = []
    fault_rate = rng.choice((0.02, 0.08, 0.2))
    pace = rng.choice((0.02, 0.3, 1.5))
    moves, history, violation = 0, 0, None
    try:
        while True:
            move = _choose(world, rng, fault_rate if moves < FAULTY_MOVES else 0.0)
            if move is None:
                world.check_quiet()
                break
            moves += 1
            if moves > LONGEST:
                raise Violated("Progress", f"not quiet after {LONGEST} moves")
            world.take(move)
            history = hash((history, move))
            world.now += rng.uniform(0, pace)
    except Violated as found:
        violation = found
    finally:
        for actor in world.actors.values():
            actor.position.kill()
    return Outcome(violation, moves, history, tuple(world.story or ()))


def _choose(world: World, rng: Random, fault_rate: float) -> Move | None:
    """A move, or a fault at the rate given; None when the world is quiet."""
    moves = world.moves()
    if moves and rng.random() < fault_rate and (faults := world.faults()):
        return rng.choice(faults)
    return rng.choice(moves) if moves else None
