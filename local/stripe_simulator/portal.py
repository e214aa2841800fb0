"""The customer portal's configurations and sessions (`portal_page` serves their URL).

https://docs.stripe.com/api/customer_portal
"""

from __future__ import annotations

import time
from typing import Any

import stripe.params.billing_portal as pb

from . import lifecycle
from .errors import invalid, no_such
from .fields import completed
from .lookup import find, find_customer
from .parameters import Params
from .portal_features import features_of, no_features, set_features
from .routes import Page, merge_metadata, page, route, unset_empty
from .tables import Json
from .world import World

MAX_HEADLINE_LENGTH, MAX_NAME_LENGTH = 60, 256


def default_configuration(world: World) -> Json:
    """Return the default configuration, which at Stripe the dashboard creates."""
    for configuration in world.tables.all("billing_portal.configuration", is_default=True):
        return configuration
    features = no_features()
    for name in ("invoice_history", "payment_method_update", "subscription_cancel"):
        features[name]["enabled"] = True
    features["customer_update"] = {"allowed_updates": ["tax_id"], "enabled": True}
    return world.save(_configuration(world, {}, features, is_default=True))


def _configuration(world: World, params: Params, features: Json, *, is_default: bool) -> Json:
    return completed(
        {
            "id": world.id("billing_portal.configuration"),
            "object": "billing_portal.configuration",
            "active": True,
            "business_profile": {},
            "created": world.now(),
            "default_return_url": unset_empty(params.get("default_return_url")),
            "features": features,
            "is_default": is_default,
            "livemode": world.livemode,
            "login_page": {"enabled": False},
            "metadata": merge_metadata(None, params.get("metadata")),
            "name": unset_empty(params.get("name")),
            "updated": world.now(),
        }
    )


def _check_length(text: str, most: int, param: str) -> None:
    if len(text) > most:
        shown = f"{text[:10]}...{text[-10:]}"
        raise invalid(f"Invalid string: {shown}; must be at most {most} characters", param)


def _set_rest(world: World, configuration: Json, params: Params) -> None:
    profile = params.get("business_profile", {})
    _check_length(profile.get("headline", ""), MAX_HEADLINE_LENGTH, "business_profile[headline]")
    _check_length(params.get("name", ""), MAX_NAME_LENGTH, "name")
    for name in ("default_return_url", "name"):
        if name in params:
            configuration[name] = unset_empty(params[name])
    for name, value in profile.items():
        configuration["business_profile"][name] = unset_empty(value)
    if "login_page" in params:
        enabled = params["login_page"]["enabled"]
        url = configuration["login_page"]["url"]
        if enabled and url is None:
            mode = "" if world.livemode else "test_"
            url = f"https://billing.stripe.com/p/login/{mode}{world.token(14)}"
        configuration["login_page"] = {"enabled": enabled, "url": url if enabled else None}
    if "active" in params:
        configuration["active"] = params["active"]
    configuration["metadata"] = merge_metadata(configuration["metadata"], params.get("metadata"))


@route(
    "POST",
    "/v1/billing_portal/configurations",
    pb.ConfigurationCreateParams,
    "billing_portal.configuration",
)
def create_configuration(world: World, params: Params) -> Json:
    features = features_of(world, params["features"])
    configuration = _configuration(world, params, features, is_default=False)
    _set_rest(world, configuration, {k: v for k, v in params.items() if k != "metadata"})
    return world.save(configuration, "billing_portal.configuration.created")


@route(
    "GET",
    "/v1/billing_portal/configurations/{id}",
    pb.ConfigurationRetrieveParams,
    "billing_portal.configuration",
)
def retrieve_configuration(world: World, params: Params, id: str) -> Json:
    return find(world, "billing_portal.configuration", id, "configuration")


@route(
    "POST",
    "/v1/billing_portal/configurations/{id}",
    pb.ConfigurationUpdateParams,
    "billing_portal.configuration",
)
def update_configuration(world: World, params: Params, id: str) -> Json:
    configuration = find(world, "billing_portal.configuration", id, "configuration")
    if configuration["is_default"] and params.get("active") is False:
        raise invalid("The default configuration cannot be deactivated.", "active")
    if "features" in params:
        set_features(world, configuration["features"], params["features"])
    _set_rest(world, configuration, params)
    configuration["updated"] = world.now()
    return world.save(configuration, "billing_portal.configuration.updated")


@route(
    "GET",
    "/v1/billing_portal/configurations",
    pb.ConfigurationListParams,
    "billing_portal.configuration",
    listing=True,
)
def list_configurations(world: World, params: Params) -> Page:
    found = [
        configuration
        for configuration in world.tables.all("billing_portal.configuration")
        if params.get("active", configuration["active"]) == configuration["active"]
        and params.get("is_default", configuration["is_default"]) == configuration["is_default"]
    ]
    return page(found, params, "/v1/billing_portal/configurations")


# Sessions


@route("POST", "/v1/billing_portal/sessions", pb.SessionCreateParams, "billing_portal.session")
def create_session(world: World, params: Params) -> Json:
    if "customer" not in params:
        raise invalid("Missing required param: customer.", "customer", "parameter_missing")
    customer = find_customer(world, params["customer"], "customer")
    if "configuration" in params:
        configuration = find(
            world,
            "billing_portal.configuration",
            params["configuration"],
            "configuration",
            "configuration",
        )
        if not configuration["active"]:
            raise invalid("The configuration is not active.", "configuration")
    else:
        configuration = default_configuration(world)
    return_url: str | None = params.get("return_url", configuration["default_return_url"])
    if return_url is not None and not return_url.startswith(("http://", "https://")):
        raise invalid("Not a valid URL", "return_url", "url_invalid")
    flow = params.get("flow_data")
    if return_url is None and flow is None:
        raise invalid(
            "Missing required param: return_url. Pass it, or set the configuration's "
            "default_return_url.",
            "return_url",
            "parameter_missing",
        )
    with world.changing():
        secret = ("live_" if world.livemode else "test_") + world.token(40)
        session: Json = {
            "id": world.id("billing_portal.session"),
            "object": "billing_portal.session",
            "_secret": secret,
            "_used_at": None,
            "_wall_created": time.time(),
            "_discounts": [],
            "configuration": configuration["id"],
            "created": world.now(),
            "customer": customer["id"],
            "flow": flow and _flow(world, customer["id"], configuration, flow),
            "livemode": world.livemode,
            "locale": params.get("locale"),
            "on_behalf_of": params.get("on_behalf_of"),
            "return_url": return_url,
            "url": f"{world.caller.base_url}/p/session/{secret}",
        }
        return world.save(session, "billing_portal.session.created")


_FEATURE_OF_FLOW = {
    "customer_update": "customer_update",
    "payment_method_update": "payment_method_update",
    "subscription_cancel": "subscription_cancel",
    "subscription_pause": "subscription_pause",
    "subscription_update": "subscription_update",
    "subscription_update_confirm": "subscription_update",
}


def _flow(world: World, customer: str, configuration: Json, sent: Params) -> Json:
    type: str = sent["type"]
    feature = _FEATURE_OF_FLOW[type]
    if not configuration["features"][feature]["enabled"]:
        raise invalid(
            f"The `{feature}` feature is not enabled in the portal configuration "
            f"`{configuration['id']}`.",
            "flow_data[type]",
        )
    names = ("subscription_cancel", "subscription_pause", "subscription_update")
    flow: Json = {
        "after_completion": _after_completion(sent.get("after_completion")),
        **dict.fromkeys((*names, "subscription_update_confirm")),
        "type": type,
    }
    for name in (*names, "subscription_update_confirm"):
        if name in sent and name != type:
            raise invalid(
                f"You may not pass flow_data[{name}] when flow_data[type] is {type}.",
                f"flow_data[{name}]",
            )
    if type in ("payment_method_update", "customer_update"):
        return flow
    if type not in sent:
        raise invalid(
            f"Missing required param: flow_data[{type}].", f"flow_data[{type}]", "parameter_missing"
        )
    details: Any = sent[type]
    param = f"flow_data[{type}]"
    subscription = find(
        world, "subscription", details["subscription"], "subscription", f"{param}[subscription]"
    )
    if subscription["customer"] != customer:
        raise no_such("subscription", details["subscription"], f"{param}[subscription]")
    if subscription["status"] in lifecycle.ENDED:
        raise invalid("This subscription has been canceled.", f"{param}[subscription]")
    flow[type] = {"subscription": details["subscription"]}
    if type == "subscription_cancel":
        if subscription["cancel_at"] is not None:
            raise invalid(
                "This subscription is already set to be canceled.", f"{param}[subscription]"
            )
        flow[type]["retention"] = details.get("retention")
        if "retention" in details:
            coupon = details["retention"]["coupon_offer"]["coupon"]
            find(world, "coupon", coupon, "coupon", f"{param}[retention][coupon_offer][coupon]")
    elif type == "subscription_update_confirm":
        flow[type].update(_confirm(world, configuration, subscription, details, param))
    return flow


def _confirm(
    world: World, configuration: Json, subscription: Json, details: Json, param: str
) -> Json:
    if len(details["items"]) != 1:
        raise invalid("You must pass exactly one item.", f"{param}[items]")
    (wanted,) = details["items"]
    if not any(item["id"] == wanted["id"] for item in subscription["items"]):
        raise no_such("subscription item", wanted["id"], f"{param}[items][0][id]")
    if "price" in wanted:
        find(world, "price", wanted["price"], "price", f"{param}[items][0][price]")
        offered = configuration["features"]["subscription_update"].get("products") or []
        if not any(wanted["price"] in product["prices"] for product in offered):
            raise invalid(
                f"The price {wanted['price']} is not offered by the portal configuration.",
                f"{param}[items][0][price]",
            )
    discounts = [
        {"coupon": each.get("coupon"), "promotion_code": each.get("promotion_code")}
        for each in details.get("discounts", [])
    ]
    item = {"price": None, **{k: v for k, v in wanted.items() if k in ("id", "price", "quantity")}}
    return {"items": [item], "discounts": discounts or None}


def _after_completion(sent: Params | None) -> Json:
    after: Json = {"hosted_confirmation": None, "redirect": None, "type": "portal_homepage"}
    if sent is None:
        return after
    after["type"] = sent["type"]
    if sent["type"] == "redirect":
        if "redirect" not in sent:
            raise invalid(
                "Missing required param: flow_data[after_completion][redirect].",
                "flow_data[after_completion][redirect]",
                "parameter_missing",
            )
        after["redirect"] = {"return_url": sent["redirect"]["return_url"]}
    elif sent["type"] == "hosted_confirmation":
        message = sent.get("hosted_confirmation", {}).get("custom_message")
        after["hosted_confirmation"] = {"custom_message": message}
    return after
