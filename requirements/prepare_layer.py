"""Prepare `sam build`: python -m requirements.prepare_layer STAGE [CONFIG].

SAM builds a layer again only if a file in its folder changes. So whatever else decides what is
built goes into that folder first, as layers/billing/.build, which git ignores: the team's
portcullis.toml, the build script's hash and the Python that compiles.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from billing.configuration import file
from billing.errors import ConfigurationError
from requirements import build_layer
from requirements.install import stop

ROOT = Path(__file__).resolve().parents[1]
LAYER = ROOT / "layers" / "billing"
SAMCONFIG = ROOT / "samconfig.toml"


def prepare(
    *,
    stage: str,
    team_file: Path | None,
    python: Path | None,
    layer: Path = LAYER,
    samconfig: Path = SAMCONFIG,
) -> None:
    """Check the portcullis.toml that ships and record what the layer is built from.

    Without a team's file the layer ships its own. Exits with a sentence if a file is refused.
    """
    recorded = layer / ".build"
    # The file of an earlier build must not ship with this one.
    shutil.rmtree(recorded, ignore_errors=True)
    configuration_file = team_file or layer / "portcullis.toml"
    if not configuration_file.is_file():
        stop(f"CONFIG has to name your portcullis.toml; '{configuration_file}' is no file.")
    for mode in stripe_modes(samconfig, stage):
        try:
            file.load(stage=stage, mode=mode, path=configuration_file)
        except ConfigurationError as error:
            stop(f"{configuration_file} is not valid for stage {stage} in {mode} mode.", str(error))
    recorded.mkdir()
    if team_file:
        shutil.copyfile(team_file, recorded / "portcullis.toml")
    script = Path(build_layer.__file__).read_bytes()
    inputs = {
        "build_script": hashlib.sha256(script).hexdigest(),
        "python": str(python) if python else None,
    }
    (recorded / "inputs.json").write_text(json.dumps(inputs) + "\n")


def stripe_modes(samconfig: Path, stage: str) -> tuple[str, ...]:
    """The StripeMode that samconfig.toml gives the stage; both modes where it gives none."""
    try:
        section = tomllib.loads(samconfig.read_text("utf-8"))[stage]
        overrides = section["deploy"]["parameters"]["parameter_overrides"]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return file.MODES
    written = overrides if isinstance(overrides, str) else " ".join(overrides)
    return tuple(re.findall(r"\bStripeMode=\W?(test|live)\b", written)) or file.MODES


def find_python() -> Path | None:
    """A Python of Lambda's version, installed here; or None."""
    found = subprocess.run(
        ["sh", ROOT / "requirements" / "python.sh", build_layer.TARGET_VERSION],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return Path(found) if found else None


def main() -> None:
    """Prepare for the stage and the team's file that the command line names."""
    stage, *config = sys.argv[1:]
    python = find_python()
    prepare(stage=stage, team_file=Path(config[0]).expanduser() if config else None, python=python)
    if not python:
        print(
            f"No Python {build_layer.TARGET_VERSION} found: the layer ships without bytecode, "
            "so cold starts take about twice as long.",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
