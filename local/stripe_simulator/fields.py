"""The fields of Stripe's objects, from `fields.json`: which are required, and which can be null."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .tables import Json


@dataclass(frozen=True)
class Field:
    """One field. `holds` names the objects that it can contain."""

    required: bool
    nullable: bool
    holds: tuple[str, ...]


def _field(text: str) -> Field:
    kind, _, held = text.partition(": ")
    return Field(
        not kind.startswith("optional"), "nullable" in kind, tuple(filter(None, held.split(", ")))
    )


TABLE: Json = json.loads(Path(__file__).with_name("fields.json").read_text())

#: The fields of each object by name, or by the name of the object that it is part of and its own.
FIELDS: dict[str, dict[str, Field]] = {
    name: {key: _field(text) for key, text in fields.items()}
    for name, fields in TABLE["objects"].items()
}


def completed(value: Json) -> Json:
    """Return the object with null for each missing field that is required and can be null."""
    name = value.get("object")
    if not isinstance(name, str) or name not in FIELDS or value.get("deleted"):
        return value
    return _complete(value, name)


def _complete(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_complete(each, name) for each in value]
    if not isinstance(value, dict) or value.get("deleted"):
        return value
    if value.get("object") == "list":
        return {**value, "data": [_complete(each, name) for each in value["data"]]}
    fields = FIELDS[value.get("object", name)]
    whole = {
        key: _complete(part, part_name)
        if (part_name := next(_parts(fields, key), None)) is not None
        else part
        for key, part in value.items()
    }
    for key, field in fields.items():
        if field.required and field.nullable:
            whole.setdefault(key, None)
    return whole


def _parts(fields: dict[str, Field], key: str) -> Iterator[str]:
    """Yield what a field can hold, in the table's order."""
    if key in fields:
        yield from fields[key].holds
