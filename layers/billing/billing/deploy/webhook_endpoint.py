"""The webhook endpoint that a stack needs in Stripe: what it must be, and making it so.

Metadata identifies our endpoints. A URL cannot: several stacks share one Stripe account, and the
URL changes with the API. https://docs.stripe.com/api/webhook_endpoints
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from billing.deploy.signing_secrets import SigningSecrets
from billing.errors import SetupFailed
from billing.reporter import Reporter
from billing.stripe_objects import StripeObject

#: Metadata of everything a deploy creates in Stripe: its stack, and that stack's stage.
STACK, STAGE = "portcullis_stack", "portcullis_stage"

#: The fingerprint of the endpoint's signing secret, which Stripe shows only at creation.
SECRET = "portcullis_secret"  # noqa: S105 (the name of a metadata key)

#: Whether the endpoint is for connected accounts, which Stripe does not show.
CONNECT = "portcullis_connect"

#: Since when (epoch seconds) this endpoint has been taking over from an older one.
ROTATION = "portcullis_rotation"


def fingerprint(secret: str) -> str:
    """A short hash that identifies a signing secret without revealing it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedEndpoint:
    """What the endpoint of `stack` must be.

    `connect`: it receives the events of connected accounts instead of the key's own account.
    """

    stack: str
    stage: str
    url: str
    event_types: tuple[str, ...]
    api_version: str
    connect: bool = False

    @property
    def description(self) -> str:
        return f"Portcullis ({self.stage}): created by the stack {self.stack.rpartition('/')[2]}"

    def parameters(self) -> dict[str, Any]:
        """The parameters of https://docs.stripe.com/api/webhook_endpoints/create."""
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
        """The update that `endpoint` needs; empty where it needs none. The other parameters cannot
        be updated."""
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
    """`current` stays (None: create one); `updates` are by id; `superfluous` are deleted."""

    current: StripeObject | None
    updates: Mapping[str, Mapping[str, Any]]
    superfluous: tuple[StripeObject, ...]


def ours(found: Sequence[StripeObject], stack: str) -> list[StripeObject]:
    """Those of `found` that this stack created, in their order."""
    return [each for each in found if each["metadata"].get(STACK) == stack]


def plan(
    wanted: WantedEndpoint, found: Sequence[StripeObject], secrets: Collection[str]
) -> EndpointPlan:
    """What to do with the endpoints `found` (newest first, as Stripe lists them).

    An endpoint is kept only if its signing secret is among `secrets` and it has the wanted API
    version and accounts, because none of these can be updated. While one takes over from another,
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
    """`secrets` without those of the endpoints that are gone."""
    theirs = {endpoint["metadata"].get(SECRET) for endpoint in gone}
    return tuple(secret for secret in secrets if fingerprint(secret) not in theirs)


class EndpointsApi(Protocol):
    """Every method may raise StripeUnavailable, StripeRefused, OutOfTime."""

    def list_webhook_endpoints(self) -> Sequence[StripeObject]:
        """All of them, newest first."""
        ...

    def create_webhook_endpoint(self, parameters: Mapping[str, Any]) -> StripeObject:
        """The only response that contains the signing `secret`."""
        ...

    def update_webhook_endpoint(
        self, endpoint: str, parameters: Mapping[str, Any]
    ) -> StripeObject: ...

    def delete_webhook_endpoint(self, endpoint: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoints:
    """A stack's endpoints in one Stripe account. `clock` returns epoch seconds.

    Every method may raise SetupFailed, and what EndpointsApi raises. Each step may be cut off or
    repeated: the next deploy continues from what it finds.
    """

    api: EndpointsApi
    secrets: SigningSecrets
    clock: Callable[[], float]
    report: Reporter

    def apply(self, wanted: WantedEndpoint) -> str:
        """Make the account's endpoints what `wanted` says; the id of the one that stays."""
        secrets = self.secrets.read()
        todo = plan(wanted, self.api.list_webhook_endpoints(), secrets)
        for endpoint, changes in todo.updates.items():
            self.api.update_webhook_endpoint(endpoint, changes)
            self.report("WebhookEndpointUpdated", endpoint=endpoint, changed=sorted(changes))
        current = todo.current["id"] if todo.current else None
        if current is None:
            current, secrets = self._create(wanted, secrets, {})
        self._delete(todo.superfluous, secrets)
        return str(current)

    def retire(self, stack: str, *, delete: bool) -> None:
        """Disable the stack's endpoints, or with `delete` delete them and their secrets."""
        mine = ours(self.api.list_webhook_endpoints(), stack)
        if delete:
            self._delete(mine, self.secrets.read())
            return
        for endpoint in mine:
            if endpoint["status"] != "disabled":
                self.api.update_webhook_endpoint(endpoint["id"], {"disabled": True})
                self.report("WebhookEndpointDisabled", endpoint=endpoint["id"])

    def rotate(
        self, stack: str, *, overlap: int, wanted: Callable[[str], WantedEndpoint]
    ) -> dict[str, Any]:
        """Take the next step of giving the stack's endpoint another signing secret.

        Stripe's API cannot rotate a secret, so a second endpoint takes over. The first call creates
        it; a call at least `overlap` seconds later deletes the old one. Returns `{"state":
        "overlapping", "seconds"}` (left) or `{"state": "rotated"}`. `wanted` describes the endpoint
        for a URL.
        """
        secrets = self.secrets.read()
        known = {fingerprint(secret) for secret in secrets}
        mine = ours(self.api.list_webhook_endpoints(), stack)
        good = [each for each in mine if each["metadata"].get(SECRET) in known]
        if not good:
            raise SetupFailed(
                f"No webhook endpoint of the stack {stack} has its secret in {self.secrets.name}, "
                "so there is nothing to rotate. Deploy: that creates both."
            )
        current, now = good[0], int(self.clock())
        began = current["metadata"].get(ROTATION)
        if not began:
            self._create(wanted(current["url"]), secrets, {ROTATION: str(now)})
            return {"state": "overlapping", "seconds": overlap}
        left = int(began) + overlap - now
        if left > 0:
            return {"state": "overlapping", "seconds": left}
        self._delete([each for each in mine if each is not current], secrets)
        self.api.update_webhook_endpoint(current["id"], {"metadata": {ROTATION: ""}})
        self.report("WebhookSecretRotated", endpoint=current["id"])
        return {"state": "rotated"}

    def _create(
        self, wanted: WantedEndpoint, secrets: Sequence[str], metadata: Mapping[str, str]
    ) -> tuple[str, tuple[str, ...]]:
        """The new endpoint's id, and the stored secrets with its own before the others."""
        created = self.api.create_webhook_endpoint(wanted.parameters())
        # Only what Stripe could have issued: a placeholder from before the first deploy goes.
        others = (secret for secret in secrets if secret.startswith("whsec_"))
        stored = (created["secret"], *others)
        try:
            self.secrets.write(stored)
        except SetupFailed:
            # Nobody will ever know its secret.
            self.api.delete_webhook_endpoint(created["id"])
            raise
        # Only now: an endpoint with its secret's fingerprint has its secret stored.
        self.api.update_webhook_endpoint(
            created["id"], {"metadata": {SECRET: fingerprint(created["secret"]), **metadata}}
        )
        self.report("WebhookEndpointCreated", endpoint=created["id"])
        return created["id"], stored

    def _delete(self, endpoints: Sequence[StripeObject], secrets: Sequence[str]) -> None:
        for endpoint in endpoints:
            self.api.delete_webhook_endpoint(endpoint["id"])
            self.report("WebhookEndpointDeleted", endpoint=endpoint["id"])
        # Last: while an endpoint exists, what it signs must be accepted.
        left = without(secrets, endpoints)
        if left and left != tuple(secrets):
            self.secrets.write(left)
