"""Dependencies point inwards: the pure modules and the flows load no AWS, Stripe or Powertools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LAYER = Path(__file__).parents[2] / "layers" / "billing"

PURE = [
    *(
        "access",
        "answers",
        "catalog",
        "errors",
        "events",
        "model",
        "origins",
        "portal_configurations",
    ),
    *("portal_file", "portal_flows", "projection", "settings", "webhook_endpoint"),
]
FLOWS = ["batch", "checkout", "customers", "documents", "link", "portal", "stripe_state", "sync"]


@pytest.mark.parametrize("module", [*PURE, *FLOWS])
def test_a_module_without_io_loads_nothing_that_does_io(module: str) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(LAYER)!r}); import billing.{module};"
        "loaded = {name.partition('.')[0] for name in sys.modules};"
        "print(*loaded & {'boto3', 'botocore', 'stripe', 'requests', 'aws_lambda_powertools'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
