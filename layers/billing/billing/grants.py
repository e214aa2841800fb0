"""Complimentary features: the customer's metadata `grant.<feature>` = `2027-01-31 reason`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from billing.facts import Grant

#: How the metadata keys of grants begin. Stripe allows 40 characters for the whole key.
PREFIX = "grant."

#: The first word of a grant without an end, and the time that stands for it.
FOREVER = "forever"
END_OF_TIME = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


def grants_of(metadata: Mapping[str, str]) -> tuple[tuple[Grant, ...], tuple[str, ...]]:
    """The grants in a customer's metadata, and the keys of those that cannot be read."""
    grants: list[Grant] = []
    malformed: list[str] = []
    for key, value in sorted(metadata.items()):
        if not key.startswith(PREFIX):
            continue
        end, _, reason = value.strip().partition(" ")
        until = _end(end)
        feature = key.removeprefix(PREFIX)
        if until is None or not feature:
            malformed.append(key)
        else:
            grants.append(Grant(feature=feature, until=until, reason=reason.strip()))
    return tuple(grants), tuple(malformed)


def _end(text: str) -> int | None:
    """`forever`, an ISO 8601 time, or a date, which means the end of that day in UTC."""
    if text == FOREVER:
        return END_OF_TIME
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if len(text) <= len("2027-01-31"):
        if time.date() == date.max:
            return END_OF_TIME
        time += timedelta(days=1)
    return min(END_OF_TIME, int(time.replace(tzinfo=time.tzinfo or UTC).timestamp()))
