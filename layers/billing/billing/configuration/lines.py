"""Lines: where each key of a TOML text is, so that a mistake can name its line. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from billing.configuration.shapes import KeyPath


def lines_of(text: str) -> dict[KeyPath, int]:
    """The line on which each key path of a valid TOML text first occurs.

    tomllib keeps no positions. But each statement (a header, or a key and its value, on one or more
    lines) is a valid text by itself, and no beginning of one is. So lines are added until the text
    parses. A value in a list of several lines has the line of its key.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    entries: dict[KeyPath, int] = {}
    statement, began = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if not statement:
            began = number
        statement += line + "\n"
        try:
            read = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = _header(read, entries)
            found: list[KeyPath] = [table[: length + 1] for length in range(len(table))]
        else:
            found = [(*table, *path) for path in _paths(read)]
        for path in found:
            lines.setdefault(path, began)
        statement = ""
    return lines


def _header(read: Any, entries: dict[KeyPath, int]) -> KeyPath:
    """The path of a header. `entries` counts those of each [[list of tables]] met so far."""
    path: KeyPath = ()
    while read:
        ((key, read),) = read.items()
        path = (*path, key)
        if isinstance(read, list):
            entries[path] = entries.get(path, -1) + 1
            read = {}
        if path in entries:
            path = (*path, entries[path])
    return path


def _paths(value: Any) -> Iterator[KeyPath]:
    """The path of every key and entry in `value`."""
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, inner in inside:
        yield (key,)
        yield from ((key, *rest) for rest in _paths(inner))
