"""A stack and its Stripe account in memory, between deploys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from billing.configuration.file import parse
from billing.deploy.stripe_setup import StripeSetup, reason
from billing.errors import PortcullisError, SecretUnavailable
from billing.keys import OWN_ACCOUNT
from billing.stripe_objects import StripeObject
from billing.sync_request import SyncRequest
from tests.unit.fakes import Reports

STACK_ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/portcullis-prod/6b1f-uuid"
OWN_STACK = "123456789012/eu-west-1/portcullis-prod"
OTHER_STACK = "123456789012/eu-west-1/portcullis-dev"
URL = "https://abc.execute-api.eu-west-1.amazonaws.com/webhooks/stripe"
FILE = """
[default]
login_page.enabled = true
[default.features]
invoice_history.enabled = true
[default.features.subscription_update]
enabled = true
default_allowed_updates = ["price"]
[[default.features.subscription_update.products]]
prices = ["team_monthly", "team_yearly"]
adjustable_quantity = { enabled = true, minimum = 2 }
[small.features]
invoice_history.enabled = true
"""
PRICES: Mapping[str, StripeObject] = {
    "team_monthly": {"id": "price_tm", "lookup_key": "team_monthly", "product": {"id": "prod_t"}},
    "team_yearly": {"id": "price_ty", "lookup_key": "team_yearly", "product": {"id": "prod_t"}},
    "solo": {"id": "price_s", "lookup_key": "solo", "product": {"id": "prod_s"}},
    "price_bare": {"id": "price_bare", "lookup_key": None, "product": {"id": "prod_b"}},
}


class Account:
    """A Stripe account in memory. `calls` records each change; `errors[call]` is raised once."""

    def __init__(self) -> None:
        self.endpoints: list[dict[str, Any]] = []
        self.configurations: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str, Mapping[str, Any]]] = []
        self.errors: dict[str, Exception] = {}
        self.created = 0

    def list_webhook_endpoints(self) -> Sequence[StripeObject]:
        return [dict(each) for each in self.endpoints]

    def create_webhook_endpoint(self, parameters: Mapping[str, Any]) -> StripeObject:
        endpoint: dict[str, Any] = {"id": self._id("we"), "status": "enabled", **parameters}
        self._record("create", endpoint["id"], parameters)
        self.endpoints.insert(0, endpoint)
        return {**endpoint, "secret": f"whsec_{endpoint['id']}"}

    def update_webhook_endpoint(self, endpoint: str, parameters: Mapping[str, Any]) -> StripeObject:
        self._record("update", endpoint, parameters)
        changes = dict(parameters)
        if "disabled" in changes:
            changes["status"] = "disabled" if changes.pop("disabled") else "enabled"
        return _change(self.endpoints, endpoint, changes)

    def delete_webhook_endpoint(self, endpoint: str) -> None:
        self._record("delete", endpoint, {})
        self.endpoints = [each for each in self.endpoints if each["id"] != endpoint]

    def list_portal_configurations(self) -> Sequence[StripeObject]:
        return [dict(each) for each in self.configurations]

    def create_portal_configuration(self, parameters: Mapping[str, Any]) -> StripeObject:
        created: dict[str, Any] = {
            "id": self._id("bpc"),
            "active": True,
            "login_page": {"enabled": False},
        }
        created |= parameters
        self._record("create", created["id"], parameters)
        self.configurations.insert(0, created)
        return self.update_login_page(created)

    def update_portal_configuration(
        self, configuration: str, parameters: Mapping[str, Any]
    ) -> StripeObject:
        self._record("update", configuration, parameters)
        return self.update_login_page(_change(self.configurations, configuration, parameters))

    def update_login_page(self, configuration: dict[str, Any]) -> dict[str, Any]:
        enabled = configuration["login_page"]["enabled"]
        url = f"https://login/{configuration['id']}"
        configuration["login_page"] = {"enabled": enabled, "url": url}
        return configuration

    def _id(self, prefix: str) -> str:
        self.created += 1
        return f"{prefix}_{self.created}"

    def _record(self, call: str, object_id: str, parameters: Mapping[str, Any]) -> None:
        if call in self.errors:
            raise self.errors.pop(call)
        self.calls.append((call, object_id, parameters))


def _change(among: list[dict[str, Any]], wanted: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = (each for each in among if each["id"] == wanted)
    metadata = found["metadata"] | changes.get("metadata", {})
    found |= changes
    found["metadata"] = {key: value for key, value in metadata.items() if value}
    return found


@dataclass
class Secrets:
    name: str = "webhook-secret"
    stored: tuple[str, ...] = ()
    written: int = 0
    error: SecretUnavailable | None = None

    def read(self) -> tuple[str, ...]:
        return self.stored

    def write(self, secrets: Sequence[str]) -> None:
        if self.error:
            raise self.error
        self.stored, self.written = tuple(secrets), self.written + 1


@dataclass
class Names:
    known: dict[tuple[str, str], str] = field(default_factory=dict)
    written: int = 0

    def configuration_named(self, mode: str, name: str, *, consistent: bool = False) -> str | None:
        assert consistent, "a deploy needs a consistent read"
        return self.known.get((mode, name))

    def name_configuration(self, mode: str, name: str, configuration_id: str) -> None:
        self.known[mode, name] = configuration_id
        self.written += 1


class Queue:
    def __init__(self) -> None:
        self.sent: list[SyncRequest] = []

    def send(self, request: SyncRequest) -> None:
        self.sent.append(request)


class World:
    """A stack and its Stripe account, between deploys."""

    def __init__(self) -> None:
        self.account, self.secrets, self.names = Account(), Secrets(), Names()
        self.queue, self.reports = Queue(), Reports()
        self.file, self.stage, self.key = FILE, "prod", "rk_test_1"
        self.connected_account = OWN_ACCOUNT
        self.now = 1_000.0

    def setup(self) -> StripeSetup:
        return StripeSetup(
            account=self.account,
            prices=lambda names: [PRICES[name] for name in names if name in PRICES],
            api_key=self.api_key,
            api_key_secret="api-key-secret",
            secrets=self.secrets,
            names=self.names,
            queue=self.queue,
            configuration=lambda: parse(self.file, stage=self.stage, mode="test"),
            stage=self.stage,
            mode="test",
            connected_account=self.connected_account,
            default_return_url="https://app.example.com/account",
            clock=lambda: self.now,
            report=self.reports,
        )

    def api_key(self) -> str:
        if not self.key:
            raise SecretUnavailable("ResourceNotFoundException")
        return self.key

    def deploy(self, *, url: str = URL, stack: str = OWN_STACK) -> dict[str, str]:
        return self.setup().apply(stack=stack, url=url)

    def rotate(self, overlap: int = 600) -> dict[str, Any]:
        return self.setup().rotate(stack=OWN_STACK, overlap=overlap)

    @contextmanager
    def changes_nothing(self) -> Iterator[None]:
        before = (list(self.account.calls), self.secrets.written, self.names.written)
        yield
        assert (self.account.calls, self.secrets.written, self.names.written) == before

    def refusal(self, act: Callable[[], object]) -> str:
        with pytest.raises(PortcullisError) as refused:
            act()
        return reason(refused.value)
