"""The request to sync one key: the message on the event queue. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from billing.errors import Unprocessable
from billing.keys import Key, is_name, key_of

#: Types of the causes that are not Stripe events: a confirm, a claim that may succeed now, a
#: deploy, and a caller who waits.
CONFIRM = "portcullis.confirm"
CLAIM = "portcullis.claim"
DEPLOY = "portcullis.deploy"
DEMAND = "portcullis.demand"


class Cause(NamedTuple):
    """Why a sync runs: the id and type of a Stripe event, or of a cause of our own."""

    id: str
    type: str


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """Make the row of `key` cover every change up to `up_to`, in epoch seconds by Stripe's clock.

    It carries nothing of an event's payload: a webhook says that something changed, never what.
    `not_found`: sent again after a 404, so that the message's age counts from then.
    """

    key: Key
    up_to: int
    cause: Cause
    not_found: bool = False

    @classmethod
    def confirm(cls, key: Key, *, up_to: int) -> SyncRequest:
        """One more fetch of `key`, in case the one before read a stale state."""
        return cls(key, up_to, Cause(f"confirm-{up_to}", CONFIRM))

    @classmethod
    def deploy(cls, key: Key, *, up_to: int) -> SyncRequest:
        """A fetch of what a deploy may have changed."""
        return cls(key, up_to, Cause(f"deploy-{up_to}", DEPLOY))

    @classmethod
    def claim(cls, key: Key, *, cause: str, up_to: int) -> SyncRequest:
        """One more look at the subject that `key` claims: customer `cause` has changed who may have
        it, by a commit whose fetch began at `up_to`. Where the row of `key` covers that, what
        follows from it is still done: see sync.Replica.settled."""
        return cls(key, up_to, Cause(cause, CLAIM))

    @property
    def is_confirm(self) -> bool:
        return self.cause.type == CONFIRM

    @property
    def is_follow_up(self) -> bool:
        """Whether no change at Stripe is behind it: a confirm, or a claim."""
        return self.cause.type in (CONFIRM, CLAIM)

    def to_message(self) -> str:
        """`{"key": "CUS#own#test#cus_…", "up_to": 1790000000, "cause": {"id": …, "type": …}}`, and
        `"not_found": true` after a 404."""
        message = {"key": self.key.pk, "up_to": self.up_to, "cause": self.cause._asdict()}
        if self.not_found:
            message["not_found"] = True
        return json.dumps(message, separators=(",", ":"))

    @classmethod
    def from_message(cls, body: str) -> SyncRequest:
        """Parse a message made by `to_message`. Raises Unprocessable with the reason."""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Unprocessable("not JSON") from error
        match message:
            case {
                "key": str(pk),
                "up_to": int(up_to),
                "cause": {"id": str(name), "type": str(kind)},
            } if is_name(name) and is_name(kind) and not isinstance(up_to, bool):
                key = key_of(pk)
            case _:
                key = None
        if key is None:
            raise Unprocessable("not a sync request")
        return cls(key, up_to, Cause(name, kind), message.get("not_found") is True)
