"""What can be a subject, and what is said about a value that cannot."""

from __future__ import annotations

import pytest

from billing.subjects import MAX_SUBJECT_BYTES, why_unusable


@pytest.mark.parametrize(
    "subject", ["auth0|1", "a b", "é" * (MAX_SUBJECT_BYTES // 2), "x" * MAX_SUBJECT_BYTES, "maps"]
)
def test_any_printable_text_of_up_to_256_bytes_is_a_subject(subject: str) -> None:
    assert MAX_SUBJECT_BYTES == 256
    assert why_unusable(subject) is None


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        (None, "it is missing or empty"),
        (7, "it is missing or empty"),
        ("", "it is missing or empty"),
        ("x" * 257, "it is longer than 256 bytes"),
        ("é" * 129, "it is longer than 256 bytes"),
        ("\ud800" * 100, "it is longer than 256 bytes"),
        (" ", "it has characters that cannot be printed, or nothing else"),
        ("a\nb", "it has characters that cannot be printed, or nothing else"),
        ("[a b]", "it is a list or an object"),
        ("map[a:b]", "it is a list or an object"),
    ],
)
def test_what_cannot_be_a_subject_is_told_why(subject: object, why: str) -> None:
    assert why_unusable(subject) == why
