"""The local stack's modules import one another in one direction only."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def modules() -> dict[str, Path]:
    """Return the files below local/ by module name, a package's __init__ by the package's name."""
    found = {}
    for path in (ROOT / "local").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(module: str, path: Path) -> set[str]:
    """Return every name that a module imports, dotted, wherever in the file it does so."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            outer = package.split(".")[: len(package.split(".")) - node.level + 1]
            source = ".".join([*(outer if node.level else []), *filter(None, [node.module])])
            names |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return names


def test_no_module_of_the_local_stack_imports_itself_by_way_of_another() -> None:
    known = modules()
    graph = {name: imported(name, path) & known.keys() for name, path in known.items()}
    # Both spellings of an import are read: relative and absolute.
    assert {"local.stripe_simulator.api", "local.guard"} <= graph["local.stripe_simulator.server"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("circle: " + " -> ".join(error.args[1]))
