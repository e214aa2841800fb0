"""The access policy: which subscription gives access, and until when. Pure.

standing     Stripe status                 gives access     until
PAID         active, trialing              yes              the item's period end + renewal slack
               … with a scheduled end      yes              exactly then
GRACE        past_due                      yes              creation of the unpaid invoice + grace
all others   see STANDINGS                 no               –
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any


class Standing(Enum):
    """What a subscription's status means to us. Only this module reads the status itself."""

    PAID = auto()
    GRACE = auto()
    UNPAID = auto()
    PAUSED = auto()
    INCOMPLETE = auto()
    ENDED = auto()
    UNKNOWN = auto()


#: https://docs.stripe.com/api/subscriptions/object#subscription_object-status
STANDINGS: Mapping[str, Standing] = {
    "active": Standing.PAID,
    "trialing": Standing.PAID,
    "past_due": Standing.GRACE,
    "unpaid": Standing.UNPAID,
    "paused": Standing.PAUSED,
    "incomplete": Standing.INCOMPLETE,
    "incomplete_expired": Standing.ENDED,
    "canceled": Standing.ENDED,
}

#: Invoice statuses of https://docs.stripe.com/api/invoices/object that still ask for money.
UNPAID_INVOICE = frozenset({"draft", "open", "uncollectible"})


def standing(status: str) -> Standing:
    """The standing of a subscription with this status; UNKNOWN for a status that Stripe added."""
    return STANDINGS.get(status, Standing.UNKNOWN)


def is_held(status: str) -> bool:
    """Whether a customer with such a subscription holds its products, paid for or not.

    An incomplete one is not held: a customer whose card failed may try again.
    """
    return standing(status) not in (Standing.INCOMPLETE, Standing.ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """The parameters of the policy. Durations are in seconds."""

    past_due_grace: int
    renewal_slack: int
    pause_collection_keeps_access: bool


def scheduled_end(subscription: Mapping[str, Any]) -> int | None:
    """When the subscription is scheduled to end, in epoch seconds; None where it is not.

    Flexible billing sets `cancel_at` only, classic billing `cancel_at_period_end`
    (https://docs.stripe.com/billing/subscriptions/cancel).
    """
    if subscription.get("cancel_at") is not None:
        return int(subscription["cancel_at"])
    if subscription.get("cancel_at_period_end"):
        return current_period_end(subscription)
    return None


def period_end(subscription: Mapping[str, Any], item: Mapping[str, Any]) -> int | None:
    """End of the item's current period: on the subscription before 2025-03-31.basil."""
    end = item.get("current_period_end") or subscription.get("current_period_end")
    return None if end is None else int(end)


def current_period_end(subscription: Mapping[str, Any]) -> int | None:
    """The last of the items' period ends."""
    ends = [period_end(subscription, item) for item in subscription["items"]["data"]]
    return max((end for end in ends if end is not None), default=None)


def access_until(
    subscription: Mapping[str, Any], item: Mapping[str, Any], policy: AccessPolicy
) -> int | None:
    """When the access that `item` of `subscription` gives ends, in epoch seconds; None: no access.

    Both are Stripe's objects at the pinned API version, with `latest_invoice` expanded.
    """
    if subscription.get("pause_collection") and not policy.pause_collection_keeps_access:
        return None
    end = scheduled_end(subscription)
    match standing(subscription["status"]):
        case Standing.PAID:
            if end is not None:
                return end
            renews = period_end(subscription, item)
            return None if renews is None else renews + policy.renewal_slack
        case Standing.GRACE:
            grace = _unpaid_since(subscription, item)
            if grace is None:
                return None
            grace += policy.past_due_grace
            return grace if end is None else min(grace, end)
        case _:
            return None


def _unpaid_since(subscription: Mapping[str, Any], item: Mapping[str, Any]) -> int | None:
    """When the unpaid latest invoice was created.

    At a renewal Stripe has already moved the period, so its end says nothing about the debt. Its
    start is when that invoice was due: the fallback where the latest invoice is not the unpaid one.
    """
    invoice = subscription.get("latest_invoice")
    if isinstance(invoice, Mapping) and invoice.get("status") in UNPAID_INVOICE:
        return int(invoice["created"])
    start = item.get("current_period_start") or subscription.get("current_period_start")
    return None if start is None else int(start)
