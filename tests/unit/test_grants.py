"""Complimentary features in a customer's metadata."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from billing.facts import Grant
from billing.grants import END_OF_TIME, grants_of
from billing.responses import iso


def at(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("value", "until", "reason"),
    [
        ("2027-01-31 pilot with their team", at(2027, 2, 1), "pilot with their team"),
        ("2027-12-31", at(2028, 1, 1), ""),
        ("2027-01-31T12:30:00Z beta", at(2027, 1, 31, 12, 30), "beta"),
        ("2027-01-31T12:30:00+02:00 beta", at(2027, 1, 31, 10, 30), "beta"),
        ("2027-01-31T12:30:00 beta", at(2027, 1, 31, 12, 30), "beta"),
        ("  forever  founders  ", END_OF_TIME, "founders"),
        ("9999-12-31 founders", END_OF_TIME, "founders"),
        ("9999-12-31T23:59:59-12:00 founders", END_OF_TIME, "founders"),
    ],
)
def test_a_grant_has_an_end_and_a_reason(value: str, until: int, reason: str) -> None:
    assert grants_of({"company": "A", "grant.sso": value, "user_id": "user_1"}) == (
        (Grant(feature="sso", until=until, reason=reason),),
        (),
    )


@pytest.mark.parametrize(
    "value", ["", " ", "soon", "31.01.2027 pilot", "2027-02-30", "10000-01-01", "1e9", "Forever"]
)
def test_a_malformed_grant_is_named_and_grants_nothing(value: str) -> None:
    assert grants_of({"grant.sso": value, "grant.": "forever"}) == ((), ("grant.", "grant.sso"))


def test_forever_is_a_time_that_every_client_can_read() -> None:
    assert iso(END_OF_TIME) == "9999-12-31T23:59:59Z"
