"""Changes of functions. pytest has collected all tests once; a child puts the changed code into the
function that everybody has imported already, and runs the tests that call it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.children import verdicts
from tests.mutation.core import (
    CORE,
    OPTIONS,
    TESTS,
    Terse,
    called_at_import,
    file_of,
    name_of,
    nearest_first,
)
from tests.mutation.edits import Edit, edits
from tests.mutation.survivors import Change, Outcome

#: By the function's module and name: the tests that call it, those that import the module first,
#: and of these the fastest.
Callers = dict[tuple[str, str], list[str]]

#: Whatever these tests call, they call in greenlets, where no profile sees it.
UNSEEN = "tests/mutation/test_small_worlds.py"


def outcomes(modules: list[str]) -> list[Outcome]:
    """Change every function of these modules of the core; none: of all."""
    session = _Session(modules or list(CORE))
    code = pytest.main([*OPTIONS, *TESTS], plugins=[session, Terse()])
    if code or session.wrong:
        sys.exit(f"mutate: the tests fail before anything is changed: {session.wrong or code}")
    return session.outcomes


class _Session:
    """A plugin: it has the tests collected, and then does its own with them."""

    def __init__(self, modules: list[str]) -> None:
        self.modules = modules
        self.outcomes: list[Outcome] = []
        self.wrong = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        callers = _callers(items)
        if callers is None:
            self.wrong = "see above"
            return True

        def is_noticed(change: tuple[str, Edit]) -> bool:
            module, edit = change
            _put(module, edit)
            return not all(_passes(items[each]) for each in callers[module, edit.where])

        # What is here by now stays: no child has to look through it for garbage.
        gc.freeze()
        for change, how in verdicts(self._changes(), _key, is_noticed):
            assert isinstance(change, Change)
            self.outcomes.append(Outcome(change, how))
        return True

    def _changes(self) -> Iterator[tuple[str, Edit]]:
        for module in self.modules:
            print(f"functions of {module}", flush=True)
            for edit in edits(file_of(module).read_text()):
                if edit.function and edit.where not in called_at_import():
                    yield module, edit


def _key(change: tuple[str, Edit]) -> Change:
    module, edit = change
    return Change(f"{module}.{edit.where}", edit.change)


def _passes(item: pytest.Item) -> bool:
    return all(each.outcome != "failed" for each in runtestprotocol(item, log=False))


def _put(module: str, edit: Edit) -> None:
    """Give the function its changed code."""
    changed = compile(edit.tree, str(file_of(module)), "exec", dont_inherit=True)
    _function(module, edit.where).__code__ = _codes(changed)[edit.where]


def _function(module: str, where: str) -> FunctionType:
    found: Any = importlib.import_module(name_of(module))
    for name in where.split("."):
        found = vars(found)[name]
    if isinstance(found, property):
        found = found.fget
    found = getattr(found, "__func__", found)
    assert isinstance(found, FunctionType), (module, where)
    return found


def _codes(code: CodeType) -> dict[str, CodeType]:
    """The code of each function, by its name behind its class's."""
    found: dict[str, CodeType] = {}
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if each.co_flags & 0x1:  # CO_OPTIMIZED: a function, not the body of a class
                found[each.co_qualname] = each
            else:
                found |= _codes(each)
    return found


def _callers(items: dict[str, pytest.Item]) -> Callers | None:
    """Run every test once, in a child that its threads do not outlive. None if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "callers.json")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = _profile(items, result)
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            return None
        seconds, called = json.loads(result.read_text())
    callers: Callers = defaultdict(list)
    for test, functions in called.items():
        for module, where in functions:
            callers[module, where].append(test)
    unseen = [test for test in items if test.startswith(UNSEEN)]
    for (module, _), tests in callers.items():
        files = nearest_first(module)
        tests[:] = {*tests, *unseen}
        tests.sort(key=lambda test: (files.index(test.partition("::")[0]), seconds[test]))
    return callers


def _profile(items: dict[str, pytest.Item], result: Path) -> int:
    known = {
        id(code): (module, where) for module in CORE for where, code in live_codes(module).items()
    }
    seen: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and id(frame.f_code) in known:
            seen.add(known[id(frame.f_code)])

    seconds: dict[str, float] = {}
    called: dict[str, list[tuple[str, str]]] = {}
    for name, item in items.items():
        seen.clear()
        began = time.perf_counter()
        threading.setprofile(note)
        sys.setprofile(note)
        passes = _passes(item)
        sys.setprofile(None)
        if not passes:
            print(f"fails: {name}")
            return 1
        seconds[name], called[name] = time.perf_counter() - began, sorted(seen)
    result.write_text(json.dumps([seconds, called]))
    return 0


def live_codes(module: str) -> dict[str, CodeType]:
    """The code that each function of the module has now, by its name."""
    compiled = compile(file_of(module).read_text(), str(file_of(module)), "exec")
    return {where: _function(module, where).__code__ for where in _codes(compiled)}
