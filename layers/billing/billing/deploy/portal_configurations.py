"""The portal configurations a stack wants in Stripe, and what it takes to get there. Pure.

Ours are known by metadata, as webhook_endpoint.py's are. Stripe cannot delete a configuration:
one that the file no longer has is deactivated, and taken up again when it comes back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing.configuration.file import Configuration, merged
from billing.deploy.webhook_endpoint import STACK, STAGE, ours
from billing.errors import SetupFailed
from billing.projection import StripeObject

#: Metadata: what the file calls the configuration, and a hash of what it was last made of.
NAME, CONTENT = "portcullis_name", "portcullis_content"

#: What an update begins from, since Stripe keeps whatever it is not told: Stripe's own defaults.
_UNSET: Mapping[str, Any] = {
    "active": True,
    "business_profile": {"headline": "", "privacy_policy_url": "", "terms_of_service_url": ""},
    "login_page": {"enabled": False},
    "features": {
        "customer_update": {"enabled": False},
        "invoice_history": {"enabled": False},
        "payment_method_update": {"enabled": False, "payment_method_configuration": ""},
        "subscription_cancel": {
            "enabled": False,
            "mode": "at_period_end",
            "proration_behavior": "none",
            "cancellation_reason": {"enabled": False},
        },
        "subscription_pause": {"enabled": False},
        "subscription_update": {
            "enabled": False,
            "billing_cycle_anchor": "unchanged",
            "products": "",
            "proration_behavior": "none",
            "schedule_at_period_end": {"conditions": ""},
            "trial_update_behavior": "end_trial",
        },
    },
}

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
        return hashlib.sha256(json.dumps(self.parameters, sort_keys=True).encode()).hexdigest()[:16]

    def creation(self) -> dict[str, Any]:
        """Those of https://docs.stripe.com/api/customer_portal/configurations/create."""
        return {**self.parameters, "metadata": self._metadata}

    def changes(self, configuration: StripeObject) -> dict[str, Any]:
        """The update that makes `configuration` what is wanted; empty where it is."""
        metadata = configuration["metadata"]
        if metadata.get(CONTENT) != self.content or not configuration["active"]:
            return merged(_UNSET, self.parameters) | {"metadata": self._metadata}
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
    """What to do about all configurations `found` in the Stripe account."""
    # Active ones first: of two by one name, that one is in use.
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
    configuration: Configuration,
    prices: Mapping[str, StripeObject],
    *,
    default_return_url: str,
) -> dict[str, Any]:
    """The configuration's parameters with every price by its id and every product named.

    `prices` holds Stripe's prices by what the file calls them. Raises SetupFailed where the prices
    of one entry are not one product's.
    """
    parameters: dict[str, Any] = {"default_return_url": default_return_url}
    parameters |= configuration.parameters
    features: Mapping[str, Any] = parameters["features"]
    update: Mapping[str, Any] = features.get("subscription_update", {})
    if "products" not in update:
        return parameters
    offered: list[dict[str, Any]] = []
    for entry in update["products"]:
        products = {name: _product(prices[name]) for name in entry["prices"]}
        if len(set(products.values())) != 1:
            raise SetupFailed(
                f"portcullis.toml: {configuration.name}.features.subscription_update.products: "
                f"{', '.join(products)} are not the prices of one product. Give each product a "
                "[[…products]] of its own."
            )
        (product,) = set(products.values())
        if any(product == each["product"] for each in offered):
            raise SetupFailed(
                f"portcullis.toml: {configuration.name}.features.subscription_update.products: "
                f"{', '.join(products)} are prices of a product that has an entry already. List "
                "all prices of a product in one entry."
            )
        ids = [prices[name]["id"] for name in entry["prices"]]
        offered.append(dict(entry) | {"product": product, "prices": ids})
    parameters["features"] = {
        **features,
        "subscription_update": {**update, "products": offered},
    }
    return parameters


def _product(price: StripeObject) -> str:
    product = price["product"]
    return str(product["id"] if isinstance(product, Mapping) else product)
