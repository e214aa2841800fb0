"""What a deploy makes so in Stripe: the webhook endpoint, its secret, the portal configurations.

Every step may be cut off or repeated: the next deploy goes on from what it finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from billing.configuration.file import ConfigurationFile
from billing.deploy import portal_configurations, webhook_endpoint
from billing.deploy.portal_configurations import WantedConfiguration, by_ids
from billing.deploy.webhook_endpoint import ROTATION, SECRET, WantedEndpoint, fingerprint, without
from billing.errors import (
    ConfigurationError,
    OutOfTime,
    PortcullisError,
    SecretUnavailable,
    SetupFailed,
    StripeRefused,
    StripeUnavailable,
    Unavailable,
)
from billing.events import EFFECTS, Hint
from billing.projection import StripeObject
from billing.settings import STRIPE_API_VERSION

#: Milliseconds a call of Stripe's may take with its one retry, and what has to follow it: Secrets
#: Manager at its slowest, and CloudFormation's answer.
CALL_BUDGET_MS = 45_000


class Account(Protocol):
    """What a deploy does in Stripe. Lists are whole, newest first.

    Every method may raise StripeUnavailable, StripeRefused, OutOfTime.
    """

    def webhook_endpoints(self) -> Sequence[StripeObject]: ...

    def create_webhook_endpoint(self, parameters: Mapping[str, Any]) -> StripeObject:
        """The only answer that holds the signing `secret`."""
        ...

    def update_webhook_endpoint(
        self, endpoint: str, parameters: Mapping[str, Any]
    ) -> StripeObject: ...

    def delete_webhook_endpoint(self, endpoint: str) -> None: ...

    def portal_configurations(self) -> Sequence[StripeObject]: ...

    def create_portal_configuration(self, parameters: Mapping[str, Any]) -> StripeObject: ...

    def update_portal_configuration(
        self, configuration: str, parameters: Mapping[str, Any]
    ) -> StripeObject: ...


class SigningSecrets(Protocol):
    """The stored signing secrets, newest first. Both may raise SecretUnavailable."""

    name: str

    def read(self) -> tuple[str, ...]:
        """None where there is no secret, or nothing usable in it."""
        ...

    def write(self, secrets: Sequence[str]) -> None: ...


class Names(Protocol):
    """Which configuration a name of portcullis.toml means. Both may raise StoreUnavailable."""

    def configuration_named(
        self, mode: str, name: str, *, consistent: bool = False
    ) -> str | None: ...

    def name_configuration(self, mode: str, name: str, configuration_id: str) -> None: ...


class Queue(Protocol):
    """May raise QueueUnavailable."""

    def send(self, hint: Hint) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeSetup:
    """A stack's presence in one Stripe account, in one mode.

    `prices` gives the active prices with these lookup keys or ids; `api_key` the key, out of the
    secret of this name; `clock` epoch seconds.
    """

    account: Account
    prices: Callable[[Sequence[str]], Sequence[StripeObject]]
    api_key: Callable[[], str]
    api_key_secret: str
    secrets: SigningSecrets
    names: Names
    queue: Queue
    file: Callable[[], ConfigurationFile]
    stage: str
    mode: str
    connected_account: str
    default_return_url: str
    clock: Callable[[], float]
    report: Callable[..., None]

    def apply(self, *, stack: str, url: str) -> dict[str, str]:
        """Make Stripe what this stack wants of it; nothing where it is. The resource's attributes.

        Raises SetupFailed, ConfigurationError, OutOfTime or any Unavailable; `reason` words it.
        """
        self._prove_key()
        # Before anything is changed, all that a slip in the file could trip over.
        configurations = self._wanted_configurations(stack)
        endpoint = self._set_endpoint(self._wanted_endpoint(stack, url))
        made = self._set_configurations(stack, configurations)
        # No event will tell of what was for sale before there was an endpoint, or of a changed
        # list of what may be sold.
        hint = Hint.refresh_catalog(
            mode=self.mode, account=self.connected_account or None, created=int(self.clock())
        )
        self.queue.send(hint)
        pages = [
            f"{name}: {each['login_page']['url']}"
            for name, each in made.items()
            if each["login_page"]["enabled"]
        ]
        return {
            "WebhookEndpoint": endpoint,
            "PortalConfigurations": ", ".join(f"{name}: {made[name]['id']}" for name in made),
            "LoginPages": ", ".join(pages)
            or "none: no configuration in portcullis.toml enables one",
        }

    def retire(self, *, stack: str, delete: bool) -> None:
        """The stack goes: switch its endpoint off, or with `delete` remove what can be removed.

        Raises as apply does, save that what never was, or can no longer be reached with the key
        there is, is left as it is: a stack must not outlive its key.
        """
        try:
            self._prove_key()
            self._retire(stack, delete=delete)
        except (SetupFailed, StripeRefused) as error:
            self.report("StripeSetupLeft", reason=reason(error))

    def rotate(self, *, stack: str, overlap: int) -> dict[str, Any]:
        """Take the next step of giving the endpoint another signing secret.

        Stripe's API cannot roll a secret, so a second endpoint takes over: the first call makes it,
        one at least `overlap` seconds later removes the old one. Answers `{"state": "overlapping",
        "seconds"}` (left) or `{"state": "rotated"}`. Raises as apply does.
        """
        self._prove_key()
        secrets = self._read_secrets()
        known = {fingerprint(secret) for secret in secrets}
        mine = webhook_endpoint.ours(self.account.webhook_endpoints(), stack)
        good = [each for each in mine if each["metadata"].get(SECRET) in known]
        if not good:
            raise SetupFailed(
                f"No webhook endpoint of the stack {stack} has its secret in {self.secrets.name}, "
                "so there is nothing to rotate: deploy, which makes both anew."
            )
        current, now = good[0], int(self.clock())
        began = current["metadata"].get(ROTATION)
        if not began:
            self._create_endpoint(
                self._wanted_endpoint(stack, current["url"]), secrets, {ROTATION: str(now)}
            )
            return {"state": "overlapping", "seconds": overlap}
        left = int(began) + overlap - now
        if left > 0:
            return {"state": "overlapping", "seconds": left}
        self._remove([each for each in mine if each is not current], secrets)
        self.account.update_webhook_endpoint(current["id"], {"metadata": {ROTATION: ""}})
        self.report("WebhookSecretRotated", endpoint=current["id"])
        return {"state": "rotated"}

    # ------------------------------------------------------------------ the key

    def _prove_key(self) -> None:
        try:
            key = self.api_key()
        except SecretUnavailable as error:
            raise SetupFailed(
                f"Secrets Manager gives no Stripe API key under {self.api_key_secret} "
                f"({error.reason}). Store the key there as a plain string, then deploy again."
            ) from error
        kind = re.match(r"[a-z]+_(test|live)_", key)
        if kind and kind[1] != self.mode:
            raise SetupFailed(
                f"The secret {self.api_key_secret} holds a key of Stripe's {kind[1]} mode, but the "
                f"parameter StripeMode is {self.mode}. Change one of them, then deploy again."
            )

    # ------------------------------------------------------------------ the webhook endpoint

    def _wanted_endpoint(self, stack: str, url: str) -> WantedEndpoint:
        return WantedEndpoint(
            stack=stack,
            stage=self.stage,
            url=url,
            event_types=tuple(sorted(EFFECTS)),
            api_version=STRIPE_API_VERSION,
            connect=bool(self.connected_account),
        )

    def _set_endpoint(self, wanted: WantedEndpoint) -> str:
        secrets = self._read_secrets()
        plan = webhook_endpoint.plan(wanted, self.account.webhook_endpoints(), secrets)
        for endpoint, changes in plan.updates.items():
            self.account.update_webhook_endpoint(endpoint, changes)
            self.report("WebhookEndpointUpdated", endpoint=endpoint, changed=sorted(changes))
        current = plan.current["id"] if plan.current else None
        if current is None:
            current, secrets = self._create_endpoint(wanted, secrets, {})
        self._remove(plan.superfluous, secrets)
        return current

    def _create_endpoint(
        self, wanted: WantedEndpoint, secrets: Sequence[str], metadata: Mapping[str, str]
    ) -> tuple[str, tuple[str, ...]]:
        """The new endpoint's id, and the stored secrets with its own before the others."""
        made = self.account.create_webhook_endpoint(wanted.parameters())
        # Only what Stripe could have given: a placeholder from before the first deploy goes.
        others = (secret for secret in secrets if secret.startswith("whsec_"))
        stored = (made["secret"], *others)
        try:
            self._write_secrets(stored)
        except SetupFailed:
            # Nobody will ever know its secret.
            self.account.delete_webhook_endpoint(made["id"])
            raise
        # Only now: an endpoint that bears its secret's fingerprint has its secret stored.
        self.account.update_webhook_endpoint(
            made["id"], {"metadata": {SECRET: fingerprint(made["secret"]), **metadata}}
        )
        self.report("WebhookEndpointCreated", endpoint=made["id"])
        return made["id"], stored

    def _remove(self, endpoints: Sequence[StripeObject], secrets: Sequence[str]) -> None:
        for endpoint in endpoints:
            self.account.delete_webhook_endpoint(endpoint["id"])
            self.report("WebhookEndpointRemoved", endpoint=endpoint["id"])
        # Last: while an endpoint lives, what it signs has to be accepted.
        left = without(secrets, endpoints)
        if left and left != tuple(secrets):
            self._write_secrets(left)

    def _retire(self, stack: str, *, delete: bool) -> None:
        mine = webhook_endpoint.ours(self.account.webhook_endpoints(), stack)
        if not delete:
            for endpoint in mine:
                if endpoint["status"] != "disabled":
                    self.account.update_webhook_endpoint(endpoint["id"], {"disabled": True})
                    self.report("WebhookEndpointDisabled", endpoint=endpoint["id"])
            return
        self._remove(mine, self._read_secrets())
        found = self.account.portal_configurations()
        self._deactivate(portal_configurations.plan((), found, stack=stack))

    def _read_secrets(self) -> tuple[str, ...]:
        try:
            return self.secrets.read()
        except SecretUnavailable as error:
            raise SetupFailed(
                f"The secret {self.secrets.name} cannot be read: {error.reason}. If it is being "
                "deleted, restore it, then deploy again."
            ) from error

    def _write_secrets(self, secrets: Sequence[str]) -> None:
        try:
            self.secrets.write(secrets)
        except SecretUnavailable as error:
            raise SetupFailed(
                f"The webhook's signing secret cannot be stored in {self.secrets.name}: "
                f"{error.reason}. If that secret is being deleted, restore it, then deploy again."
            ) from error

    # ------------------------------------------------------------------ the portal configurations

    def _wanted_configurations(self, stack: str) -> list[WantedConfiguration]:
        file = self.file()
        prices = self._prices(file)
        return [
            WantedConfiguration(
                stack=stack,
                stage=self.stage,
                name=each.name,
                parameters=by_ids(each, prices, default_return_url=self.default_return_url),
            )
            for each in file.configurations
        ]

    def _prices(self, file: ConfigurationFile) -> dict[str, StripeObject]:
        """Every price the file names, by that name. Raises SetupFailed for those that are none."""
        users: dict[str, str] = dict.fromkeys(file.checkout.prices, "checkout.prices")
        for configuration in file.configurations:
            where = f"{configuration.name}.features.subscription_update.products"
            users |= dict.fromkeys(configuration.prices, where)
        found: dict[str, StripeObject] = {}
        for price in self.prices(list(users)) if users else ():
            found[price["id"]] = price
            if price.get("lookup_key"):
                found[price["lookup_key"]] = price
        unknown = [f"{name!r} ({where})" for name, where in users.items() if name not in found]
        if unknown:
            raise SetupFailed(
                f"portcullis.toml names prices that are not on sale in Stripe's {self.mode} mode, "
                f"by lookup key or id: {', '.join(unknown)}. Make them in Stripe or take them out "
                "of the file, then deploy again."
            )
        return found

    def _set_configurations(
        self, stack: str, wanted: Sequence[WantedConfiguration]
    ) -> dict[str, StripeObject]:
        """What Stripe has by each name, in the file's order."""
        found = self.account.portal_configurations()
        plan = portal_configurations.plan(wanted, found, stack=stack)
        made = dict(plan.existing)
        for each in plan.create:
            made[each.name] = self.account.create_portal_configuration(each.creation())
            self.report("PortalConfigurationCreated", configuration=made[each.name]["id"])
        for name, changes in plan.updates.items():
            made[name] = self.account.update_portal_configuration(made[name]["id"], changes)
            self.report("PortalConfigurationUpdated", configuration=made[name]["id"])
        for name, configuration in made.items():
            if (
                self.names.configuration_named(self.mode, name, consistent=True)
                != (configuration["id"])
            ):
                self.names.name_configuration(self.mode, name, configuration["id"])
        # Last: until here the names may still have meant one of these.
        self._deactivate(plan)
        return {each.name: made[each.name] for each in wanted}

    def _deactivate(self, plan: portal_configurations.ConfigurationPlan) -> None:
        for configuration, changes in plan.superfluous.items():
            self.account.update_portal_configuration(configuration, changes)
            self.report("PortalConfigurationDeactivated", configuration=configuration)


def reason(error: PortcullisError) -> str:
    """What CloudFormation shows for `error`: what is wrong and what to do, never a secret."""
    match error:
        case SetupFailed() | ConfigurationError():
            return str(error)
        case StripeRefused():
            # Stripe's own sentence says which permission a restricted key lacks.
            said = getattr(error.__cause__, "user_message", None) or error.reason
            what = f"the parameter {error.param}" if error.param else "the request"
            return f"Stripe refused {what} ({error.status}, {error.code or 'no code'}): {said}"
        case StripeUnavailable():
            return f"Stripe did not answer ({error.reason}). What was done stays: deploy again."
        case Unavailable():
            return f"{error.service} did not answer or refused: {error.reason}. Deploy again."
        case OutOfTime():
            return "Stripe answered too slowly to finish in time. Deploy again: it goes on here."
        case _:
            return f"{type(error).__name__}: {error}"
