"""The fields of Stripe's objects, from `fields.json`: which are required, and which can be null."""

from __future__ import annotations

import json
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
    if not isinstance(name, str) or name not in FIELDS:
        return value
    return dict(_completed(value, name))


def _completed(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_completed(each, name) for each in value]
    if not isinstance(value, dict) or value.get("deleted"):
        return value
    if value.get("object") == "list":
        return {**value, "data": _completed(value["data"], name)}
    own = value.get("object")
    fields = FIELDS[own if isinstance(own, str) else name]
    whole: Json = {}
    for key, field in fields.items():
        if key in value:
            part = value[key]
            whole[key] = _completed(part, field.holds[0]) if field.holds else part
        elif field.required and field.nullable:
            whole[key] = None
    return {**whole, **{key: part for key, part in value.items() if key not in fields}}
