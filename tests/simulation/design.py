"""The code under test, wired to the ports: the real code or a mutant."""

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
    """Discard a report. The invariants check the state itself."""


@dataclass(frozen=True, slots=True)
class Design:
    """What runs: the bodies of the two functions, from the trigger to the response."""

    ingest: Ingest
    batch: Batch

    def ingest_webhook(self, body: bytes, header: str) -> None:
        """The function ingest_webhook with its response."""
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
        """The function sync_customer with its partial batch response."""
        io("edge", "finish", tuple(self.batch(messages, remaining_ms)))


def real_sync(sync: type[Sync] = Sync, **parts: Any) -> Sync:
    """The deployed sync with all its replicas, wired to the ports.

    `parts` replaces some of them: the customer `replica`, its `store`, its `stripe`, its queue
    (`claims`), or fields of Sync.
    """
    customers = parts.pop("replica", CustomerReplica)(
        store=parts.pop("store", StorePort()),
        queue=parts.pop("claims", QueuePort()),
        stripe=parts.pop("stripe", StripePort()),
        policy=POLICY,
        issuers=(ISSUER,),
        subject_metadata_key=METADATA_KEY,
        report=unreported,
    )
    wired = sync(
        replicas=replicas(
            customers=customers, documents=StorePort(), reads=StripePort(), for_sale=tuple
        ),
        queue=QueuePort(),
        clock=clock,
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
    """Wire the functions. With `strands`, the customers of one batch are synced concurrently."""
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
