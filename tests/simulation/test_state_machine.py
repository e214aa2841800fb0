"""Hypothesis picks the moves of the same world, and shrinks a failing history."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.simulation.choices import faults_of, moves_of
from tests.simulation.design import releases
from tests.simulation.seeds import MAX_MOVES, setup_of
from tests.simulation.world import World


class Portcullis(RuleBasedStateMachine):
    """Moves and faults in any order. At the end the world must become quiet and is checked."""

    world: World

    @initialize(seed=st.integers(0, 1 << 16))
    def begin(self, seed: int) -> None:
        self.world = World(setup_of(Random(seed), releases()))

    @rule(choice=st.integers(0, 1 << 10))
    @precondition(lambda self: bool(moves_of(self.world)))
    def make_a_move(self, choice: int) -> None:
        moves = moves_of(self.world)
        self.world.take(moves[choice % len(moves)])

    @rule(choice=st.integers(0, 1 << 10))
    @precondition(lambda self: bool(faults_of(self.world)))
    def inject_a_fault(self, choice: int) -> None:
        faults = faults_of(self.world)
        self.world.take(faults[choice % len(faults)])

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    def teardown(self) -> None:
        world: Any = getattr(self, "world", None)
        if world is None:
            return
        rng = Random(0)
        for _ in range(MAX_MOVES):
            moves = moves_of(world)
            if not moves:
                break
            world.take(rng.choice(moves))
        assert not moves_of(world), "the world does not become quiet"
        world.check_quiet()


Portcullis.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

TestEveryPromiseHolds = Portcullis.TestCase
