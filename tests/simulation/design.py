"""The code under test, wired to the ports: the real code or a mutant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from billing.adapters import signature
from billing.batch import Batch, Message
from billing.checkout.buyers import Buyers
from billing.checkout.sessions import CheckoutSessions
from billing.configuration.file import Checkout
from billing.customers import Customers
from billing.errors import RequestRefused, Unavailable
from billing.ingest import Ingest
from billing.keys import OWN_ACCOUNT
from billing.link import Issuers
from billing.replicas import CustomerReplica, replicas
from billing.return_urls import ReturnUrls
from billing.sync import ATTEMPT_BUDGET_MS, Sync
from tests.simulation.actors import (
    PRICE,
    QueuePort,
    ReaderPort,
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

#: The issuer that a team used before, and the issuers after a deploy that changes it.
FORMER_ISSUER = "https://former.example"
ISSUERS = (ISSUER, FORMER_ISSUER)

#: The longest pause between two requests of a reader, in seconds.
MAX_PAUSE_SECONDS = 100


def unreported(name: str, /, **details: object) -> None:
    """Discard a report. The invariants check the state itself."""


#: Where checkout leads back to.
RETURN_URLS = ReturnUrls(
    allowed_origins=("https://app.example",), default="https://app.example/", stage="prod"
)


@dataclass(frozen=True, slots=True)
class Design:
    """What runs: the bodies of the functions, from the trigger to the response."""

    ingest: Ingest
    batch: Batch
    checkout: CheckoutSessions
    issuers: Issuers

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

    def ask(self, subject: str) -> None:
        """The function get_entitlements, three times in one process, which remembers links."""
        customers = Customers(ReaderPort(), mode="test", issuers=self.issuers, clock=clock)
        for _ in range(3):
            try:
                row = customers.of(subject)
            except Unavailable:
                return
            io("edge", "respond", subject, row)
            pause(MAX_PAUSE_SECONDS)

    def buy(self, subject: str) -> None:
        """The function create_checkout_session."""
        try:
            created = self.checkout.create(subject, {"price": PRICE["id"]})
        except (RequestRefused, Unavailable):
            return
        io("edge", "sell", subject, created.id)

    def retrieve(self, subject: str, session: str) -> None:
        """The function get_checkout_session, on the way back from a paid session."""
        try:
            found = self.checkout.retrieve(subject, session)
        except (RequestRefused, Unavailable):
            return
        io("edge", "respond", subject, found.row, session)

    def work(self, messages: list[Message]) -> None:
        """The function sync_customer with its partial batch response."""
        io("edge", "finish", tuple(self.batch(messages, remaining_ms)))


def real_sync(sync: type[Sync] = Sync, *, issuers: Issuers = (ISSUER,), **parts: Any) -> Sync:
    """The deployed sync with all its replicas, wired to the ports.

    `parts` replaces some of them: the customer `replica`, its `store`, its `stripe`, its queue
    (`claims`), or fields of Sync.
    """
    customers = parts.pop("replica", CustomerReplica)(
        store=parts.pop("store", StorePort()),
        queue=parts.pop("claims", QueuePort()),
        stripe=parts.pop("stripe", StripePort()),
        policy=POLICY,
        issuers=issuers,
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


def real_checkout(sync: Sync, issuers: Issuers, buyers: type[Buyers] = Buyers) -> CheckoutSessions:
    """The deployed checkout, wired to the ports."""
    return CheckoutSessions(
        buyers=buyers(
            store=StorePort(),
            stripe=StripePort(),
            sync=lambda key: sync(key, (), lambda: ATTEMPT_BUDGET_MS, on_demand=True),
            account=OWN_ACCOUNT,
            mode="test",
            issuers=issuers,
            subject_metadata_key=METADATA_KEY,
        ),
        stripe=StripePort(),
        read_catalog=dict,
        pause=pause,
        clock=clock,
        offer=Checkout(prices=(PRICE["id"],)),
        policy=POLICY,
        return_urls=RETURN_URLS,
    )


def releases() -> tuple[Design, ...]:
    """What is deployed in a long history: at first, and once the issuer has changed."""
    return (design(issuers=(FORMER_ISSUER,)), design(issuers=ISSUERS))


class Make(Protocol):
    """Wires a design: the real one, or a mutant."""

    def __call__(self, *, issuers: Issuers = (ISSUER,)) -> Design: ...


def design(
    *,
    sync: Sync | None = None,
    ingest: type[Ingest] = Ingest,
    batch: type[Batch] = Batch,
    buyers: type[Buyers] = Buyers,
    issuers: Issuers = (ISSUER,),
    strands: bool = True,
) -> Design:
    """Wire the functions. With `strands`, the customers of one batch are synced concurrently."""
    sync = sync or real_sync(issuers=issuers)
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
            sync=sync,
            queue=QueuePort(),
            parallel=parallel if strands else one_after_another,
            clock=clock,
            jitter=jitter,
            report=unreported,
        ),
        checkout=real_checkout(sync, issuers, buyers),
        issuers=issuers,
    )
