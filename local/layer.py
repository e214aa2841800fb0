"""The layer as the local stack deploys it: dependencies cached by their lock, and the current
package `billing`.

`make build` builds for Lambda's platform. This builds for the interpreter that runs the functions
here.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from local.engine import PYTHON, ROOT
from requirements.install import uv_pip

LOCK = ROOT / "layers" / "billing" / "requirements.txt"
PACKAGE = ROOT / "layers" / "billing" / "billing"
#: Takes the place of layers/billing/portcullis.toml.
CONFIGURATION_FILE = ROOT / "local" / "portcullis.toml"
CACHE = ROOT / ".local" / "layer"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class LayerError(Exception):
    """The layer's dependencies could not be installed."""


def layer_zip(configuration_file: Path = CONFIGURATION_FILE) -> bytes:
    """Return the layer as a zip. Everything in it is under python/, as Lambda requires."""
    packed = io.BytesIO(dependencies().read_bytes())
    with zipfile.ZipFile(packed, "a") as archive:
        for path in sorted(PACKAGE.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                _add(archive, path, Path("python", "billing") / path.relative_to(PACKAGE))
        _add(archive, configuration_file, Path("python", "portcullis.toml"))
    return packed.getvalue()


def folder_zip(folder: Path) -> bytes:
    """Return a function's folder as a zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                _add(archive, path, path.relative_to(folder))
    return packed.getvalue()


def dependencies() -> Path:
    """Return the zip of the locked dependencies, built once for each lock and interpreter."""
    version = subprocess.run(
        [PYTHON, "-VV"], capture_output=True, check=True, env={"PATH": os.defpath}
    ).stdout
    key = hashlib.sha256(LOCK.read_bytes() + version).hexdigest()[:16]
    cached = CACHE / f"{key}.zip"
    if cached.exists():
        return cached
    CACHE.mkdir(parents=True, exist_ok=True)
    # Build elsewhere and rename: two runs at once never see an incomplete zip.
    building = CACHE / f"{key}.{os.getpid()}"
    try:
        _install(building / "python")
        with zipfile.ZipFile(building / "layer.zip", "w") as archive:
            for path in sorted((building / "python").rglob("*")):
                if path.is_file():
                    _add(archive, path, path.relative_to(building))
        (building / "layer.zip").replace(cached)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return cached


def _install(target: Path) -> None:
    wheels = ("--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:")
    done = uv_pip(
        Path(sys.executable),
        *("install", *wheels, "--target", target, "--python", PYTHON, "-r", LOCK),
    )
    if done.returncode:
        raise LayerError(f"The layer's dependencies could not be installed:\n{done.stderr}")
    # With the bytecode in the layer, no worker has to compile the dependencies.
    subprocess.run(
        [PYTHON, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", target],
        check=True,
    )


def _add(archive: zipfile.ZipFile, path: Path, name: Path) -> None:
    # With a fixed date, the same content always gives the same bytes and the same hash.
    entry = zipfile.ZipInfo(name.as_posix(), ZIP_EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, path.read_bytes(), zipfile.ZIP_STORED)
