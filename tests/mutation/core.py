"""What is changed, and by which tests that has to be noticed."""

from __future__ import annotations

import ast
from pathlib import Path

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

#: The tests: those of the core, what else holds its numbers and its texts, and a small simulation.
TESTS = (
    *(f"tests/unit/test_{name}.py" for name in ("access", "batch", "catalog", "checkout")),
    *(f"tests/unit/test_{name}.py" for name in ("configuration", "debt", "documents", "flows")),
    *(f"tests/unit/test_{name}.py" for name in ("grants", "http", "ingest", "link", "model")),
    *(f"tests/unit/test_{name}.py" for name in ("outages", "portal", "projection", "responses")),
    *(f"tests/unit/test_{name}.py" for name in ("return_urls", "schemas", "stripe_state", "sync")),
    "tests/unit/test_template.py",
    "tests/unit/test_docs.py::test_what_follows_from_the_contract_is_up_to_date",
    "tests/mutation/test_small_worlds.py",
)

#: Of pytest, only what a verdict needs.
OPTIONS = (
    *("-x", "--override-ini=addopts=--import-mode=importlib", "-pno:terminal"),
    *("-pno:cacheprovider", "-pno:unraisableexception", "-pno:threadexception"),
)


def file_of(module: str) -> Path:
    return PACKAGE / f"{module}.py"


def name_of(module: str) -> str:
    """As it is imported."""
    return f"billing.{module.replace('/', '.')}"


def nearest_first(module: str) -> list[list[str]]:
    """The tests in two groups: those that import the module themselves, and all others."""
    near = [test for test in TESTS if name_of(module) in _imported(ROOT / test.partition("::")[0])]
    return [near, [test for test in TESTS if test not in near]]


def _imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return found
