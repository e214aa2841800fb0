"""A wrong line in the real code: one place of a module's source, changed for a while.

The functions keep their identity, so that whatever has imported them runs the change.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple


class Edit(NamedTuple):
    """In `module` (its name below `billing`), `old` becomes `new`. `old` stands there once."""

    module: str
    old: str
    new: str


@contextmanager
def edited(*edits: Edit) -> Iterator[None]:
    """Run with these edits. Raises ValueError where one cannot be made."""
    restored: list[tuple[FunctionType, CodeType]] = []
    try:
        for edit in edits:
            module = import_module(f"billing.{edit.module}")
            changed = _changed(module, edit)
            before = _functions(vars(module), module.__name__)
            for name, function in _functions(changed, module.__name__).items():
                held = before[name]
                if held.__code__ != function.__code__:
                    restored.append((held, held.__code__))
                    held.__code__ = function.__code__
        yield
    finally:
        for function, code in reversed(restored):
            function.__code__ = code


def _changed(module: ModuleType, edit: Edit) -> dict[str, object]:
    """The module's names as its changed source defines them."""
    source = inspect.getsource(module)
    if source.count(edit.old) != 1:
        raise ValueError(f"{edit.module} has {source.count(edit.old)} times: {edit.old}")
    names: dict[str, object] = {"__name__": module.__name__}
    exec(compile(source.replace(edit.old, edit.new), str(module.__file__), "exec"), names)
    return names


def _functions(names: dict[str, object], module: str) -> dict[str, FunctionType]:
    """The functions and methods that a module defines, by their qualified names."""
    found: dict[str, FunctionType] = {}
    for each in names.values():
        if getattr(each, "__module__", None) != module:
            continue
        members = list(vars(each).values()) if isinstance(each, type) else [each]
        for member in members:
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if isinstance(function, FunctionType) and function.__module__ == module:
                found[function.__qualname__] = function
    return found
