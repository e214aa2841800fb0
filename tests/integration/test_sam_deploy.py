"""The real way out: `sam build` and `sam deploy` of the template, into the local engine, then the
main job.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.engine import ROOT
from local.journey import Journey, eventually
from local.stack import LocalStack

STACK_NAME = "portcullis-by-sam"


def sam(*arguments: str, **environment: str) -> None:
    """Run the SAM CLI of this environment at the project's root, failing with what it said."""
    own = Path(sys.prefix) / "bin"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    clean |= {"SAM_CLI_TELEMETRY": "0", "PATH": f"{own}{os.pathsep}{clean['PATH']}"}
    done = subprocess.run(
        [own / "sam", *arguments],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        pytest.fail(f"sam {arguments[0]} answered {done.returncode}\n{done.stdout}\n{done.stderr}")


def test_what_the_sam_cli_builds_and_deploys_does_the_main_job(tmp_path: Path) -> None:
    # A folder of its own: a `make build` at the same time keeps its result.
    built = tmp_path / "build"
    sam("build", "--build-dir", str(built), "--cache-dir", str(tmp_path / "cache"))
    layer = built / "BillingLayer" / "python"
    assert (layer / "billing" / "__init__.py").exists()
    foreign = [path for path in layer.rglob("*.so") if "aarch64" not in path.name]
    assert foreign == [], "the layer holds binaries of another platform than Lambda's"

    with LocalStack(deployed_by_sam=True, demo_users=False) as stack:
        overrides = [f"{key}={value}" for key, value in stack.parameters().items()]
        sam(
            *("deploy", "--template-file", str(built / "template.yaml")),
            *("--config-file", str(ROOT / "samconfig.toml")),
            *("--config-env", "dev", "--stack-name", STACK_NAME, "--no-progressbar"),
            *("--parameter-overrides", *overrides),
            **stack.engine.credentials,
        )
        stack.adopt(STACK_NAME)

        ada = Journey.begin(stack, "user_by_sam", plan="team_monthly")
        eventually(ada.features, lambda now: "api_access" in now, within=20)
        ada.visit().cancel()
        seen = eventually(ada.entitlements, lambda now: bool(now["subscriptions"][0]["cancel_at"]))
        assert "api_access" in seen["features"]
        assert ada.get("/entitlements/audit_log").json()["entitled"] is False
        stack.stripe.v1.subscriptions.cancel(ada.subscription)
        eventually(ada.features, lambda now: now == set())
