"""Webhook endpoints: their URL, event types, API version and signing secrets."""

from __future__ import annotations

import stripe.params as p

from .errors import invalid
from .lookup import find
from .parameters import Params
from .routes import Page, merge_metadata, page, route, unset_empty
from .tables import Json
from .world import World

MAX_ENDPOINTS = 16


def _check_url(world: World, url: str) -> None:
    schemes = ("https://",) if world.livemode else ("https://", "http://")
    if not url.startswith(schemes):
        raise invalid(
            "Invalid URL: must be HTTPS in live mode and begin with a scheme.", "url", "url_invalid"
        )


@route("POST", "/v1/webhook_endpoints", p.WebhookEndpointCreateParams, "webhook_endpoint")
def create_webhook_endpoint(world: World, params: Params) -> Json:
    """Create an endpoint. Only this response contains the signing secret."""
    _check_url(world, params["url"])
    if len(world.tables.all("webhook_endpoint")) >= MAX_ENDPOINTS:
        mode = "" if world.livemode else "test "
        raise invalid(f"You have reached the maximum of {MAX_ENDPOINTS} {mode}webhook endpoints.")
    secret = "whsec_" + world.token(32)
    endpoint = world.save(
        {
            "id": world.id("webhook_endpoint"),
            "object": "webhook_endpoint",
            "_secrets": [{"secret": secret, "expires_at": None}],
            "api_version": params.get("api_version"),
            "created": world.now(),
            "description": unset_empty(params.get("description")),
            "enabled_events": params["enabled_events"],
            "livemode": world.livemode,
            "metadata": merge_metadata(None, params.get("metadata")),
            "status": "enabled",
            "url": params["url"],
        }
    )
    return {**endpoint, "secret": secret}


@route("GET", "/v1/webhook_endpoints/{id}", p.WebhookEndpointRetrieveParams, "webhook_endpoint")
def retrieve_webhook_endpoint(world: World, params: Params, id: str) -> Json:
    return find(world, "webhook_endpoint", id, "webhook endpoint")


@route("POST", "/v1/webhook_endpoints/{id}", p.WebhookEndpointUpdateParams, "webhook_endpoint")
def update_webhook_endpoint(world: World, params: Params, id: str) -> Json:
    endpoint = find(world, "webhook_endpoint", id, "webhook endpoint")
    if "url" in params:
        _check_url(world, params["url"])
        endpoint["url"] = params["url"]
    if "enabled_events" in params:
        endpoint["enabled_events"] = params["enabled_events"]
    if "description" in params:
        endpoint["description"] = unset_empty(params["description"])
    if "disabled" in params:
        endpoint["status"] = "disabled" if params["disabled"] else "enabled"
    endpoint["metadata"] = merge_metadata(endpoint["metadata"], params.get("metadata"))
    return world.save(endpoint)


@route("DELETE", "/v1/webhook_endpoints/{id}", p.WebhookEndpointDeleteParams, "webhook_endpoint")
def delete_webhook_endpoint(world: World, params: Params, id: str) -> Json:
    find(world, "webhook_endpoint", id, "webhook endpoint")
    return world.remove("webhook_endpoint", id)


@route(
    "GET",
    "/v1/webhook_endpoints",
    p.WebhookEndpointListParams,
    "webhook_endpoint",
    listing=True,
)
def list_webhook_endpoints(world: World, params: Params) -> Page:
    return page(world.tables.all("webhook_endpoint"), params, "/v1/webhook_endpoints")
