"""The code under test, wired to the ports: the real one, or a mutant of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from billing.adapters import signature
from billing.batch import Batch, Message
from billing.errors import RequestRefused, Unavailable
from billing.ingest import Ingest
from billing.keys import OWN_ACCOUNT
from billing.replicas import CustomerReplica, replicas
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
    parallel,
    pause,
    remaining_ms,
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


def real_sync(sync: type[Sync] = Sync, **parts: Any) -> Sync:
    """The sync as it is deployed, its dispatch included, on the ports; `parts` replaces some of
    them: `store` and `stripe` of the customers' replica, or fields of the sync itself."""
    customers = CustomerReplica(
        store=parts.pop("store", StorePort()),
        stripe=parts.pop("stripe", StripePort()),
        policy=POLICY,
        issuer=ISSUER,
        subject_metadata_key=METADATA_KEY,
        report=unreported,
    )
    wired = sync(
        replicas=replicas(
            customers=customers, documents=StorePort(), reads=StripePort(), for_sale=tuple
        ),
        queue=QueuePort(),
        pause=pause,
    )
    return replace(wired, **parts)


def design(
    *,
    sync: Sync | None = None,
    ingest: type[Ingest] = Ingest,
    batch: type[Batch] = Batch,
    strands: bool = True,
) -> Design:
    """Wire the functions; `strands` lets the customers of a batch be synced side by side."""
    return Design(
        ingest=ingest(
            verify=signature.verify,
            secrets=SecretsPort(),
            queue=QueuePort(),
            livemode=False,
            account=OWN_ACCOUNT,
            clock=clock,
            report=unreported,
        ),
        batch=batch(
            sync=sync or real_sync(),
            queue=QueuePort(),
            parallel=parallel if strands else one_after_another,
            clock=clock,
            jitter=jitter,
            report=unreported,
        ),
    )
