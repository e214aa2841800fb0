"""Changes of constants, and of functions that make them. A child imports the changed module, and
everything that has its constants, anew, and runs the tests: first the one with its name.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from types import CodeType, ModuleType

import pytest

from tests.mutation.children import verdicts
from tests.mutation.core import (
    CORE,
    OPTIONS,
    Terse,
    called_at_import,
    file_of,
    name_of,
    nearest_first,
)
from tests.mutation.edits import Edit, edits
from tests.mutation.survivors import Change, Outcome

#: What takes long to import, and has none of our constants.
LIBRARIES = (
    *("_pytest.assertion.rewrite", "aws_lambda_powertools", "boto3", "fastjsonschema", "greenlet"),
    *("stripe", "yaml"),
)


def outcomes(modules: list[str]) -> list[Outcome]:
    """Change every constant of these modules of the core; none: of all."""
    # A child that finds compiled files is faster, whatever the environment says.
    sys.dont_write_bytecode = False
    for name in LIBRARIES:
        importlib.import_module(name)
    assert not any(name.partition(".")[0] == "billing" for name in sys.modules)
    return [
        Outcome(change, how)
        for change, how in verdicts(_changes(modules or CORE), _key, _is_noticed)
        if isinstance(change, Change)
    ]


def _changes(modules: Sequence[str]) -> Iterator[tuple[str, Edit]]:
    for module in modules:
        print(f"constants of {module}", flush=True)
        for edit in edits(file_of(module).read_text()):
            if not edit.function or edit.where in called_at_import():
                yield module, edit


def _key(change: tuple[str, Edit]) -> Change:
    module, edit = change
    return Change(f"{module}.{edit.where}", edit.change)


def _is_noticed(change: tuple[str, Edit]) -> bool:
    module, edit = change
    sys.meta_path.insert(0, _Changed(module, edit.tree))
    first, *others = nearest_first(module)
    return any(pytest.main([*OPTIONS, *tests], plugins=[Terse()]) for tests in ([first], others))


class _Changed(importlib.abc.MetaPathFinder):
    """Finds one module, and has it loaded from its changed tree."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name_of(module), str(file_of(module)), tree

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        loader = _Loader(self.name, self.path, self.tree)
        return importlib.util.spec_from_file_location(name, self.path, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self.tree = tree

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.tree, self.path, "exec", dont_inherit=True)
