"""Opening Stripe's customer portal for the signed-in subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from billing import request_body
from billing.configuration.file import Configuration, ConfigurationFile
from billing.customers import Customers
from billing.errors import BadRequest, CustomerNotFound, NotFound, StateConflict, StripeRefused
from billing.model import CustomerRow
from billing.origins import checked_return_url
from billing.portal import flows as portal_flows
from billing.projection import StripeObject

#: Those of https://docs.stripe.com/api/customer_portal/sessions/create.
LOCALES = (
    "auto bg cs da de el en en-AU en-CA en-GB en-IE en-IN en-NZ en-SG es es-419 et fi fil fr fr-CA "
    "hr hu id it ja ko lt lv ms mt nb nl pl pt pt-BR ro ru sk sl sv th tr vi zh zh-HK zh-TW"
)

#: The body of `POST /portal-sessions`. Strict: a customer id is refused whatever it is called.
REQUEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "return_url": {"type": "string", "minLength": 1},
        "locale": {"enum": LOCALES.split()},
        "configuration": {"type": "string", "minLength": 1, "maxLength": 255},
        "flow": portal_flows.FLOW_SCHEMA,
    },
}

_checked = request_body.checker(REQUEST_SCHEMA)


def parse_request(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """`body` itself if it is a valid request. Raises BadRequest naming what is not."""
    _checked(body)
    if "flow" in body:
        portal_flows.check_names(body["flow"])
    return body


class PortalApi(Protocol):
    """Each raises StripeUnavailable, StripeRefused; the last CustomerNotFound too."""

    def subscription(self, subscription: str) -> StripeObject | None: ...
    def price_by_lookup_key(self, lookup_key: str) -> str | None: ...
    def create_portal_session(self, parameters: Mapping[str, Any]) -> str: ...


class ConfigurationNames(Protocol):
    """Which portal configuration in Stripe stripe_setup made for a name of portcullis.toml."""

    def configuration_named(self, mode: str, name: str) -> str | None:
        """Its id, None where there is none yet. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalSessions:
    """What opening a portal session depends on; `file` is portcullis.toml."""

    customers: Customers
    stripe: PortalApi
    names: ConfigurationNames
    file: ConfigurationFile
    allowed_origins: tuple[str, ...]
    default_return_url: str
    on_behalf_of: str
    stage: str
    mode: str

    def __call__(self, subject: str, request: Mapping[str, Any]) -> str:
        """The URL of a new portal session for the subject's customer: a bearer link, good for five
        minutes, never to be logged.

        `request` has passed parse_request. Raises BadRequest, NotFound, StateConflict,
        StoreUnavailable, StripeUnavailable, StripeRefused.
        """
        parameters: dict[str, Any] = {"return_url": self._return_url(request)}
        flow = request.get("flow")
        if flow:
            self._check_return_url(flow.get("after_completion", {}).get("return_url"))
            portal_flows.check_coupons(flow, self.file)
        row = self.customers.of(subject)
        if row is None:
            raise NotFound("You have no customer in Stripe (any more); a purchase makes one.")
        parameters["customer"] = row.key.customer
        if "locale" in request:
            parameters["locale"] = request["locale"]
        if self.on_behalf_of:
            parameters["on_behalf_of"] = self.on_behalf_of
        configuration = self._configuration(request, row)
        if (known := self._configuration_id(configuration, request)) is not None:
            parameters["configuration"] = known
        if flow:
            parameters["flow_data"] = self._flow_data(flow, configuration, row.key.customer)
        try:
            return self.stripe.create_portal_session(parameters)
        except CustomerNotFound:
            raise NotFound("Your customer was deleted in Stripe.") from None
        except StripeRefused as refusal:
            if flow and refusal.status == 400:
                raise StateConflict(
                    "Stripe's portal does not offer this flow for this subscription as it is now."
                ) from refusal
            raise

    def _return_url(self, request: Mapping[str, Any]) -> str:
        url: str = request.get("return_url", self.default_return_url)
        if "return_url" in request:
            self._check_return_url(url)
        return url

    def _check_return_url(self, url: str | None) -> None:
        if url is not None:
            checked_return_url(url, self.allowed_origins, stage=self.stage)

    def _configuration(self, request: Mapping[str, Any], row: CustomerRow) -> Configuration:
        """The configuration the request names, else the one whose rule the customer meets."""
        if "configuration" not in request:
            return self.file.chosen_for(row.billing.products, row.billing.features)
        named = self.file.named(request["configuration"])
        if named is None:
            raise BadRequest(f"There is no portal configuration {request['configuration']!r}.")
        return named

    def _configuration_id(
        self, configuration: Configuration, request: Mapping[str, Any]
    ) -> str | None:
        """Its id in Stripe. Until stripe_setup has made it, the account's default serves whoever
        asked for none by name."""
        known = self.names.configuration_named(self.mode, configuration.name)
        if known is None and "configuration" in request:
            raise BadRequest(
                f"The portal configuration {configuration.name!r} has not been set up in Stripe."
            )
        return known

    def _flow_data(
        self, flow: Mapping[str, Any], configuration: Configuration, customer: str
    ) -> dict[str, Any]:
        """Stripe's `flow_data`; whatever the flow names must be this customer's own."""
        feature = portal_flows.FEATURE_OF_FLOW[flow["type"]]
        features: Mapping[str, Any] = configuration.parameters.get("features", {})
        if not features.get(feature, {}).get("enabled", False):
            raise StateConflict(
                f"The portal configuration {configuration.name!r} does not offer {feature}."
            )
        subscription: StripeObject | None = None
        if "subscription" in flow:
            subscription = self.stripe.subscription(flow["subscription"])
            if subscription is None or subscription["customer"] != customer:
                raise NotFound("You have no such subscription.")
            portal_flows.check_possible(flow, subscription)
        return portal_flows.flow_data(flow, subscription, self._price_id)

    def _price_id(self, price: str) -> str:
        """A price is named by its id or, as in portcullis.toml, by its lookup key."""
        return self.stripe.price_by_lookup_key(price) or price
