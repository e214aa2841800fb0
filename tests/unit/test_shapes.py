"""What is wrong with a value of the file, in the words of the error."""

from __future__ import annotations

from typing import Any

import pytest

from billing.configuration.shapes import ListOf, OneOf, Shape, Table, Value, mistakes

SIZE = Table({"width": Value(int, least=1), "unit": OneOf(("cm", "in"))}, required=("width",))
URL = Value(str, starts=("https://", "http://"))


@pytest.mark.parametrize(
    ("value", "shape", "what"),
    [
        ([], SIZE, "must be a table of width, unit, not a list"),
        ({"width": 1}, Value(str), "must be a string, not a table"),
        ({"width": 1}, ListOf(SIZE), "must be a list, not a table"),
        ("a", ListOf(SIZE), 'must be a list, not "a"'),
        (True, ListOf(SIZE), "must be a list, not true"),
        (False, Value(int), "must be a whole number, not false"),
        (7, Value(bool), "must be true or false, not 7"),
        (7, OneOf(("cm", "in")), 'is 7; allowed: "cm", "in"'),
        (0, Value(int, least=1), "is 0; allowed: 1 or more"),
        (9, Value(int, least=1, most=8), "is 9; allowed: 1 to 8"),
        ("", Value(str, least=1), "must not be empty"),
        ("abc", Value(str, most=2), "has 3 characters; Stripe takes 2"),
        ("ftp://x", URL, 'is "ftp://x"; it must begin with https:// or http://'),
        (["a", "b", "c"], ListOf(Value(str), most=2), "has 3 entries; Stripe takes 2"),
        ({}, SIZE, "lacks width"),
    ],
)
def test_a_mistake_says_what_is_there_and_what_is_allowed(
    value: Any, shape: Shape, what: str
) -> None:
    assert list(mistakes(("key",), value, shape, whole=True)) == [(("key",), what)]


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"width": 1, "unit": "cm"}, SIZE),
        (["a", "b"], ListOf(Value(str), most=2)),
        ("ab", Value(str, least=2, most=2)),
        (2, Value(int, least=2, most=2)),
        ("", Value(str)),
        ("http://x", URL),
        (False, Value(bool)),
    ],
)
def test_a_value_of_its_shape_is_no_mistake(value: Any, shape: Shape) -> None:
    assert list(mistakes(("key",), value, shape, whole=True)) == []


def test_a_part_of_a_table_may_lack_keys_but_an_entry_of_a_list_may_not() -> None:
    """An overlay is merged into its table. A list in it takes the other's place."""
    assert list(mistakes((), {"unit": "cm"}, SIZE, whole=False)) == []
    found = list(mistakes((), {"sizes": [{}]}, Table({"sizes": ListOf(SIZE)}), whole=False))
    assert found == [(("sizes", 0), "lacks width")]


def test_the_mistakes_in_a_table_name_their_keys() -> None:
    assert list(mistakes(("a",), {"width": 0, "color": 1}, SIZE, whole=True)) == [
        (("a", "width"), "is 0; allowed: 1 or more"),
        (("a", "color"), "is unknown; allowed here: width, unit"),
    ]
