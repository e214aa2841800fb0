"""The HTTP contract: every route, with the schemas of its request and its responses.

Each schema is declared beside the code that reads or writes such a body; this table names them all.
docs/openapi.json is made from it, and the tests compare every response with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from billing import catalog, ingest, responses
from billing.checkout import sessions as checkout
from billing.http import PROBLEM_SCHEMA
from billing.portal import sessions as portal
from billing.settings import STRIPE_API_VERSION

Json = Mapping[str, Any]

#: The body of API Gateway's own errors: 401, and 404 and 429 where it answers by itself.
GATEWAY_ERROR_SCHEMA: Json = {
    "type": "object",
    "description": "API Gateway's own errors are not problem details.",
    "required": ["message"],
    "properties": {"message": {"type": "string"}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route. `function` is its folder below functions/, `name` its example's file in events/.

    `success` has the schema for each successful status (None: no body), `problems` the meaning of
    each status that is answered with problem details. `headers`, `path_parameters` and `body` are
    an example request.
    """

    method: str
    path: str
    function: str
    name: str
    summary: str
    success: Mapping[int, Json | None]
    problems: Mapping[int, str] = field(default_factory=dict)
    request: Json | None = None
    is_public: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None

    @property
    def key(self) -> str:
        """The route as API Gateway names it: `GET /entitlements/{feature}`."""
        return f"{self.method} {self.path}"


_BAD_REQUEST = "The body has an unknown field, a wrong type, or a value that is not allowed."
_NO_SUBJECT = "The token's claim does not say who is billed."
_UNAVAILABLE = "Stripe or AWS is not available. Try again after `Retry-After` seconds."

ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/entitlements",
        function="get_entitlements",
        name="get_entitlements",
        summary=(
            "What the signed-in subject may use: features, products with quantities, "
            "subscriptions, payment method, tax ids, `as_of`, `valid_until`"
        ),
        success={200: responses.ENTITLEMENTS_SCHEMA},
        problems={403: _NO_SUBJECT},
    ),
    Route(
        method="GET",
        path="/entitlements/{feature}",
        function="get_entitlements",
        name="get_entitlement",
        summary="Whether the subject may use one feature, by its lookup key",
        success={200: responses.ENTITLEMENT_SCHEMA},
        problems={403: _NO_SUBJECT},
        path_parameters={"feature": "single_sign_on"},
    ),
    Route(
        method="POST",
        path="/portal-sessions",
        function="create_portal_session",
        name="create_portal_session",
        summary=(
            "Create a session of Stripe's customer portal. Body, all optional: `return_url`, "
            "`locale`, `configuration` (a name in `portcullis.toml`), `flow`"
        ),
        request=portal.REQUEST_SCHEMA,
        success={201: portal.SESSION_SCHEMA},
        problems={
            400: _BAD_REQUEST,
            403: f"{_NO_SUBJECT} Or it lacks the scope, or the configuration is for other plans.",
            404: "The subject has no customer, or not this subscription or item.",
            409: "The portal does not offer this flow for this subscription as it is now.",
            413: "The body is too large.",
        },
        body={"return_url": "https://app.example.com/account", "locale": "en"},
    ),
    Route(
        method="GET",
        path="/catalog",
        function="get_catalog",
        name="get_catalog",
        summary="Products with prices and features that are for sale; cacheable, with an `ETag`",
        success={200: catalog.CATALOG_SCHEMA, 304: None},
        is_public=True,
    ),
    Route(
        method="POST",
        path="/checkout-sessions",
        function="create_checkout_session",
        name="create_checkout_session",
        summary=(
            "Create a session of Stripe's checkout, or return the open one if the request is "
            "repeated. Body: `price` (a lookup key or id listed in "
            "`portcullis.toml`); optional: `quantity`, `success_url`, `cancel_url`"
        ),
        request=checkout.REQUEST_SCHEMA,
        success={201: checkout.SESSION_SCHEMA},
        problems={
            400: f"{_BAD_REQUEST} Or the price is not for sale.",
            403: f"{_NO_SUBJECT} Or it lacks the scope.",
            409: "The subject already holds the product, or another checkout for it just began.",
            413: "The body is too large.",
        },
        body={"price": "team_monthly", "quantity": 3},
    ),
    Route(
        method="GET",
        path="/checkout-sessions/{id}",
        function="get_checkout_session",
        name="get_checkout_session",
        summary="A checkout session of the subject, with what it brought, webhook or not",
        success={200: checkout.RETRIEVED_SCHEMA},
        problems={403: _NO_SUBJECT, 404: "The subject has no such checkout session."},
        path_parameters={"id": "cs_test_a1B2c3D4e5F6g7H8"},
    ),
    Route(
        method="POST",
        path="/webhooks/stripe",
        function="ingest_webhook",
        name="ingest_webhook",
        summary="Accept an event that Stripe signed, once SQS has the message",
        request={
            "type": "object",
            "description": "A Stripe event, signed in Stripe-Signature",
            "required": ["id", "object"],
        },
        success={200: ingest.RECEIVED_SCHEMA},
        problems={400: "The signature is not valid.", 413: "The body is too large."},
        is_public=True,
        headers={"stripe-signature": f"t=1785000000,v1={'5' * 64}"},
        body={
            "id": "evt_1QEnvelopeExample",
            "object": "event",
            "api_version": STRIPE_API_VERSION,
            "created": 1795348800,
            "data": {"object": {"id": "cus_QEnvelopeExample", "object": "customer"}},
            "livemode": False,
            "type": "customer.updated",
        },
    ),
)

#: Schemas that docs/openapi.json names, because several routes share them.
COMPONENTS: Mapping[str, Json] = {
    "Entitlements": responses.ENTITLEMENTS_SCHEMA,
    "GatewayError": GATEWAY_ERROR_SCHEMA,
    "Problem": PROBLEM_SCHEMA,
}

#: Any route may answer so.
SHARED_PROBLEMS: Mapping[int, str] = {
    500: "An unexpected error, which is logged.",
    503: _UNAVAILABLE,
}


def responses_of(route: Route) -> dict[int, Json | None]:
    """The schema of each status that `route` may answer with; None: no body."""
    problems = dict.fromkeys([*route.problems, *SHARED_PROBLEMS], PROBLEM_SCHEMA)
    own: dict[int, Json | None] = {**route.success, **problems}
    return own if route.is_public else {**own, 401: GATEWAY_ERROR_SCHEMA}
