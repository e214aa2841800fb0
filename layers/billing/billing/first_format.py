"""Rows as the first release wrote them: with access decided when it was stored. Pure.

They have no `format`. This release reads them until a sync has written them anew; the next format's
release deletes this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The default PastDueGraceDays, in seconds: such a row holds when grace ends, not when it began.
GRACE_SECONDS = 7 * 86_400


def converted(item: Mapping[str, Any]) -> dict[str, Any]:
    """The `facts` and the `history` of such an item, as plain data."""
    method = item.get("payment_method")
    facts = {
        "deleted": bool(item.get("deleted")),
        "delinquent": bool(item.get("delinquent")),
        "subscriptions": [_subscription(each) for each in item.get("subscriptions", ())],
        "entitlements": list(item.get("features", {})),
        "payment_method": _plain(method) | {"type": "card"} if method else None,
        "tax_ids": [_plain(each) for each in item.get("tax_ids", ())],
        "claimed_subject": item.get("claimed_subject"),
    }
    return {
        "facts": facts,
        "history": [_plain(each) for each in item.get("transitions", ())],
    }


def _subscription(stored: Mapping[str, Any]) -> dict[str, Any]:
    found = _plain(stored)
    period_end, until = found.get("current_period_end"), found.get("until")
    items = [_plain(item) | {"period_end": period_end} for item in found["items"]]
    debt = None if until is None else {"since": until - GRACE_SECONDS, "paid": items}
    # An active one without an end had its collection paused, and the policy gave nothing.
    return found | {"items": items, "debt": debt, "collection_paused": until is None}


def _plain(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Without DynamoDB's decimals."""
    return {
        name: value if isinstance(value, str | list | tuple | None) else int(value)
        for name, value in stored.items()
    }
