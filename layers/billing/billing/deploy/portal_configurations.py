"""The portal configurations that a stack needs in Stripe: what they must be, and making them so.

Metadata identifies ours, as in webhook_endpoint.py. Stripe cannot delete a configuration:
one that the file no longer has is deactivated, and activated again when it comes back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from billing.configuration.file import PortalConfiguration, merged
from billing.deploy.portal_fields import every_field, for_creation, pause_off
from billing.deploy.webhook_endpoint import STACK, STAGE, ours
from billing.errors import SetupFailed
from billing.reporter import Reporter
from billing.stripe_objects import StripeObject, product_id

#: Metadata: the configuration's name in the file, and a hash of all its fields.
NAME, CONTENT = "portcullis_name", "portcullis_content"

_DEACTIVATED: Mapping[str, Any] = {"active": False, "login_page": {"enabled": False}}


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedConfiguration:
    """`parameters` are Stripe's, with every price and product by its id."""

    stack: str
    stage: str
    name: str
    parameters: Mapping[str, Any]

    @property
    def content(self) -> str:
        fields = json.dumps(every_field(self.parameters), sort_keys=True)
        return hashlib.sha256(fields.encode()).hexdigest()[:16]

    def creation(self) -> dict[str, Any]:
        """The parameters of https://docs.stripe.com/api/customer_portal/configurations/create."""
        return for_creation(every_field(self.parameters)) | {"metadata": self._metadata}

    def changes(self, configuration: StripeObject) -> dict[str, Any]:
        """The update that `configuration` needs; empty where it needs none."""
        metadata = configuration["metadata"]
        if metadata.get(CONTENT) != self.content or not configuration["active"]:
            update = merged(pause_off(configuration), every_field(self.parameters))
            return update | {"metadata": self._metadata}
        return {} if metadata.get(STAGE) == self.stage else {"metadata": {STAGE: self.stage}}

    @property
    def _metadata(self) -> dict[str, str]:
        return {STACK: self.stack, STAGE: self.stage, NAME: self.name, CONTENT: self.content}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationPlan:
    """`existing` and `updates` are by name, `superfluous` by id."""

    create: tuple[WantedConfiguration, ...]
    existing: Mapping[str, StripeObject]
    updates: Mapping[str, Mapping[str, Any]]
    superfluous: Mapping[str, Mapping[str, Any]]


def plan(
    wanted: Sequence[WantedConfiguration], found: Sequence[StripeObject], *, stack: str
) -> ConfigurationPlan:
    """What to do with the configurations `found` in the Stripe account."""
    # Active ones first: of two with one name, the active one is in use.
    candidates = sorted(ours(found, stack), key=lambda each: not each["active"])
    existing: dict[str, StripeObject] = {}
    for each in candidates:
        existing.setdefault(each["metadata"].get(NAME, ""), each)
    names = {each.name for each in wanted}
    existing = {name: each for name, each in existing.items() if name in names}
    kept = {each["id"] for each in existing.values()}
    updates = {
        each.name: each.changes(existing[each.name]) for each in wanted if each.name in existing
    }
    return ConfigurationPlan(
        create=tuple(each for each in wanted if each.name not in existing),
        existing=existing,
        updates={name: changes for name, changes in updates.items() if changes},
        superfluous={
            each["id"]: _DEACTIVATED
            for each in candidates
            if each["id"] not in kept and each["active"]
        },
    )


def by_ids(
    configuration: PortalConfiguration,
    prices: Mapping[str, StripeObject],
    *,
    default_return_url: str,
) -> dict[str, Any]:
    """The configuration's parameters with every price by its id and every product named.

    `prices` holds Stripe's prices by their names in the file. Raises SetupFailed where the prices
    of one entry belong to different products.
    """
    parameters: dict[str, Any] = {"default_return_url": default_return_url}
    parameters |= configuration.parameters
    features: Mapping[str, Any] = parameters["features"]
    update: Mapping[str, Any] = features.get("subscription_update", {})
    if "products" not in update:
        return parameters
    offered: list[dict[str, Any]] = []
    for entry in update["products"]:
        products = {name: product_id(prices[name]) for name in entry["prices"]}
        if len(set(products.values())) != 1:
            raise SetupFailed(
                f"portcullis.toml: {configuration.name}.features.subscription_update.products: "
                f"{', '.join(products)} belong to different products. Give each product its own "
                "[[…products]] entry."
            )
        (product,) = set(products.values())
        if any(product == each["product"] for each in offered):
            raise SetupFailed(
                f"portcullis.toml: {configuration.name}.features.subscription_update.products: "
                f"{', '.join(products)} belong to a product that already has an entry. List all "
                "prices of a product in one entry."
            )
        ids = [prices[name]["id"] for name in entry["prices"]]
        offered.append(dict(entry) | {"product": product, "prices": ids})
    parameters["features"] = {
        **features,
        "subscription_update": {**update, "products": offered},
    }
    return parameters


class ConfigurationsApi(Protocol):
    """Every method may raise StripeUnavailable, StripeRefused, OutOfTime."""

    def list_portal_configurations(self) -> Sequence[StripeObject]:
        """All of them, newest first."""
        ...

    def create_portal_configuration(self, parameters: Mapping[str, Any]) -> StripeObject: ...

    def update_portal_configuration(
        self, configuration: str, parameters: Mapping[str, Any]
    ) -> StripeObject: ...


class Names(Protocol):
    """Which configuration in Stripe a name of portcullis.toml means. Both may raise
    StoreUnavailable."""

    def configuration_named(
        self, mode: str, name: str, *, consistent: bool = False
    ) -> str | None: ...

    def name_configuration(self, mode: str, name: str, configuration_id: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalConfigurations:
    """A stack's configurations in one Stripe account.

    Both methods may raise what ConfigurationsApi and Names raise. Each step may be cut off or
    repeated: the next deploy continues from what it finds.
    """

    api: ConfigurationsApi
    names: Names
    mode: str
    report: Reporter

    def apply(self, stack: str, wanted: Sequence[WantedConfiguration]) -> dict[str, StripeObject]:
        """Make the stack's configurations what `wanted` says; each by its name, in that order."""
        todo = plan(wanted, self.api.list_portal_configurations(), stack=stack)
        made = dict(todo.existing)
        for each in todo.create:
            made[each.name] = self.api.create_portal_configuration(each.creation())
            self.report("PortalConfigurationCreated", configuration=made[each.name]["id"])
        for name, changes in todo.updates.items():
            made[name] = self.api.update_portal_configuration(made[name]["id"], changes)
            self.report("PortalConfigurationUpdated", configuration=made[name]["id"])
        for name, configuration in made.items():
            known = self.names.configuration_named(self.mode, name, consistent=True)
            if known != configuration["id"]:
                self.names.name_configuration(self.mode, name, configuration["id"])
        # Last: until here the names may still mean one of these.
        self._deactivate(todo)
        return {each.name: made[each.name] for each in wanted}

    def retire(self, stack: str) -> None:
        """Deactivate all of the stack's configurations."""
        self._deactivate(plan((), self.api.list_portal_configurations(), stack=stack))

    def _deactivate(self, todo: ConfigurationPlan) -> None:
        for configuration, changes in todo.superfluous.items():
            self.api.update_portal_configuration(configuration, changes)
            self.report("PortalConfigurationDeactivated", configuration=configuration)
