"""Billing periods on the calendar."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

from .tables import Json


def boundary(anchor: int, interval: str, count: int, index: int) -> int:
    """Return the `index`-th period boundary after the anchor.

    A day that a month does not have becomes its last day. Later months use the anchor's day again.
    """
    start = datetime.fromtimestamp(anchor, UTC)
    if interval in ("day", "week"):
        days = index * count * (7 if interval == "week" else 1)
        return int((start + timedelta(days=days)).timestamp())
    months = start.month - 1 + index * count * (12 if interval == "year" else 1)
    year, month = start.year + months // 12, months % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def period_after(anchor: int, recurring: Json, moment: int) -> tuple[int, int]:
    """Return the start and the end of the period that contains `moment`."""
    interval, count = recurring["interval"], recurring["interval_count"]
    index = 0
    while boundary(anchor, interval, count, index + 1) <= moment:
        index += 1
    while index > 0 and boundary(anchor, interval, count, index) > moment:
        index -= 1
    return (
        boundary(anchor, interval, count, index),
        boundary(anchor, interval, count, index + 1),
    )
