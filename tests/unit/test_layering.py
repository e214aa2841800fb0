"""Dependencies point inwards: only adapters and the wiring load AWS or Stripe."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

LAYER = Path(__file__).parents[2] / "layers" / "billing"
PACKAGE = LAYER / "billing"
NETWORK = {"aws_lambda_powertools", "boto3", "botocore", "requests", "stripe", "urllib3"}


def outer_rooms(path: Path) -> bool:
    return path.parent.name == "adapters" or path.name == "wiring.py"


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.rglob("*.py")) if not outer_rooms(path)],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_only_adapters_and_the_wiring_import_a_network_library(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.partition(".")[0])
    assert not imported & NETWORK
