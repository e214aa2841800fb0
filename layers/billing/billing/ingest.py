"""Taking in a webhook: verified, parsed as far as needed, and answered only when SQS has it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from billing.adapters import signature
from billing.errors import PayloadTooLarge, SignatureRejected
from billing.events import EFFECTS, Effect, Event, Hint, NotAnEvent
from billing.link import Report

#: Larger than any event of Stripe's; an SQS message takes 1 MiB, and base64 adds a third.
LARGEST_BODY = 512 * 1024


_SQS_TEXT = re.compile("[\\t\\n\\r\\u0020-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]+")


class Secrets(Protocol):
    """The webhook endpoint's signing secrets, several during a rotation."""

    def current(self) -> tuple[str, ...]:
        """The signing secrets that verify. Raises SecretUnavailable."""
        ...

    def refreshed(self) -> tuple[str, ...]:
        """The same, read anew if that has not been done for a minute. Raises SecretUnavailable."""
        ...


class HintQueue(Protocol):
    """Both raise QueueUnavailable unless SQS has accepted the message."""

    def send(self, hint: Hint) -> None: ...
    def dead_letter(self, body: str, reason: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """Ingestion's dependencies. `account` is None for the API key's own account."""

    secrets: Secrets
    queue: HintQueue
    livemode: bool
    account: str | None
    clock: Callable[[], float]
    report: Report

    def __call__(self, body: bytes, header: str | None) -> None:
        """Take in one webhook; returning means it may be answered 200.

        Raises SignatureRejected, PayloadTooLarge; SecretUnavailable, QueueUnavailable: Stripe then
        tries again.
        """
        if len(body) > LARGEST_BODY:
            raise PayloadTooLarge(f"The body is larger than {LARGEST_BODY} bytes.")
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
                    customer=event.customer,
                    session=event.object.get("id"),
                )
            case None:
                self.report("EventDropped", event=event.id, type=event.type, reason="other_type")
            case _ if (hint := Hint.of(event)) is not None:
                self.queue.send(hint)
                self.report(
                    "EventAccepted", event=event.id, type=event.type, customer=event.customer
                )
            case _:
                self.report("EventDropped", event=event.id, type=event.type, reason="no_customer")

    def _verify(self, body: bytes, header: str | None) -> None:
        try:
            signature.verify(body, header, self.secrets.current(), self.clock())
        except SignatureRejected:
            # The secret may have been rolled since we read it.
            secrets = self.secrets.refreshed()
            try:
                signature.verify(body, header, secrets, self.clock())
            except SignatureRejected:
                self.report("SignatureRejected")
                raise

    def _quarantine(self, body: bytes, reason: str) -> None:
        """Keep what Stripe signed and we cannot read, for a person to look at."""
        text, encoding = _as_sqs_text(body), ""
        if text is None:
            text, encoding = base64.b64encode(body).decode("ascii"), " (base64)"
        self.queue.dead_letter(text, f"{reason}{encoding}")
        self.report("EventQuarantined", reason=reason)


def _as_sqs_text(body: bytes) -> str | None:
    """The body as SQS takes it: characters of XML 1.0, at least one. None if it cannot be."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if _SQS_TEXT.fullmatch(text) else None
