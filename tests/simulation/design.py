"""The code under test, wired to the ports: the real one, or a mutant of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from billing.batch import Batch, Message
from billing.errors import RequestRefused, Unavailable
from billing.events import Hint
from billing.ingest import Ingest
from billing.model import CustomerKey, Key
from billing.sync import Sync
from tests.simulation.actors import (
    QueuePort,
    SecretsPort,
    StorePort,
    StripePort,
    clock,
    io,
    jitter,
    one_after_another,
    pause,
    remaining_ms,
    side_by_side,
)
from tests.simulation.stripe_model import METADATA_KEY, POLICY

ISSUER = "https://issuer.example"


def unreported(name: str, /, **details: object) -> None:
    """Reports are for people; the simulation looks for itself."""


@dataclass(frozen=True, slots=True)
class Design:
    """What runs: the two functions' bodies, from the trigger to the answer."""

    ingest: Ingest
    batch: Batch

    def take_in(self, body: bytes, header: str) -> None:
        """ingest_webhook, its answer included."""
        try:
            self.ingest(body, header)
        except RequestRefused as error:
            status = error.status
        except Unavailable:
            status = 503
        else:
            status = 200
        io("edge", "answer", status)

    def work(self, messages: list[Message]) -> None:
        """sync_customer, its partial batch response included."""
        io("edge", "finish", tuple(self.batch(messages, remaining_ms)))


def real_sync(sync: type[Sync] = Sync) -> Sync:
    return sync(
        store=StorePort(),
        stripe=StripePort(),
        queue=QueuePort(),
        policy=POLICY,
        issuer=ISSUER,
        subject_metadata_key=METADATA_KEY,
        pause=pause,
        report=unreported,
    )


def design(
    *,
    sync: Sync | None = None,
    ingest: type[Ingest] = Ingest,
    batch: type[Batch] = Batch,
    strands: bool = True,
) -> Design:
    """Wire the functions; `strands` lets the customers of a batch be synced side by side."""
    sync_customer = sync or real_sync()

    def synced(key: Key, hints: Sequence[Hint], remaining_ms: Callable[[], int]) -> None:
        assert isinstance(key, CustomerKey), "nothing else happens at this Stripe"
        sync_customer(key, hints, remaining_ms)

    return Design(
        ingest=ingest(
            secrets=SecretsPort(),
            queue=QueuePort(),
            livemode=False,
            account=None,
            clock=clock,
            report=unreported,
        ),
        batch=batch(
            sync=synced,
            queue=QueuePort(),
            side_by_side=side_by_side if strands else one_after_another,
            clock=clock,
            jitter=jitter,
            report=unreported,
        ),
    )
