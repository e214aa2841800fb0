"""The features of a portal configuration: what each starts with, and what an update makes of it.

An update keeps what it omits, and "" unsets.
"""

from __future__ import annotations

from .errors import invalid, missing_parameter
from .lookup import find
from .parameters import Params
from .routes import unset_empty
from .tables import Json
from .world import World

REASONS = (
    "too_expensive",
    "missing_features",
    "switched_service",
    "unused",
    "customer_service",
    "too_complex",
    "low_quality",
    "other",
)
MAX_PRODUCTS = 10


def no_features() -> Json:
    """Return the features of a configuration, all disabled."""
    return {
        "customer_update": {"allowed_updates": [], "enabled": False},
        "invoice_history": {"enabled": False},
        "payment_method_update": {"enabled": False, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {
                "enabled": False,
                "feedback_options": [],
                "options": list(REASONS),
            },
            "enabled": False,
            "mode": "at_period_end",
            "proration_behavior": "none",
        },
        "subscription_pause": {
            "duration": {"interval_options": [], "type": "indefinite"},
            "enabled": False,
        },
        "subscription_update": {
            "billing_cycle_anchor": "unchanged",
            "default_allowed_updates": [],
            "enabled": False,
            "products": [],
            "proration_behavior": "none",
            "schedule_at_period_end": {"conditions": []},
            "trial_update_behavior": "end_trial",
        },
    }


def features_of(world: World, wanted: Params) -> Json:
    """Return the features of a new configuration."""
    features = no_features()
    pause = wanted.get("subscription_pause")
    if pause is not None and "duration" not in pause:
        # The default that stripe-python documents for `duration`.
        options = [{"interval": "month", "interval_count": 1}]
        features["subscription_pause"]["duration"] = {
            "interval_options": options,
            "type": "interval_options",
        }
    set_features(world, features, wanted)
    return features


def set_features(world: World, features: Json, wanted: Params) -> None:
    """Merge what an update sends into `features`, and check what comes out."""
    for name, values in wanted.items():
        _merge(features[name], values)
    _check_pause(features["subscription_pause"]["duration"])
    update = features["subscription_update"]
    if update["enabled"]:
        if not update.get("products"):
            raise invalid(
                "You must provide at least one product when subscription_update is enabled.",
                "features[subscription_update][products]",
            )
        if not update["default_allowed_updates"]:
            raise invalid(
                "Missing required param: features[subscription_update][default_allowed_updates].",
                "features[subscription_update][default_allowed_updates]",
                "parameter_missing",
            )
    offered = update.get("products") or []
    if len(offered) > MAX_PRODUCTS:
        raise invalid(
            f"You may only offer up to {MAX_PRODUCTS} products.",
            "features[subscription_update][products]",
        )
    for index, product in enumerate(offered):
        _check_product(world, product, f"features[subscription_update][products][{index}]")
    change = features["customer_update"]
    if change["enabled"] and not change["allowed_updates"]:
        raise invalid(
            "Missing required param: features[customer_update][allowed_updates].",
            "features[customer_update][allowed_updates]",
            "parameter_missing",
        )


def _check_pause(duration: Json) -> None:
    for option in duration["interval_options"]:
        option.setdefault("interval_count", 1)
    if duration["type"] == "interval_options" and not duration["interval_options"]:
        raise missing_parameter("features[subscription_pause][duration][interval_options]")


def _merge(current: Json, sent: Json) -> None:
    for name, value in sent.items():
        if isinstance(value, dict) and isinstance(current.get(name), dict):
            _merge(current[name], value)
        elif value == "" and isinstance(current.get(name), list):
            current[name] = []
        else:
            current[name] = unset_empty(value)


def _check_product(world: World, offered: Json, param: str) -> None:
    find(world, "product", offered["product"], "product", f"{param}[product]")
    for index, id in enumerate(offered["prices"]):
        price = find(world, "price", id, "price", f"{param}[prices][{index}]")
        if price["product"] != offered["product"]:
            raise invalid(
                f"The price {id} does not belong to the product {offered['product']}.",
                f"{param}[prices][{index}]",
            )
    offered.setdefault("adjustable_quantity", {"enabled": False})
    adjustable = offered["adjustable_quantity"]
    adjustable.setdefault("minimum", 1)
    adjustable.setdefault("maximum", None)
