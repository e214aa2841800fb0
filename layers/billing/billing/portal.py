"""Opening Stripe's customer portal for the signed-in subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import fastjsonschema

from billing.customers import Customers
from billing.errors import BadRequest, CustomerNotFound, NotFound
from billing.origins import checked_return_url
from billing.projection import StripeObject

_ID = {"type": "string", "minLength": 1, "maxLength": 255}

#: The body of `POST /portal-sessions`. Strict: a customer id is refused whatever it is called.
REQUEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "return_url": {"type": "string", "minLength": 1},
        "locale": {"type": "string", "pattern": "^(auto|[a-z]{2,3}(-[A-Z0-9]{2,3})?)$"},
        "flow": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type"],
            "properties": {
                "type": {
                    "enum": [
                        "payment_method_update",
                        "subscription_cancel",
                        "subscription_update",
                        "subscription_update_confirm",
                        "subscription_pause",
                        "customer_update",
                    ]
                },
                "subscription": _ID,
                "items": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["id"],
                        "properties": {
                            "id": _ID,
                            "price": _ID,
                            "quantity": {"type": "integer", "minimum": 0},
                        },
                    },
                },
            },
            "allOf": [
                {
                    "if": {"properties": {"type": {"pattern": "^subscription_"}}},
                    "then": {"required": ["subscription"]},
                },
                {
                    "if": {"properties": {"type": {"const": "subscription_update_confirm"}}},
                    "then": {"required": ["items"]},
                },
            ],
        },
    },
}


_validate = fastjsonschema.compile(REQUEST_SCHEMA)


def parse_request(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """`body` itself if it is valid by REQUEST_SCHEMA. Raises BadRequest naming what is not."""
    try:
        _validate(body, name_prefix="body")
    except fastjsonschema.JsonSchemaValueException as error:
        raise BadRequest(f"{error.message}.") from None
    return body


class PortalApi(Protocol):
    """Both raise StripeUnavailable, StripeRefused; the second CustomerNotFound too."""

    def subscription(self, subscription: str) -> StripeObject | None: ...
    def create_portal_session(self, parameters: Mapping[str, Any]) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalSessions:
    """What opening a portal session depends on; the fields are the template's parameters."""

    customers: Customers
    stripe: PortalApi
    allowed_origins: tuple[str, ...]
    default_return_url: str
    stage: str

    def __call__(self, subject: str, request: Mapping[str, Any]) -> str:
        """The URL of a new portal session for the subject's customer: a bearer link, good for five
        minutes, never to be logged.

        `request` is valid by REQUEST_SCHEMA. Raises BadRequest, NotFound, StoreUnavailable,
        StripeUnavailable, StripeRefused.
        """
        parameters: dict[str, Any] = {"return_url": self._return_url(request)}
        row = self.customers.of(subject)
        if row is None:
            raise NotFound(
                "You have no customer in Stripe (any more); it comes with the first purchase."
            )
        parameters["customer"] = row.key.customer
        if "locale" in request:
            parameters["locale"] = request["locale"]
        if "flow" in request:
            parameters["flow_data"] = self._flow_data(request["flow"], row.key.customer)
        try:
            return self.stripe.create_portal_session(parameters)
        except CustomerNotFound:
            raise NotFound("Your customer does not exist in Stripe any more.") from None

    def _return_url(self, request: Mapping[str, Any]) -> str:
        if "return_url" not in request:
            return self.default_return_url
        return checked_return_url(request["return_url"], self.allowed_origins, stage=self.stage)

    def _flow_data(self, flow: Mapping[str, Any], customer: str) -> dict[str, Any]:
        """Stripe's `flow_data` for our flat flow; whatever it names must be this customer's own."""
        kind: str = flow["type"]
        if "subscription" not in flow:
            return {"type": kind}
        details: dict[str, Any] = {"subscription": flow["subscription"]}
        subscription = self.stripe.subscription(flow["subscription"])
        if subscription is None or subscription["customer"] != customer:
            raise NotFound("You have no such subscription.")
        if "items" in flow:
            own = {item["id"] for item in subscription["items"]["data"]}
            if not own.issuperset(item["id"] for item in flow["items"]):
                raise NotFound("Your subscription has no such item.")
            details["items"] = list(flow["items"])
        return {"type": kind, kind: details}
