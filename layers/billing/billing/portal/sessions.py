"""Creating a portal session for the signed-in subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from billing.access import AccessPolicy
from billing.configuration.file import Configuration, PortalConfiguration
from billing.customers import Customers
from billing.errors import (
    BadRequest,
    CustomerNotFound,
    Forbidden,
    NotFound,
    StateConflict,
    StripeRefused,
)
from billing.keys import CONFIGURATION, OWN_ACCOUNT, DocumentKey
from billing.model import CustomerRow, DocumentRow
from billing.portal.flows import (
    FLOW_SCHEMA,
    FLOWS,
    check_coupons,
    check_fields,
    check_possible,
    flow_data,
)
from billing.return_urls import ReturnUrls
from billing.schemas import checker, object_schema
from billing.stripe_objects import StripeObject

#: The locales of https://docs.stripe.com/api/customer_portal/sessions/create.
LOCALES = (
    "auto bg cs da de el en en-AU en-CA en-GB en-IE en-IN en-NZ en-SG es es-419 et fi fil fr fr-CA "
    "hr hu id it ja ko lt lv ms mt nb nl pl pt pt-BR ro ru sk sl sv th tr vi zh zh-HK zh-TW"
)

#: The body of `POST /portal-sessions`. Strict: a customer id is refused, whatever its name is.
REQUEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "return_url": {"type": "string", "minLength": 1},
        "locale": {"enum": LOCALES.split()},
        "configuration": {"type": "string", "minLength": 1, "maxLength": 255},
        "flow": FLOW_SCHEMA,
    },
}

_checked = checker(REQUEST_SCHEMA)

#: The body of the response to `POST /portal-sessions`.
SESSION_SCHEMA = object_schema(
    "The new portal session.",
    url={"type": "string", "description": "A bearer link: five minutes to open it"},
)


class PortalApi(Protocol):
    """Each raises StripeUnavailable, StripeRefused; the last one CustomerNotFound too."""

    def retrieve_subscription(self, subscription: str) -> StripeObject | None: ...
    def find_price_id(self, lookup_key: str) -> str | None: ...
    def create_portal_session(self, parameters: Mapping[str, Any]) -> str: ...


class PortalStore(Protocol):
    """What the table knows of the portal configurations in Stripe. Both raise StoreUnavailable."""

    def configuration_named(self, mode: str, name: str) -> str | None:
        """The id of the configuration that portcullis.toml calls `name`; None before a deploy has
        made it."""
        ...

    def load_document(self, key: DocumentKey, *, consistent: bool = True) -> DocumentRow: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalSessions:
    """What creating a portal session depends on. `clock` returns epoch seconds."""

    customers: Customers
    stripe: PortalApi
    store: PortalStore
    configuration: Configuration
    policy: AccessPolicy
    return_urls: ReturnUrls
    on_behalf_of: str
    account: str
    mode: str
    clock: Callable[[], float]

    def create(self, subject: str, request: Mapping[str, Any]) -> str:
        """The URL of a new portal session for the subject's customer: a bearer link, valid for five
        minutes, never to be logged.

        `request` is the body of `POST /portal-sessions`. Raises BadRequest, Forbidden, NotFound,
        StateConflict, StoreUnavailable, StripeUnavailable, StripeRefused.
        """
        _checked(request)
        parameters: dict[str, Any] = {"return_url": self.return_urls.chosen(request, "return_url")}
        flow = request.get("flow")
        if flow:
            check_fields(flow)
            if "return_url" in flow.get("after_completion", {}):
                self.return_urls.checked(
                    flow["after_completion"]["return_url"], "flow.after_completion.return_url"
                )
            check_coupons(flow, self.configuration)
        row = self.customers.of(subject)
        if row is None:
            raise NotFound(
                "No Stripe customer exists for you yet; your first purchase creates one."
            )
        parameters["customer"] = row.key.id
        if "locale" in request:
            parameters["locale"] = request["locale"]
        if self.on_behalf_of != OWN_ACCOUNT:
            parameters["on_behalf_of"] = self.on_behalf_of
        chosen = self._chosen(request, row)
        configuration_id = self._id_of(chosen, request)
        if configuration_id is not None:
            parameters["configuration"] = configuration_id
        if flow:
            if not self._offers(chosen, configuration_id, FLOWS[flow["type"]].feature):
                raise StateConflict(
                    f"The portal configuration {chosen.name!r} does not offer "
                    f"{FLOWS[flow['type']].feature}."
                )
            parameters["flow_data"] = self._flow_data(flow, row.key.id)
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

    def _chosen(self, request: Mapping[str, Any], row: CustomerRow) -> PortalConfiguration:
        """The configuration the request names, else the one whose rule the customer meets."""
        access = row.access(self.policy, self.clock())
        products, features = access.products, access.features
        if "configuration" not in request:
            return self.configuration.chosen_for(products, features)
        named = self.configuration.named(request["configuration"])
        if named is None:
            names = ", ".join(each.name for each in self.configuration.configurations)
            raise BadRequest(
                f"There is no portal configuration {request['configuration']!r}; allowed: {names}."
            )
        if not named.serves(products, features):
            raise Forbidden(
                f"The portal configuration {named.name!r} is for customers with another plan."
            )
        return named

    def _id_of(self, chosen: PortalConfiguration, request: Mapping[str, Any]) -> str | None:
        """Its id in Stripe. Until a deploy has made it, the account's default serves a request that
        names none."""
        known = self.store.configuration_named(self.mode, chosen.name)
        if known is None and "configuration" in request:
            raise BadRequest(
                f"The portal configuration {chosen.name!r} is not set up in Stripe yet; "
                "the next deploy does that."
            )
        return known

    def _offers(
        self, chosen: PortalConfiguration, configuration_id: str | None, feature: str
    ) -> bool:
        """Whether the portal offers `feature`: what Stripe says where we know it, else the file."""
        # A connected account receives no events of the platform's configurations.
        if configuration_id is not None and self.account == OWN_ACCOUNT:
            key = DocumentKey(CONFIGURATION, self.mode, configuration_id)
            known = self.store.load_document(key, consistent=False).content
            if known:
                return bool(known["active"] and known["features"].get(feature, False))
        features: Mapping[str, Any] = chosen.parameters.get("features", {})
        return bool(features.get(feature, {}).get("enabled", False))

    def _flow_data(self, flow: Mapping[str, Any], customer_id: str) -> dict[str, Any]:
        """Stripe's `flow_data`; what the flow names must be this customer's own."""
        subscription: StripeObject | None = None
        if "subscription" in flow:
            subscription = self.stripe.retrieve_subscription(flow["subscription"])
            if subscription is None or subscription["customer"] != customer_id:
                raise NotFound("You have no such subscription.")
            check_possible(flow, subscription)
        return flow_data(flow, subscription, self._price_id)

    def _price_id(self, price: str) -> str:
        """A price is named by its lookup key, as in portcullis.toml, or by its id."""
        return self.stripe.find_price_id(price) or price
