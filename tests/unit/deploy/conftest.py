"""Fixtures for the deploy tests. `client` is Stripe's library, connected to the simulator."""

from __future__ import annotations

import pytest

from tests.unit.deploy.world import World
from tests.unit.stripe_simulator.conftest import base_url, client, control

__all__ = ["base_url", "client", "control", "deployed", "world"]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def deployed(world: World) -> World:
    world.deploy()
    return world
