"""Rooms: imports point one way, and only adapters and the wiring import a network library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "layers" / "billing" / "billing"
FUNCTIONS = PACKAGE.parents[2] / "functions"
MODULES = sorted(PACKAGE.rglob("*.py"))

NETWORK = {"aws_lambda_powertools", "boto3", "botocore", "requests", "stripe", "urllib3"}

#: Who may import which room. Of the flat modules only http, contract and wiring import any.
MAY_IMPORT = {
    "adapters": {"http", "wiring"},
    "configuration": {"checkout", "deploy", "portal", "wiring"},
    "portal": {"contract", "wiring"},
    "checkout": {"contract", "wiring"},
    "deploy": {"wiring"},
}

#: What the handlers import: the package's public face. It stays stable, because the code and the
#: layer of a function do not change at the same instant.
PUBLIC = {
    "billing.adapters.telemetry",
    "billing.batch.Message",
    "billing.deploy.custom_resource",
    "billing.deploy.stripe_setup.reason",
    "billing.errors.PortcullisError",
    "billing.http",
    "billing.ingest.MAX_BODY_BYTES",
    "billing.responses",
    "billing.wiring",
}


def imports(path: Path) -> Iterator[str]:
    """Every name that a file imports, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """A module's room: its folder, or its own name in the core."""
    inner = path.relative_to(PACKAGE)
    return inner.parts[0] if len(inner.parts) > 1 else inner.stem


def rooms_imported(path: Path) -> set[str]:
    ours = (name.split(".") for name in imports(path) if name.startswith("billing."))
    return {parts[1] for parts in ours} - {room(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_adapters_and_the_wiring_import_a_network_library(path: Path) -> None:
    if room(path) not in ("adapters", "wiring"):
        assert not {name.partition(".")[0] for name in imports(path)} & NETWORK


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_below_the_edge_loads_no_network_library(path: Path) -> None:
    if room(path) in ("adapters", "wiring", "http", "contract"):
        return
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    program = f"import sys, {name}; print(*{{each.partition('.')[0] for each in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert not set(done.stdout.split()) & NETWORK


def test_the_rooms_have_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        graph.setdefault(room(path), set()).update(rooms_imported(path))
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' → '.join(error.args[1])}")


def test_no_module_imports_another_in_a_circle() -> None:
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in MODULES}
    graph = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): {
            found
            for name in imports(path)
            for found in (name, name.rpartition(".")[0])
            if found in names
        }
        for path in MODULES
    }
    list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_room_is_imported_only_from_above(name: str) -> None:
    importers = {room(path) for path in MODULES if name in rooms_imported(path)}
    assert importers <= MAY_IMPORT[name]


def test_every_room_stands_in_the_table() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(MAY_IMPORT)


def test_the_handlers_import_the_packages_public_face_and_no_more() -> None:
    imported = {
        name
        for path in FUNCTIONS.glob("*/app.py")
        for name in imports(path)
        if name.startswith("billing")
    }
    assert imported == PUBLIC
