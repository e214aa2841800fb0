"""Long histories with every kind of fault, generated from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.simulation.choices import Move, faults_of, moves_of
from tests.simulation.design import Design
from tests.simulation.histories import random_script
from tests.simulation.invariant import Violated
from tests.simulation.setups import WAIT_SECONDS, Budgets, Secrets, Setup
from tests.simulation.world import World

#: Faults occur only during this many moves. After them the world must become quiet.
MAX_FAULTY_MOVES = 80

#: A history with more moves than this makes no progress: messages are retried for three days.
MAX_MOVES = 100_000

UNLIMITED = 1 << 30

#: Faults of any number, and a few people who ask.
BUDGETS = Budgets(*[UNLIMITED] * len(Budgets._fields))._replace(readers=10)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a history. `history` is a hash that identifies it."""

    violation: Violated | None
    moves: int
    history: int
    story: tuple[str, ...] = ()


def setup_of(rng: Random, designs: tuple[Design, ...]) -> Setup:
    """Draw the world of one history: its script, workers, clocks and faults."""
    workers = rng.randrange(3, 7)
    roll = rng.uniform(0, 600)
    outage = rng.choice(((0.0, 0.0), (roll, roll + rng.uniform(60, 600))))
    customers = rng.choice((1, 2, 3, 5))
    script = random_script(rng, customers=customers, changes=rng.randrange(4, 7))
    # Either our clocks may be wrong by any amount or Stripe's Date, but not both at once. Nobody
    # buys while a deploy changes the issuer: see docs/convergence.md.
    is_date_wrong, has_deploy = rng.random() < 0.5, rng.random() < 0.5
    budgets = BUDGETS._replace(
        dates=UNLIMITED if is_date_wrong else 0,
        deploys=1 if has_deploy else 0,
        purchases=0 if has_deploy else 3,
    )
    skews = [
        rng.uniform(-1, 1) if is_date_wrong else rng.uniform(-600, 600) for _ in range(workers)
    ]
    return Setup(
        script=script,
        designs=designs,
        workers=workers,
        budgets=budgets,
        chance=rng.uniform,
        # The webhook's function has a clock close to Stripe's, or no signature would verify.
        clock_skews=(rng.uniform(-4, 60), *skews),
        skew=rng.choice((0.0, 2.0, 10.0)),
        dates=tuple(rng.uniform(-4000, 4000) for _ in range(3)),
        secrets=Secrets(roll=roll),
        webhook_delay=rng.choice((0.0, 5.0, 120.0)),
        waits=(WAIT_SECONDS, rng.uniform(0, 85)),
        ingest_stops=True,
        outage=outage,
        throttled=frozenset({"cus_0"} if rng.random() < 0.005 else ()),
        max_subscriptions=rng.choice((None, None, None, None, 2)),
        subjects=(*script.claims, "user_new"),
    )


def run(seed: int, designs: tuple[Design, ...], *, with_story: bool = False) -> Outcome:
    """Run the history of `seed`; with `with_story`, record its story."""
    rng = Random(seed)
    world = World(setup_of(rng, designs))
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
    moves = moves_of(world)
    if moves and rng.random() < fault_rate and (faults := faults_of(world)):
        return rng.choice(faults)
    return rng.choice(moves) if moves else None
