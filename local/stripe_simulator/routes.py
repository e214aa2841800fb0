"""The table of endpoints. Each family of resources declares its own with `@route`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import invalid
from .parameters import Params
from .tables import Json

DEFAULT_LIMIT, MAX_LIMIT = 10, 100


@dataclass(frozen=True)
class Page:
    """One page of a list of stored objects."""

    url: str
    values: list[Json]
    has_more: bool


@dataclass(frozen=True)
class SearchResult(Page):
    """One page of what a search found. `next_page` is the parameter that requests the next."""

    next_page: str | None


Result = Json | Page
Endpoint = Callable[..., Result]
Declared = TypeVar("Declared", bound=Endpoint)


@dataclass(frozen=True)
class Route:
    """One endpoint with the types of its parameters and its result."""

    method: str
    path: str
    pattern: re.Pattern[str]
    params: type
    returns: str
    endpoint: Endpoint
    listing: bool


ROUTES: list[Route] = []


def route(
    method: str, path: str, params: type, returns: str, *, listing: bool = False
) -> Callable[[Declared], Declared]:
    """Declare `endpoint(world, params, **ids of the path)`. `returns` is the result's `object`."""

    def declare(endpoint: Declared) -> Declared:
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
        ROUTES.append(Route(method, path, pattern, params, returns, endpoint, listing))
        return endpoint

    return declare


def match(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    for candidate in ROUTES:
        if candidate.method == method and (found := candidate.pattern.fullmatch(path)):
            return candidate, found.groupdict()
    return None


def page(values: list[Json], params: Params, url: str) -> Page:
    """Return one page of `values`, which are in the order of the list (newest first)."""
    limit: int = params.get("limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid(
            f"Invalid limit: {limit}. Limit must be between 1 and {MAX_LIMIT}.",
            "limit",
            "parameter_invalid_integer",
        )
    after, before = params.get("starting_after"), params.get("ending_before")
    if after is not None and before is not None:
        raise invalid("You cannot parameterize both starting_after and ending_before.")
    if after is not None:
        start = _position(values, after, "starting_after") + 1
        return Page(url, values[start : start + limit], len(values) > start + limit)
    if before is not None:
        end = _position(values, before, "ending_before")
        start = max(0, end - limit)
        return Page(url, values[start:end], start > 0)
    return Page(url, values[:limit], len(values) > limit)


def _position(values: list[Json], id: str, param: str) -> int:
    for index, value in enumerate(values):
        if value["id"] == id:
            return index
    raise invalid(f"No such object: '{id}'", param, "resource_missing")


def in_range(number: int, wanted: Any) -> bool:
    """Return whether `number` passes a filter like `created` (a number or gt/gte/lt/lte)."""
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return number == wanted
    return bool(
        number > wanted.get("gt", float("-inf"))
        and number >= wanted.get("gte", float("-inf"))
        and number < wanted.get("lt", float("inf"))
        and number <= wanted.get("lte", float("inf"))
    )


def unset_empty(value: Any) -> Any:
    """Return None for an empty value: sent to Stripe, it unsets the field."""
    return None if value == "" else value


def merge_metadata(current: Json | None, sent: Any) -> Json:
    """Return the metadata after an update. An empty value unsets a key, `sent=""` all keys."""
    if sent == "":
        return {}
    merged = {**(current or {}), **(sent or {})}
    return {key: value for key, value in merged.items() if value != ""}
