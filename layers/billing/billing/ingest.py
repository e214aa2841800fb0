"""Ingesting a webhook: verified, parsed as far as needed, and accepted only once SQS has it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from billing.errors import SignatureRejected
from billing.events import EFFECTS, Effect, Event, NotAnEvent
from billing.reporter import Reporter
from billing.schemas import object_schema
from billing.sync_request import SyncRequest

#: Above an event at Stripe's limits for metadata. Lambda takes 6 MiB in one invocation, and 4 MiB
#: are 5.3 in base64, which API Gateway may send. Only ids are queued, so SQS sets no limit here.
MAX_BODY_BYTES = 4 * 1024 * 1024

#: What is kept of a body that cannot be read: an SQS message takes 1 MiB, and base64 adds a third.
MAX_QUARANTINED_BYTES = 700 * 1024

#: The body of the response.
RECEIVED_SCHEMA = object_schema("The event was verified and kept.", received={"const": True})

_SQS_TEXT = re.compile("[\\t\\n\\r\\u0020-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]+")


class Verify(Protocol):
    """Verifies a signature."""

    def __call__(self, body: bytes, header: str | None, secrets: Iterable[str], now: float) -> None:
        """Raise SignatureRejected unless one of `secrets` signed `body` shortly before `now`."""
        ...


class Secrets(Protocol):
    """The webhook endpoint's signing secrets: several during a rotation."""

    def current(self) -> tuple[str, ...]:
        """The secrets, from the cache for some minutes. Raises SecretUnavailable."""
        ...

    def refreshed(self) -> tuple[str, ...]:
        """The secrets, read again at most once a minute. Raises SecretUnavailable."""
        ...


class EventQueue(Protocol):
    """Both raise QueueUnavailable unless SQS has accepted the message."""

    def send(self, request: SyncRequest) -> None: ...
    def dead_letter(self, body: str, reason: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """Ingestion's dependencies. Events of another `account` or mode are dropped."""

    verify: Verify
    secrets: Secrets
    queue: EventQueue
    livemode: bool
    account: str
    clock: Callable[[], float]
    report: Reporter

    def __call__(self, body: bytes, header: str | None) -> None:
        """Ingest one webhook; returning means that Stripe may be answered 200.

        Raises SignatureRejected; SecretUnavailable, QueueUnavailable: Stripe then tries again.
        """
        self._verify(body, header)
        try:
            event = Event.from_body(body)
        except NotAnEvent as error:
            self._quarantine(body, str(error))
            return

        if event.livemode != self.livemode or event.account != self.account:
            self.report("EventDropped", event=event.id, type=event.type, reason="other_account")
            return
        match EFFECTS.get(event.type):
            case Effect.AUDIT:
                self.report(
                    "PortalSessionCreated",
                    event=event.id,
                    customer=event.customer_id,
                    session=event.object.get("id"),
                )
            case None:
                self.report("EventDropped", event=event.id, type=event.type, reason="other_type")
            case _ if request := event.request:
                self.queue.send(request)
                self.report("EventAccepted", event=event.id, type=event.type, key=request.key.pk)
            case _:
                self.report("EventDropped", event=event.id, type=event.type, reason="no_customer")

    def _verify(self, body: bytes, header: str | None) -> None:
        try:
            self.verify(body, header, self.secrets.current(), self.clock())
        except SignatureRejected:
            # The secret may have been rotated since we read it.
            secrets = self.secrets.refreshed()
            try:
                self.verify(body, header, secrets, self.clock())
            except SignatureRejected:
                self.report("SignatureRejected")
                raise

    def _quarantine(self, body: bytes, reason: str) -> None:
        """Dead-letter what Stripe signed and we cannot read, for a person to look at."""
        kept = body[:MAX_QUARANTINED_BYTES]
        cut = "" if kept == body else f" (the first {len(kept)} of {len(body)} bytes)"
        text, encoding = _as_sqs_text(kept), ""
        if text is None:
            text, encoding = base64.b64encode(kept).decode("ascii"), " (base64)"
        self.queue.dead_letter(text, f"{reason}{cut}{encoding}")
        self.report("EventQuarantined", reason=reason)


def _as_sqs_text(body: bytes) -> str | None:
    """The body as text that SQS accepts: characters of XML 1.0, at least one; else None."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if _SQS_TEXT.fullmatch(text) else None
