"""What is changed, and by which tests that has to be noticed."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers" / "billing" / "billing"

#: The pure core: what decides. test_layering.py holds that it loads no network library.
CORE = (
    *("access", "batch", "catalog", "customers", "debt", "documents", "errors", "events", "facts"),
    *("first_format", "grants", "history", "ingest", "keys", "link", "model", "projection"),
    *("replicas", "responses", "return_urls", "schemas", "stripe_objects", "stripe_state"),
    *("subjects", "sync", "sync_request", "timeouts"),
    *("checkout/buyers", "checkout/earlier", "checkout/offer", "checkout/sessions"),
    *("configuration/file", "configuration/lines", "configuration/shapes", "portal/flows"),
)

_UNIT = (
    *("access", "batch", "buyers", "catalog", "checkout", "configuration", "customers", "debt"),
    *("documents", "earlier", "errors", "events", "flows", "grants", "http", "ingest", "keys"),
    *("limits", "lines", "link", "model", "outages", "portal", "projection", "responses"),
    *("return_urls", "schemas", "shapes", "stripe_objects", "stripe_state", "subjects", "sync"),
    *("sync_request", "template"),
)

#: The tests: those of the core, what else holds its numbers and texts, and a small simulation.
TESTS = (
    *(f"tests/unit/test_{name}.py" for name in _UNIT),
    "tests/mutation/test_openapi.py",
    "tests/mutation/test_small_worlds.py",
)

#: What notices most changes of a module, where it is not the test that has its name.
OPENAPI = "tests/mutation/test_openapi.py"
FIRST = {
    **dict.fromkeys(("catalog", "checkout/sessions", "portal/flows", "responses"), OPENAPI),
    "configuration/shapes": "tests/unit/test_configuration.py",
    **dict.fromkeys(("facts", "first_format", "history"), "tests/unit/test_model.py"),
    **dict.fromkeys(("replicas", "timeouts"), "tests/unit/test_sync.py"),
}

#: Of pytest, only what a verdict needs.
OPTIONS = (
    *("-x", "--override-ini=addopts=--import-mode=importlib", "--assert=plain", "-pno:terminal"),
    *("-pno:cacheprovider", "-pno:unraisableexception", "-pno:threadexception"),
)


class Terse:
    """A plugin of pytest: nobody reads why a test fails, and to describe it takes longer than the
    test.
    """

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            item.repr_failure = lambda *_, **__: ""  # type: ignore[method-assign]


def file_of(module: str) -> Path:
    return PACKAGE / f"{module}.py"


def name_of(module: str) -> str:
    """As it is imported."""
    return f"billing.{module.replace('/', '.')}"


@cache
def nearest_first(module: str) -> list[str]:
    """The tests in the order in which they are likely to notice a change of the module: the one
    with its name, those that import it themselves, all others."""
    own = [f"tests/unit/test_{name}.py" for name in reversed(module.split("/"))]
    first = FIRST.get(module, next((test for test in own if test in TESTS), own[-1]))
    near = [test for test in TESTS if name_of(module) in _imported(ROOT / test)]
    return sorted(TESTS, key=lambda test: (test != first, test not in near))


@cache
def called_at_import() -> frozenset[str]:
    """The functions that constants are made with: a test calls them too late."""
    return frozenset(
        ast.unparse(node.func)
        for module in CORE
        for statement in ast.parse(file_of(module).read_text()).body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
    )


@cache
def _imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return found
