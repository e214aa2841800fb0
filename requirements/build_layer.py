"""Build the Lambda layer: python -m requirements.build_layer SOURCE ARTIFACTS.

The layer's Makefile runs this within `make build`. The wheels are Lambda's, whatever the host is;
the bytecode is made by a Python of Lambda's version, which prepare_layer found. The same source
gives the same bytes.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from requirements.install import stop, uv_pip

#: Lambda's Python, as in the template's Runtime.
TARGET_VERSION = "3.13"
TARGET_PLATFORM = "aarch64-manylinux_2_28"

#: Where Lambda unpacks a layer; tracebacks name these paths.
LAYERS_IN_LAMBDA = "/opt"

#: What no function loads. stripe/params holds types for checkers only, stripe/events the events of
#: API v2; the event handlers of Powertools are for other routers than ours.
LEFT_OUT = (
    ".lock",
    "bin",
    "**/*.pyi",
    "**/tests",
    "*.dist-info/RECORD",
    "aws_lambda_powertools/event_handler",
    "boto3/data",
    "boto3/examples",
    "stripe/events",
    "stripe/params",
)

#: Of these folders' subfolders, the only ones that functions load: the AWS services that are
#: called, and what Logger and Metrics import.
KEPT_SUBFOLDERS = {
    "aws_lambda_powertools/utilities": {"jmespath_utils", "typing"},
    "botocore/data": {"dynamodb", "secretsmanager", "sqs"},
}


def build(source: Path, artifacts: Path, *, python: Path | None) -> None:
    """Make artifacts/python from the layer's source; `python` compiles it, where there is one.

    Exits with a sentence if a package cannot be installed or the result lacks what the package
    billing imports.
    """
    target = artifacts / "python"
    shutil.rmtree(target, ignore_errors=True)
    install(source / "requirements.txt", target)
    leave_out(target)
    shutil.copytree(
        source / "billing", target / "billing", ignore=shutil.ignore_patterns("__pycache__")
    )
    team_file = source / ".build" / "portcullis.toml"
    shutil.copyfile(
        team_file if team_file.exists() else source / "portcullis.toml", target / "portcullis.toml"
    )
    lacking = sorted(set(imports(target / "billing")) - set(present(target)))
    if lacking:
        stop(
            f"the layer lacks {', '.join(lacking)}, which its functions import. Either "
            "requirements.txt does not install it for Lambda's Python (see the markers after "
            "each `;`), or requirements/build_layer.py leaves it out."
        )
    if python:
        compile_folder(target, python)


def install(lock: Path, target: Path) -> None:
    """Install the lock's wheels for Lambda. uv also refuses a lock that lacks a dependency."""
    python = Path(sys.executable)
    wheels = ("--quiet", "--require-hashes", "--only-binary", ":all:", "--python", python)
    platform = ("--python-version", TARGET_VERSION, "--python-platform", TARGET_PLATFORM)
    done = uv_pip(python, "install", *wheels, *platform, "--target", target, "-r", lock)
    if done.returncode:
        stop("the layer's packages could not be installed; the lines above say why.", done.stderr)


def leave_out(target: Path) -> None:
    """Remove what no function loads."""
    unwanted = [path for pattern in LEFT_OUT for path in target.glob(pattern)]
    for folder, kept in KEPT_SUBFOLDERS.items():
        unwanted += [
            path for path in (target / folder).glob("*") if path.is_dir() and path.name not in kept
        ]
    for path in unwanted:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def imports(package: Path) -> Iterator[str]:
    """The modules that a package imports when it runs, except its own and Python's."""
    for path in package.rglob("*.py"):
        for module in _imports(ast.parse(path.read_text("utf-8"))):
            if module.partition(".")[0] not in {package.name, *sys.stdlib_module_names}:
                yield module


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)


def present(target: Path) -> Iterator[str]:
    """The modules in a folder."""
    for path in target.rglob("*.py"):
        parts = path.relative_to(target).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def compile_folder(target: Path, python: Path) -> None:
    """Add bytecode that Python uses without a look at the sources' dates, which zips change."""
    compiled = subprocess.run(
        [
            *(python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"),
            *("-s", target.parent, "-p", LAYERS_IN_LAMBDA, target),
        ],
        capture_output=True,
        text=True,
        check=False,
        # Nothing of the caller's environment reaches the bytecode.
        env={"PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1"},
    )
    if compiled.returncode:
        stop(f"{python} could not compile the layer.", compiled.stdout + compiled.stderr)


def main() -> None:
    """Build from what prepare_layer left in the source's .build folder."""
    source, artifacts = Path(sys.argv[1]), Path(sys.argv[2])
    recorded = json.loads((source / ".build" / "inputs.json").read_text("utf-8"))
    build(source, artifacts, python=Path(recorded["python"]) if recorded["python"] else None)


if __name__ == "__main__":
    main()
