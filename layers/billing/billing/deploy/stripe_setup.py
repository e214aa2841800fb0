"""What a deploy creates in Stripe: the webhook endpoint, its secret, the portal configurations."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from billing.configuration.file import Configuration
from billing.deploy.portal_configurations import (
    ConfigurationsApi,
    Names,
    PortalConfigurations,
    WantedConfiguration,
    by_ids,
)
from billing.deploy.signing_secrets import SecretStore, SigningSecrets
from billing.deploy.webhook_endpoint import EndpointsApi, WantedEndpoint, WebhookEndpoints
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
from billing.events import EFFECTS
from billing.keys import CATALOG, CONFIGURATION, OWN_ACCOUNT, DocumentKey
from billing.reporter import Reporter
from billing.settings import STRIPE_API_VERSION
from billing.stripe_objects import StripeObject
from billing.sync_request import SyncRequest

#: What one call to Stripe may take with its one retry, and then Secrets Manager at its slowest and
#: the response to CloudFormation.
CALL_BUDGET_MS = 45_000


class Account(EndpointsApi, ConfigurationsApi, Protocol):
    """The Stripe account, as far as a deploy changes it."""


class Queue(Protocol):
    """May raise QueueUnavailable."""

    def send(self, request: SyncRequest) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeSetup:
    """A stack's presence in one Stripe account, in one mode.

    `prices` returns the active prices with these lookup keys or ids; `api_key` the key in the
    secret of that name; `clock` epoch seconds.
    """

    account: Account
    prices: Callable[[Sequence[str]], Sequence[StripeObject]]
    api_key: Callable[[], str]
    api_key_secret: str
    secrets: SecretStore
    names: Names
    queue: Queue
    configuration: Callable[[], Configuration]
    stage: str
    mode: str
    connected_account: str
    default_return_url: str
    clock: Callable[[], float]
    report: Reporter

    def apply(self, *, stack: str, url: str) -> dict[str, str]:
        """Make Stripe what this stack needs; nothing where it is. Returns the custom resource's
        attributes.

        Raises SetupFailed, ConfigurationError, OutOfTime or any Unavailable; see `reason`.
        """
        self._prove_key()
        # First everything that a mistake in the file could break, before anything is changed.
        wanted = self._wanted_configurations(stack)
        endpoint = self._endpoints.apply(self._wanted_endpoint(stack, url))
        made = self._configurations.apply(stack, wanted)
        # No event reports what was there before the endpoint existed, or a changed file. The
        # endpoint of a connected account receives no events of the platform's configurations.
        documents = [DocumentKey(CATALOG, self.mode)]
        if self.connected_account == OWN_ACCOUNT:
            documents += [
                DocumentKey(CONFIGURATION, self.mode, each["id"]) for each in made.values()
            ]
        for key in documents:
            self.queue.send(SyncRequest.deploy(key, up_to=int(self.clock())))
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
        """The stack is deleted: disable its endpoint, or with `delete` delete what can be deleted.

        Raises what `apply` raises, except where the key is missing or refused: then everything is
        left as it is, because a stack must not outlive its key.
        """
        try:
            self._prove_key()
            self._endpoints.retire(stack, delete=delete)
            if delete:
                self._configurations.retire(stack)
        except (SetupFailed, StripeRefused) as error:
            self.report("StripeCleanupSkipped", reason=reason(error))

    def rotate(self, *, stack: str, overlap: int) -> dict[str, Any]:
        """Take the next step of a rotation of the signing secret: see WebhookEndpoints.rotate."""
        self._prove_key()
        return self._endpoints.rotate(
            stack, overlap=overlap, wanted=lambda url: self._wanted_endpoint(stack, url)
        )

    @property
    def _endpoints(self) -> WebhookEndpoints:
        return WebhookEndpoints(
            api=self.account,
            secrets=SigningSecrets(self.secrets),
            clock=self.clock,
            report=self.report,
        )

    @property
    def _configurations(self) -> PortalConfigurations:
        return PortalConfigurations(
            api=self.account, names=self.names, mode=self.mode, report=self.report
        )

    def _prove_key(self) -> None:
        try:
            key = self.api_key()
        except SecretUnavailable as error:
            raise SetupFailed(
                f"Secrets Manager returns no Stripe API key under {self.api_key_secret} "
                f"({error.reason}). Store the key there as a plain string, then deploy again."
            ) from error
        kind = re.match(r"[a-z]+_(test|live)_", key)
        if kind and kind[1] != self.mode:
            raise SetupFailed(
                f"The secret {self.api_key_secret} holds a key of Stripe's {kind[1]} mode, but the "
                f"parameter StripeMode is {self.mode}. Change one of them, then deploy again."
            )

    def _wanted_endpoint(self, stack: str, url: str) -> WantedEndpoint:
        return WantedEndpoint(
            stack=stack,
            stage=self.stage,
            url=url,
            event_types=tuple(sorted(EFFECTS)),
            api_version=STRIPE_API_VERSION,
            connect=self.connected_account != OWN_ACCOUNT,
        )

    def _wanted_configurations(self, stack: str) -> list[WantedConfiguration]:
        configuration = self.configuration()
        prices = self._prices(configuration)
        return [
            WantedConfiguration(
                stack=stack,
                stage=self.stage,
                name=each.name,
                parameters=by_ids(each, prices, default_return_url=self.default_return_url),
            )
            for each in configuration.configurations
        ]

    def _prices(self, configuration: Configuration) -> dict[str, StripeObject]:
        """Every price the file names, by that name. Raises SetupFailed for names without one."""
        users: dict[str, str] = dict.fromkeys(configuration.checkout.prices, "checkout.prices")
        for each in configuration.configurations:
            where = f"{each.name}.features.subscription_update.products"
            users |= dict.fromkeys(each.prices, where)
        found: dict[str, StripeObject] = {}
        for price in self.prices(list(users)) if users else ():
            found[price["id"]] = price
            if price.get("lookup_key"):
                found[price["lookup_key"]] = price
        unknown = [f"{name!r} ({where})" for name, where in users.items() if name not in found]
        if unknown:
            raise SetupFailed(
                f"portcullis.toml names prices that are not on sale in Stripe's {self.mode} mode, "
                f"by lookup key or id: {', '.join(unknown)}. Create them in Stripe or remove them "
                "from the file, then deploy again."
            )
        return found


def reason(error: PortcullisError) -> str:
    """What CloudFormation shows for `error`: what is wrong and what to do, never a secret."""
    match error:
        case SetupFailed() | ConfigurationError():
            return str(error)
        case StripeRefused():
            # Stripe's own sentence names the permission that a restricted key lacks.
            said = getattr(error.__cause__, "user_message", None) or error.reason
            what = f"the parameter {error.param}" if error.param else "the request"
            return f"Stripe refused {what} ({error.status}, {error.code or 'no code'}): {said}"
        case StripeUnavailable():
            return f"Stripe did not answer ({error.reason}). Deploy again: it continues from here."
        case Unavailable():
            return f"{error.service} {error.fault}: {error.reason}. Deploy again."
        case OutOfTime():
            return "Stripe answered too slowly. Deploy again: it continues from here."
        case _:
            return f"{type(error).__name__}: {error}"
