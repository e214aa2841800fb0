"""The real deploy: `make build`, then `sam deploy` to the local engine, then the main job."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.engine import ROOT
from local.journey import Journey, eventually
from local.stack import LocalStack
from requirements import prepare_layer

STACK_NAME = "portcullis-by-sam"

#: The maximum size of the unpacked layer. Lambda unpacks it at each cold start.
MAX_LAYER_BYTES = 25_000_000

VALID = "[default.features.invoice_history]\nenabled = true\n"

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
sys.path[:0] = sys.argv[1:]
import app, billing
for module in pkgutil.walk_packages(billing.__path__, "billing."):
    importlib.import_module(module.name)
"""


def run(command: list[str | Path], folder: Path, **environment: str) -> str:
    """Run a command of this environment as a user does. On a failure, fail with its output."""
    own = Path(sys.prefix) / "bin"
    # The variables of this run's own `make test` must not reach the command.
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AWS_", "MAKE", "MFLAGS", "PORTCULLIS_"))
        and key not in {"CONFIG", "STAGE"}
    }
    clean |= {"SAM_CLI_TELEMETRY": "0", "PATH": f"{own}{os.pathsep}{clean['PATH']}"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        pytest.fail(f"{command[0]} {command[1]} returned {done.returncode}\n{done.stdout}")
    return done.stdout


def project(folder: Path) -> Path:
    """Copy what `make build` needs, so that the project's own build output is not overwritten."""
    for name in ("Makefile", "samconfig.toml", "template.yaml"):
        shutil.copy2(ROOT / name, folder / name)
    for name in ("functions", "layers", "requirements"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".build")
        )
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def make_build(folder: Path, *variables: str) -> str:
    # The environment of this test is installed already.
    return run(["make", "build", "-o", ".venv/.installed", *variables], folder)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of one `make build`."""
    folder = project(tmp_path_factory.mktemp("project"))
    output = make_build(folder)
    assert output == "" or (output.startswith("No Python 3.13 found") and output.count("\n") == 1)
    return folder / ".aws-sam" / "build"


def test_the_layer_is_small_and_has_no_binary_for_another_platform(built: Path) -> None:
    layer = built / "BillingLayer"
    files = [path for path in layer.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_LAYER_BYTES
    foreign = [path for path in files if path.suffix == ".so" and "aarch64" not in path.name]
    assert foreign == [], "the layer has binaries for another platform than Lambda's"
    assert (layer / "python" / "portcullis.toml").read_bytes() == (
        ROOT / "layers" / "billing" / "portcullis.toml"
    ).read_bytes()


def test_every_source_has_bytecode_if_lambdas_python_is_installed(built: Path) -> None:
    layer = built / "BillingLayer"
    compiled = {path.name.partition(".")[0] for path in layer.rglob("*.cpython-313.pyc")}
    sources = {path.stem for path in layer.rglob("*.py")}
    assert compiled == (sources if prepare_layer.find_python() else set())


@pytest.mark.parametrize("function", sorted(path.name for path in ROOT.glob("functions/*")))
def test_a_function_imports_everything_from_the_built_layer_alone(
    built: Path, function: str
) -> None:
    settings = re.findall(r"PORTCULLIS_\w+", (ROOT / "template.yaml").read_text())
    run(
        [
            *(prepare_layer.find_python() or sys.executable, "-I", "-S", "-B"),
            *("-c", IMPORT_EVERYTHING, ROOT / "functions" / function),
            built / "BillingLayer" / "python",
        ],
        built,
        AWS_DEFAULT_REGION="us-east-1",
        **dict.fromkeys(settings, "1"),
    )


def test_a_changed_configuration_file_ships_although_sam_caches_the_layer(tmp_path: Path) -> None:
    folder = project(tmp_path)
    assert "cached = true" in (folder / "samconfig.toml").read_text()
    team_file = folder / "team" / "portal.toml"
    team_file.parent.mkdir()
    shipped = folder / ".aws-sam" / "build" / "BillingLayer" / "python" / "portcullis.toml"
    for text in (VALID, VALID + "# changed\n"):
        team_file.write_text(text)
        make_build(folder, "CONFIG=team/portal.toml")
        assert shipped.read_text() == text
    make_build(folder)
    assert shipped.read_bytes() == (folder / "layers/billing/portcullis.toml").read_bytes()


def test_the_stack_that_make_builds_and_sam_deploys_does_the_main_job(built: Path) -> None:
    with LocalStack(deployed_by_sam=True, demo_users=False) as stack:
        overrides = [f"{key}={value}" for key, value in stack.parameters().items()]
        run(
            [
                *("sam", "deploy", "--template-file", built / "template.yaml"),
                *("--config-file", ROOT / "samconfig.toml", "--config-env", "dev"),
                *("--stack-name", STACK_NAME, "--no-progressbar"),
                *("--parameter-overrides", *overrides),
            ],
            ROOT,
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
