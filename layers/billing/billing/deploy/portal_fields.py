"""Every field of a portal configuration, and what it is where portcullis.toml does not name it.

Stripe keeps the value of a field that an update omits. So an update sends every field, and a field
that is removed from the file returns to what a new configuration has.
https://docs.stripe.com/api/customer_portal/configurations/update
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from billing.configuration.file import merged
from billing.configuration.shapes import CANCELLATION_REASONS


@dataclass(frozen=True, slots=True)
class NeverUnset:
    """A field that no update unsets, and why."""

    reason: str


_WITH_ITS_LIST = NeverUnset("an entry of a list: Stripe replaces the whole list")

#: By path, with [] for the entries of a list: the value of a field that the file does not name. ""
#: unsets it, and a new configuration has none. Every other value is sent at creation too: then an
#: updated configuration equals a new one, whatever Stripe's own default is.
FIELDS: Mapping[str, Any | NeverUnset] = {
    "active": True,
    "business_profile.headline": "",
    "business_profile.privacy_policy_url": "",
    "business_profile.terms_of_service_url": "",
    "default_return_url": "",
    "expand": NeverUnset("it shapes the response, and is no part of the configuration"),
    "features.customer_update.allowed_updates": "",
    "features.customer_update.enabled": False,
    "features.invoice_history.enabled": False,
    "features.payment_method_update.enabled": False,
    "features.payment_method_update.payment_method_configuration": "",
    "features.subscription_cancel.cancellation_reason.enabled": False,
    "features.subscription_cancel.cancellation_reason.feedback_options": "",
    # Creation requires options wherever it has a cancellation_reason.
    "features.subscription_cancel.cancellation_reason.options": CANCELLATION_REASONS,
    "features.subscription_cancel.enabled": False,
    "features.subscription_cancel.mode": "at_period_end",
    "features.subscription_cancel.proration_behavior": "none",
    "features.subscription_pause.duration.interval_options": "",
    "features.subscription_pause.duration.interval_options[].interval": _WITH_ITS_LIST,
    "features.subscription_pause.duration.interval_options[].interval_count": _WITH_ITS_LIST,
    # A duration has no "". The library documents another default for creation: one month.
    "features.subscription_pause.duration.type": "indefinite",
    "features.subscription_pause.enabled": False,
    "features.subscription_update.billing_cycle_anchor": "unchanged",
    "features.subscription_update.default_allowed_updates": "",
    "features.subscription_update.enabled": False,
    "features.subscription_update.products": "",
    "features.subscription_update.products[].adjustable_quantity.enabled": _WITH_ITS_LIST,
    "features.subscription_update.products[].adjustable_quantity.maximum": _WITH_ITS_LIST,
    "features.subscription_update.products[].adjustable_quantity.minimum": _WITH_ITS_LIST,
    "features.subscription_update.products[].prices": _WITH_ITS_LIST,
    "features.subscription_update.products[].product": _WITH_ITS_LIST,
    "features.subscription_update.proration_behavior": "none",
    "features.subscription_update.schedule_at_period_end.conditions": "",
    "features.subscription_update.schedule_at_period_end.conditions[].type": _WITH_ITS_LIST,
    "features.subscription_update.trial_update_behavior": "end_trial",
    "login_page.enabled": False,
    "metadata": NeverUnset("its keys are the deploy's own, and every update sends them"),
    "name": NeverUnset("the file always names it: the table's name, unless it has another"),
}


def _unset() -> dict[str, Any]:
    """The fields of FIELDS as Stripe's nested parameters."""
    parameters: dict[str, Any] = {}
    for path, value in FIELDS.items():
        if isinstance(value, NeverUnset):
            continue
        *tables, field = path.split(".")
        table = parameters
        for name in tables:
            table = table.setdefault(name, {})
        table[field] = value
    return parameters


_UNSET = _unset()

#: Not every account has pauses: an update sends them only where the file or Stripe has them.
_PAUSE = "subscription_pause"
_WITHOUT_PAUSE: Mapping[str, Any] = _UNSET | {
    "features": {name: unset for name, unset in _UNSET["features"].items() if name != _PAUSE}
}
_NO_PAUSE: Mapping[str, Any] = {"features": {_PAUSE: _UNSET["features"][_PAUSE]}}


def every_field(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The update that makes a configuration what the file's `parameters` say, and nothing else.

    It leaves out subscription_pause unless `parameters` name it: see `pause_off`. An empty list
    becomes "", because Stripe's form encoding has no empty list.
    """
    unset = _UNSET if _PAUSE in parameters["features"] else _WITHOUT_PAUSE
    return merged(unset, _without_empty(parameters))


def pause_off(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """The update that turns off the pauses of `configuration`, Stripe's object; empty where they
    are off, or unknown to the account."""
    pause = configuration["features"].get(_PAUSE) or {}
    return _NO_PAUSE if pause.get("enabled") else {}


def for_creation(update: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a new configuration, which is active and has nothing to unset."""
    return {name: value for name, value in _without_empty(update).items() if name != "active"}


def _without_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    """`table` without empty texts, lists and tables. Entries of a list stay as they are."""
    inner = {
        name: _without_empty(value) if isinstance(value, Mapping) else value
        for name, value in table.items()
    }
    return {name: value for name, value in inner.items() if value not in ("", [], {})}
