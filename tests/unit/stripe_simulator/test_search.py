"""`GET /v1/customers/search`: the search query language."""

from __future__ import annotations

from typing import Any

import pytest
import stripe


@pytest.fixture
def people(api: Any) -> dict[str, str]:
    """Three customers, by name."""
    rows: list[dict[str, Any]] = [
        {"name": "Ada Okafor", "email": "ada@example.com", "metadata": {"user_id": "u-1"}},
        {"name": "Ben", "email": "ben@example.com", "metadata": {"user_id": "u-1", 'a"b': "1"}},
        {"name": "Ada Lima", "email": "ada@example.com", "metadata": {"user_id": "u-2"}},
    ]
    return {row["name"]: api.customers.create(row).id for row in rows}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("email:'ada@example.com'", ["Ada Lima", "Ada Okafor"]),
        ('metadata["user_id"]:"u-1"', ["Ben", "Ada Okafor"]),
        ('metadata["user_id"]:"U-1"', ["Ben", "Ada Okafor"]),
        ('metadata["user_id"]:"u"', []),
        ('metadata["nothing"]:"u-1"', []),
        ("email:'ada@example.com' AND metadata['user_id']:'u-2'", ["Ada Lima"]),
        ("email:'ada@example.com' and -metadata['user_id']:'u-2'", ["Ada Okafor"]),
        ("name:'ada'", ["Ada Lima", "Ada Okafor"]),
        ("name:'ada okafor'", ["Ada Okafor"]),
        (r'''metadata["a\"b"]:"1"''', ["Ben"]),
    ],
)
def test_a_query_finds_customers(
    api: Any, people: dict[str, str], query: str, found: list[str]
) -> None:
    result = api.customers.search({"query": query})
    assert (result.object, result.url) == ("search_result", "/v1/customers/search")
    assert [customer.id for customer in result.data] == [people[name] for name in found]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ada@example.com", "unable to parse your search query"),
        ("email:ada@example.com", "unable to parse"),
        ("email:'a' OR email:'b'", "unable to parse"),
        ("email:'a' AND", "unable to parse"),
        ("metadata:'a'", "unable to parse"),
        (" AND ".join(["email:'a'"] * 11), "unable to parse"),
        ("balance:'1'", "Field `balance` is an unsupported search field for resource `customers`"),
    ],
)
def test_a_query_that_stripe_refuses_is_a_400(api: Any, query: str, message: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=message):
        api.customers.search({"query": query})


def test_results_have_pages_and_no_deleted_customer(api: Any, people: dict[str, str]) -> None:
    api.customers.delete(people["Ben"])
    first = api.customers.search({"query": "email:'ada@example.com'", "limit": 1})
    assert (len(first.data), first.has_more) == (1, True)
    rest = api.customers.search(
        {"query": "email:'ada@example.com'", "limit": 1, "page": first.next_page}
    )
    assert (rest.has_more, rest.next_page) == (False, None)
    assert [first.data[0].id, rest.data[0].id] == [people["Ada Lima"], people["Ada Okafor"]]
    assert api.customers.search({"query": "email:'ben@example.com'"}).data == []
