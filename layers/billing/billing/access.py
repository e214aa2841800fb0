"""The access policy: which subscription gives access, and until when. Pure.

Stripe status         gives access     until
active, trialing      yes              the item's period end + renewal slack
  … end scheduled     yes              exactly then: cancel_at, or the period end
past_due              yes, in grace    creation of the unpaid latest invoice + grace
anything else         no               –
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Invoice statuses of https://docs.stripe.com/api/invoices/object that still ask for money.
UNPAID_INVOICE = frozenset({"draft", "open", "uncollectible"})

GRACE_STATUS = "past_due"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """What the operator may tune. Durations in seconds."""

    past_due_grace: int
    renewal_slack: int
    pause_collection_keeps_access: bool


def scheduled_end(subscription: Mapping[str, Any]) -> int | None:
    """When the subscription is set to end, in epoch seconds, whichever way that was scheduled.

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
    """Until when (epoch seconds) `item` of `subscription` gives access; None: it gives none.

    Both are Stripe's objects at the pinned API version, with `latest_invoice` expanded.
    """
    if subscription.get("pause_collection") and not policy.pause_collection_keeps_access:
        return None
    end = scheduled_end(subscription)
    match subscription["status"]:
        case "active" | "trialing":
            if end is not None:
                return end
            renews = period_end(subscription, item)
            return None if renews is None else renews + policy.renewal_slack
        case "past_due":
            grace = _unpaid_since(subscription, item)
            if grace is None:
                return None
            grace += policy.past_due_grace
            return grace if end is None else min(grace, end)
        case _:
            return None


def _unpaid_since(subscription: Mapping[str, Any], item: Mapping[str, Any]) -> int | None:
    """Creation of the unpaid latest invoice.

    At a renewal Stripe has already moved the period on, so its end is the wrong clock; its start is
    the moment that invoice was due, and serves where the latest invoice is not the unpaid one.
    """
    invoice = subscription.get("latest_invoice")
    if isinstance(invoice, Mapping) and invoice.get("status") in UNPAID_INVOICE:
        return int(invoice["created"])
    start = item.get("current_period_start") or subscription.get("current_period_start")
    return None if start is None else int(start)
