"""Long histories with every kind of fault, generated from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.simulation.design import Design
from tests.simulation.invariants import Violated
from tests.simulation.lifecycles import random_script
from tests.simulation.setups import Budgets, Secrets, Setup
from tests.simulation.world import Move, World

#: Faults occur only during this many moves. After them the world must become quiet.
MAX_FAULTY_MOVES = 300

#: A history with more moves than this makes no progress.
MAX_MOVES = 20_000

UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a history. `history` is a hash that identifies it."""

    violation: Violated | None
    moves: int
    history: int
    story: tuple[str, ...] = ()


def setup_of(rng: Random, design: Design) -> Setup:
    """Draw the world of one history: its script, workers, clocks and faults."""
    workers = rng.randrange(3, 7)
    roll = rng.uniform(0, 600)
    outage = rng.choice(((0.0, 0.0), (roll, roll + rng.uniform(60, 600))))
    return Setup(
        script=random_script(
            rng, customers=rng.choice((1, 2, 3, 5)), changes=rng.randrange(20, 25)
        ),
        designs=(design,),
        workers=workers,
        budgets=Budgets(*[UNLIMITED] * len(Budgets._fields)),
        chance=rng.uniform,
        # The webhook's function has a clock close to Stripe's, or no signature would verify.
        clock_skews=(rng.uniform(-4, 60), *(rng.uniform(-600, 600) for _ in range(workers))),
        secrets=Secrets(roll=roll),
        webhook_delay=rng.choice((0.0, 5.0, 120.0)),
        ingest_stops=True,
        outage=outage,
    )


def run(seed: int, design: Design, *, with_story: bool = False) -> Outcome:
    """Run the history of `seed`; with `with_story`, record its story."""
    rng = Random(seed)
    world = World(setup_of(rng, design))
    if with_story:
        world.story = []
    fault_rate = rng.choice((0.02, 0.08, 0.2))
    pace = rng.choice((0.02, 0.3, 1.5))
    moves, history, violation = 0, 0, None
    try:
        while True:
            move = _choose(world, rng, fault_rate if moves < MAX_FAULTY_MOVES else 0.0)
            if move is None:
                world.check_quiet()
                break
            moves += 1
            if moves > MAX_MOVES:
                raise Violated("Progress", f"not quiet after {MAX_MOVES} moves")
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
    """Draw a move or, at `fault_rate`, a fault; None when the world is quiet."""
    moves = world.moves()
    if moves and rng.random() < fault_rate and (faults := world.faults()):
        return rng.choice(faults)
    return rng.choice(moves) if moves else None
