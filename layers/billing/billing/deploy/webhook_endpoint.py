"""The webhook endpoint a stack wants in Stripe, and what it takes to get there. Pure.

Ours are known by metadata, never by their URL: several stacks share one Stripe account, and the
URL changes with the API. https://docs.stripe.com/api/webhook_endpoints
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing.projection import StripeObject

#: Metadata of what a deploy makes in Stripe: the stack it belongs to, and that stack's stage.
STACK, STAGE = "portcullis_stack", "portcullis_stage"

#: Which signing secret is the endpoint's: Stripe shows it once, at creation.
SECRET = "portcullis_secret"  # noqa: S105 (the name of a metadata key)

#: Whether the endpoint was made for connected accounts; Stripe does not say.
CONNECT = "portcullis_connect"

#: Since when (epoch seconds) this endpoint is taking over from an older one.
ROTATION = "portcullis_rotation"


def fingerprint(secret: str) -> str:
    """What tells a signing secret from others and gives nothing of it away."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedEndpoint:
    """What the endpoint of `stack` has to be like.

    `connect`: it hears of the platform's connected accounts rather than of the key's own account.
    """

    stack: str
    stage: str
    url: str
    event_types: tuple[str, ...]
    api_version: str
    connect: bool = False

    @property
    def description(self) -> str:
        return f"Portcullis ({self.stage}): made by the stack {self.stack.rpartition('/')[2]}"

    def parameters(self) -> dict[str, Any]:
        """Those of https://docs.stripe.com/api/webhook_endpoints/create."""
        parameters: dict[str, Any] = {
            "url": self.url,
            "enabled_events": list(self.event_types),
            "api_version": self.api_version,
            "description": self.description,
            "metadata": {
                STACK: self.stack,
                STAGE: self.stage,
                CONNECT: str(self.connect).lower(),
            },
        }
        return parameters | ({"connect": True} if self.connect else {})

    def changes(self, endpoint: StripeObject) -> dict[str, Any]:
        """The update that makes `endpoint` what is wanted; empty where it is. The rest of what
        parameters() has cannot be changed.
        """
        changes: dict[str, Any] = {}
        if endpoint["url"] != self.url:
            changes["url"] = self.url
        if set(endpoint["enabled_events"]) != set(self.event_types):
            changes["enabled_events"] = list(self.event_types)
        if endpoint["description"] != self.description:
            changes["description"] = self.description
        if endpoint["metadata"].get(STAGE) != self.stage:
            changes["metadata"] = {STAGE: self.stage}
        if endpoint["status"] != "enabled":
            changes["disabled"] = False
        return changes


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPlan:
    """`current` stays (None: one has to be made), `updates` are by id, `superfluous` goes."""

    current: StripeObject | None
    updates: Mapping[str, Mapping[str, Any]]
    superfluous: tuple[StripeObject, ...]


def ours(found: Sequence[StripeObject], stack: str) -> list[StripeObject]:
    """Those of `found` that this stack has made, in the order they come."""
    return [each for each in found if each["metadata"].get(STACK) == stack]


def plan(
    wanted: WantedEndpoint, found: Sequence[StripeObject], secrets: Collection[str]
) -> EndpointPlan:
    """What to do about all endpoints `found` (newest first, as Stripe lists them).

    An endpoint is good only while its signing secret is among `secrets`, in the wanted API version
    and for the wanted accounts: none of these can be changed. While one takes over from another,
    both stay.
    """
    candidates = ours(found, wanted.stack)
    known = {fingerprint(secret) for secret in secrets}
    good = [
        each
        for each in candidates
        if each["metadata"].get(SECRET) in known
        and each["api_version"] == wanted.api_version
        and each["metadata"].get(CONNECT, "false") == str(wanted.connect).lower()
    ]
    keep = good if good and good[0]["metadata"].get(ROTATION) else good[:1]
    updates = {each["id"]: wanted.changes(each) for each in keep}
    return EndpointPlan(
        current=keep[0] if keep else None,
        updates={endpoint: changes for endpoint, changes in updates.items() if changes},
        superfluous=tuple(each for each in candidates if each not in keep),
    )


def without(secrets: Sequence[str], gone: Sequence[StripeObject]) -> tuple[str, ...]:
    """`secrets` but those of the endpoints that are gone."""
    theirs = {endpoint["metadata"].get(SECRET) for endpoint in gone}
    return tuple(secret for secret in secrets if fingerprint(secret) not in theirs)
