"""What Stripe declares of a response: the types by stripe-python, the presence by `fields.json`."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from stripe._stripe_object import StripeObject, UntypedStripeObject

from local.stripe_simulator import library
from local.stripe_simulator.api import shape_of
from local.stripe_simulator.errors import StripeError
from local.stripe_simulator.fields import FIELDS
from local.stripe_simulator.parameters import decode, validate
from local.stripe_simulator.routes import match
from local.stripe_simulator.world import World

LISTS = {
    "list": {"object", "data", "has_more", "url"},
    "search_result": {"object", "data", "has_more", "url", "next_page"},
}


def problems(value: Any, annotation: Any, path: str) -> list[str]:
    """Return the places where `value` does not match the annotation."""
    parts = library.members(annotation)
    # The library widens its literals with `str`. Here a value must be one of the literals.
    if any(typing.get_origin(part) is Literal for part in parts):
        parts = tuple(part for part in parts if part is not str)
    candidates = [_mismatch(value, part, path) for part in parts]
    if any(not found for found in candidates):
        return []
    # The longest list comes from the object's own class, which says more than "is no string".
    return max(candidates, key=len)


def _mismatch(value: Any, part: Any, path: str) -> list[str]:
    origin = typing.get_origin(part)
    if part is Any:
        return []
    if origin is Literal:
        return [] if value in typing.get_args(part) else [f"{path}: {value!r} is not in {part}"]
    if origin is list:
        if not isinstance(value, list):
            return [f"{path}: no list"]
        (element,) = typing.get_args(part)
        return [p for i, each in enumerate(value) for p in problems(each, element, f"{path}[{i}]")]
    if library.is_list_object(part):
        return _list_problems(value, typing.get_args(part)[0], path)
    if UntypedStripeObject in (origin, part):
        return [] if isinstance(value, dict) else [f"{path}: no object"]
    if part is type(None):
        return [] if value is None else [f"{path}: {value!r} is not null"]
    if isinstance(part, type) and issubclass(part, StripeObject):
        return object_problems(value, part, path)
    if part.__name__ == "Decimal":
        return [] if isinstance(value, str) else [f"{path}: {value!r} is no decimal string"]
    if part is float and isinstance(value, int):
        return []
    good = isinstance(value, part) and not (part is int and isinstance(value, bool))
    return [] if good else [f"{path}: {value!r} is no {part.__name__}"]


def _list_problems(value: Any, element: Any, path: str) -> list[str]:
    if not isinstance(value, dict) or value.get("object") != "list":
        return [f"{path}: no list object"]
    found = [f"{path}.{name}" for name in value.keys() ^ LISTS["list"]]
    for index, each in enumerate(value["data"]):
        found += problems(each, element, f"{path}.data[{index}]")
    return found


def object_problems(value: Any, cls: type, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: {value!r} is no object"]
    declared = library.fields(cls)
    found = [f"{path}.{name}: not declared" for name in value if name not in declared]
    if value.get("deleted"):
        return found
    for name, annotation in declared.items():
        if name in value:
            found += problems(value[name], annotation, f"{path}.{name}")
    return found


def check(shape: dict[str, Any]) -> list[str]:
    """Return what is wrong with the body of a response or with an event."""
    kind = shape["object"]
    if kind in LISTS:
        found = [f"{kind}.{name}" for name in shape.keys() ^ LISTS[kind]]
        return [*found, *(p for each in shape["data"] for p in check(each))]
    cls = library.object_class(kind)
    assert cls is not None, kind
    found = [*object_problems(shape, cls, kind), *presence(shape, kind, kind)]
    if kind == "event":
        found += check(shape["data"]["object"])
    return found


def presence(value: dict[str, Any], name: str, path: str) -> list[str]:
    """Return the required fields that are missing, and the nulls where there can be none."""
    fields = FIELDS["deleted " + name if value.get("deleted") else name]
    found = []
    for key, field in fields.items():
        if key not in value:
            if field.required:
                found.append(f"{path}.{key}: missing")
        elif value[key] is None and not field.nullable:
            found.append(f"{path}.{key}: null")
        else:
            found += _held_presence(value[key], field.holds, f"{path}.{key}")
    return found


def _held_presence(value: Any, holds: tuple[str, ...], path: str) -> list[str]:
    if isinstance(value, list):
        return [p for each in value for p in _held_presence(each, holds, path)]
    if not isinstance(value, dict):
        return []
    kind = value.get("object")
    if kind == "list":
        return _held_presence(value["data"], holds, path)
    if isinstance(kind, str) and "Event.Data.Object" not in holds:
        name = "deleted " + kind if value.get("deleted") else kind
        return presence(value, kind, path) if name in holds else [f"{path}: {kind}"]
    if not holds:
        return [f"{path}: add what it is to RENDERED in local/stripe_types.py"]
    return min((presence(value, name, path) for name in holds), key=len)


def unserved_lists(world: World, body: dict[str, Any]) -> list[str]:
    """Return the URLs of the lists in an object that do not answer with the same list now."""
    return [each["url"] for each in _embedded(body) if not _is_served(world, each)]


def _embedded(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _embedded(each, depth)
    # An event shows lists as they were.
    elif isinstance(value, dict) and value.get("object") != "event":
        if value.get("object") == "list" and depth > 0:
            yield value
        for part in value.values():
            yield from _embedded(part, depth + 1)


def _is_served(world: World, embedded: dict[str, Any]) -> bool:
    address = urlsplit(embedded["url"])
    found = match("GET", address.path)
    if found is None or not found[0].listing:
        return False
    route, ids = found
    try:
        params = validate(decode(parse_qsl(address.query)), route.params)
        page = shape_of(world, route.endpoint(world, params, **ids), [])
    except StripeError:
        return False
    same = [each["id"] for each in page["data"]] == [each["id"] for each in embedded["data"]]
    return same and page["has_more"] == embedded["has_more"]


def unknown_urls(shape: dict[str, Any]) -> list[str]:
    """Return the URLs of the lists in an object that no endpoint serves."""
    urls = [each["url"] for each in _embedded(shape)]
    return [url for url in urls if match("GET", urlsplit(url).path) is None]
