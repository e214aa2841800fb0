"""Stripe's search query language, as far as equal strings that are joined by AND.

Stripe finds a change within a minute; the simulator finds it at once.
https://docs.stripe.com/search#search-query-language
"""

from __future__ import annotations

import re

from .errors import StripeError, invalid
from .routes import DEFAULT_LIMIT, SearchResult
from .tables import Json

MAX_CLAUSES = 10

_STRING = r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
_CLAUSE = re.compile(rf"(-?)(\w+)(?:\[({_STRING})\])?:({_STRING})")
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)

Clause = tuple[bool, str, str | None, str]  # negated, field, key of metadata, value


def search(values: list[Json], params: Json, fields: tuple[str, ...], url: str) -> SearchResult:
    """Return the page of `values` that match `params["query"]`, with `fields` and metadata."""
    clauses = _clauses(params["query"], fields, url.split("/")[2])
    found = [value for value in values if all(_matches(value, clause) for clause in clauses)]
    start, limit = int(params.get("page", 0)), params.get("limit", DEFAULT_LIMIT)
    more = len(found) > start + limit
    return SearchResult(
        url, found[start : start + limit], more, str(start + limit) if more else None
    )


def _clauses(query: str, fields: tuple[str, ...], resource: str) -> list[Clause]:
    clauses: list[Clause] = []
    position = 0
    while found := _CLAUSE.match(query, position):
        negated, field, key, value = found.groups()
        if field not in (*fields, "metadata"):
            raise invalid(
                f"Field `{field}` is an unsupported search field for resource `{resource}`."
            )
        if (field == "metadata") != (key is not None):
            break
        clauses.append((negated == "-", field, key and _unquoted(key), _unquoted(value)))
        if found.end() == len(query) and len(clauses) <= MAX_CLAUSES:
            return clauses
        joined = _AND.match(query, found.end())
        if joined is None:
            break
        position = joined.end()
    raise _unparsable()


def _unparsable() -> StripeError:
    return invalid(
        "We were unable to parse your search query. Try using the format "
        '`metadata["key"]:"value"` to query for metadata or key:"value" to query for other fields.'
    )


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _matches(value: Json, clause: Clause) -> bool:
    """Return whether the words are in the field in this order; metadata must be equal as a whole.

    Stripe ignores the case of both.
    """
    negated, field, key, wanted = clause
    held = value["metadata"].get(key) if key is not None else value.get(field)
    if held is None:
        return negated
    held, wanted = held.casefold(), wanted.casefold()
    equal = held == wanted if key is not None else f" {wanted} " in f" {held} "
    return bool(equal != negated)
