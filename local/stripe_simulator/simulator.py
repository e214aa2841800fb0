"""The simulator without HTTP: both modes, the clock, deliveries, faults and logs."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import Any

from . import billing_steps, entitlements, portal, test_clocks
from .clock import Clock
from .faults import Faults
from .library import CURRENT_VERSION
from .tables import Json
from .webhooks import Deliveries
from .world import Caller, Settings, World

TEST, LIVE = False, True


@dataclass(frozen=True)
class Remembered:
    """The call that used an idempotency key, and the response that a repetition gets."""

    method: str
    path: str
    params: Json
    status: int
    body: bytes


@dataclass
class Simulator:
    """The state of one account. With `seed`, ids repeat from run to run."""

    seed: int | None = None
    api_version: str = CURRENT_VERSION
    api_keys: frozenset[str] = frozenset()  # empty: any well-formed key
    permissions: dict[str, frozenset[str]] = field(default_factory=dict)  # of restricted keys
    used: dict[str, set[str]] = field(default_factory=dict)  # the permissions that a key has used
    base_url: str = ""
    clock: Clock = field(default_factory=Clock)
    deliveries: Deliveries = field(default_factory=Deliveries)
    faults: Faults = field(default_factory=Faults)
    settings: Settings = field(default_factory=Settings)
    requests: list[Json] = field(default_factory=list)
    remembered: dict[tuple[bool, str], Remembered] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.worlds: dict[bool, World] = {}
        self._make_worlds()

    def _make_worlds(self) -> None:
        account = None
        for livemode in (TEST, LIVE):
            world = World(
                livemode=livemode,
                clock=self.clock,
                ids=self._random,
                api_version=self.api_version,
                settings=self.settings,
                settle=entitlements.settle,
                publish=self.deliveries.publish,
            )
            # One account has both modes.
            world.account_id = account = account or world.account_id
            self.worlds[livemode] = world
            with world.changing():
                portal.default_configuration(world)

    def token(self, length: int) -> str:
        return self.worlds[TEST].token(length)

    def run_due(self) -> list[Json]:
        """Run the billing steps that are due now. Returns the steps that ran."""
        now = self.clock.now()
        ran: list[Json] = []
        for world in self.worlds.values():
            ran += billing_steps.run_due(world, now)
            ran += test_clocks.run_advancing(world)
        return ran

    def advance(self, seconds: int) -> list[Json]:
        self.clock.advance(seconds)
        return self.run_due()

    def caller(self, **known: Any) -> Caller:
        return Caller(base_url=self.base_url, **known)

    def set_settings(self, changes: Json) -> Json:
        """Change settings in place and return them all. Raises KeyError for an unknown name."""
        current = asdict(self.settings)
        for name, value in changes.items():
            if name not in current:
                raise KeyError(name)
            setattr(self.settings, name, value)
        for world in self.worlds.values():
            world.next_step = None
        return asdict(self.settings)

    async def reset(self) -> None:
        """Return to an empty account at the real time. No id is ever used twice."""
        await self.deliveries.forget()
        self.faults.active.clear()
        self.requests.clear()
        self.remembered.clear()
        self.permissions.clear()
        self.used.clear()
        self.clock.offset = 0
        self.set_settings(asdict(Settings()))
        account = self.worlds[TEST].account_id
        self._make_worlds()
        for world in self.worlds.values():
            world.account_id = account
