"""What a world starts with: its script, its faults, its clocks, and what is deployed into it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from billing.sync import MARGIN_SECONDS
from tests.simulation.actors import Position, Program, live
from tests.simulation.design import Design
from tests.simulation.script import Script

#: Seconds until Stripe retries a webhook. Later retries come later, and test nothing more.
WEBHOOK_RETRY_SECONDS = 60

#: How long one `wait` fault takes: more than the delay of any queue.
WAIT_SECONDS = 5.0

#: How late one `hold` fault makes Stripe's first delivery: more than the worker's margin.
HOLD_SECONDS = 70.0


class Budgets(NamedTuple):
    """How many faults of each kind are left.

    crashes     a function ends at an I/O point
    duplicates  Stripe delivers an event again
    lags        a read of Stripe is stale, or an eventually consistent one of the table
    failures    a call fails, or its response is lost
    waits       time passes although something else could happen
    holds       the first delivery of a webhook is late
    copies      SQS delivers a message that is being processed
    dates       a response of Stripe's has a wrong Date
    deploys     the next design is deployed
    readers     somebody asks what a subject may use
    purchases   somebody buys, and perhaps comes back from a paid session
    """

    crashes: int = 0
    duplicates: int = 0
    lags: int = 0
    failures: int = 0
    waits: int = 0
    holds: int = 0
    copies: int = 0
    dates: int = 0
    deploys: int = 0
    readers: int = 0
    purchases: int = 0


@dataclass(frozen=True, slots=True)
class Secrets:
    """A rotation of the signing secret, `roll` seconds after the start.

    Stripe signs with both secrets for `overlap` seconds. Secrets Manager returns both from `stored`
    seconds after the rotation. A function caches the secrets as long as adapters/secrets.py does;
    refreshed secrets are at most as old as its pause between two forced reads.
    """

    roll: float = float("inf")
    stored: float = 30.0
    overlap: float = 120.0

    def signing(self, elapsed: float) -> tuple[str, ...]:
        if elapsed < self.roll:
            return ("whsec_old",)
        return ("whsec_old", "whsec_new") if elapsed < self.roll + self.overlap else ("whsec_new",)

    def verifying(self, elapsed: float) -> tuple[str, ...]:
        if elapsed < self.roll + self.stored:
            return ("whsec_old",)
        return ("whsec_new", "whsec_old")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a world starts with. `chance(low, high)` draws a number; by default it returns `low`.

    designs           what is deployed at first, and by each later deploy
    clock_skews       how far our clocks are off: that of ingest_webhook, then the workers'
    skew              how far two of Stripe's clocks may differ: a read is then less stale
    dates             how far a wrong Date is off
    waits             how long a wait may take
    ingest_stops      whether ingest_webhook stops at each I/O point, or runs without a stop
    worker_stops      the same for a worker; one that does not stop receives what is visible at once
    delivers_at_once  whether a webhook arrives with its change: a late message stands for a late
                      webhook then
    outage            Stripe refuses every request between these seconds
    throttled         customers whose reads Stripe refuses for good
    max_subscriptions  rows with more than that do not fit
    subjects          those of readers and buyers, each in its turn
    """

    script: Script
    designs: tuple[Design, ...]
    workers: int = 2
    budgets: Budgets = field(default_factory=Budgets)
    start: Callable[[Hashable, Program], Position] = live
    chance: Callable[[float, float], float] = lambda low, high: low
    clock_skews: tuple[float, ...] = ()
    skew: float = 0.0
    dates: tuple[float, ...] = ()
    secrets: Secrets = field(default_factory=Secrets)
    webhook_delay: float = 0.0
    waits: tuple[float, ...] = (WAIT_SECONDS,)
    ingest_stops: bool = False
    worker_stops: bool = True
    delivers_at_once: bool = False
    outage: tuple[float, float] = (0.0, 0.0)
    throttled: frozenset[str] = frozenset()
    max_subscriptions: int | None = None
    subjects: tuple[str, ...] = ()

    @property
    def max_lag(self) -> float:
        """How stale a read may be. The clocks of two servers share the worker's margin with it."""
        return MARGIN_SECONDS - 2 * self.skew
