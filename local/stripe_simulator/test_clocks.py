"""Test clocks, which exist in test mode only.

https://docs.stripe.com/billing/testing/test-clocks
"""

from __future__ import annotations

from .tables import Json
from .world import World

DELETED_AFTER_SECONDS = 30 * 86_400


def unsaved(world: World, frozen_time: int, name: str | None = None) -> Json:
    """Return a test clock that stands at `frozen_time` (Unix seconds)."""
    return {
        "id": world.id("test_helpers.test_clock"),
        "object": "test_helpers.test_clock",
        "created": world.now(),
        "deletes_after": world.now() + DELETED_AFTER_SECONDS,
        "frozen_time": frozen_time,
        "livemode": world.livemode,
        "name": name,
        "status": "ready",
        "status_details": {},
    }
