"""Fixtures for the deploy tests."""

from __future__ import annotations

import pytest

from tests.unit.deploy.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def deployed(world: World) -> World:
    world.deploy()
    return world
