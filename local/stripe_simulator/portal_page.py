"""Placeholder."""

from __future__ import annotations

from starlette.routing import Route

from .simulator import Simulator


def routes(simulator: Simulator) -> list[Route]:
    return []
