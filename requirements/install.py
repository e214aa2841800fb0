"""Set up one virtual environment from one hash-checked lock: python install.py VENV LOCK.

Runs on a bare Python ≥ 3.11. pip fetches uv, pinned by hash; uv, many times faster, installs the
lock. uv does not read pip's settings, so the index and the certificates that pip uses are handed on
to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent


def pip_settings(python: Path) -> dict[str, str]:
    """Answer pip's own settings, from its files and the environment; the environment wins, as in
    pip.
    """
    shown = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in shown.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{section}."):
                settings[key.removeprefix(f"{section}.")] = value.strip("'\"")
    return settings


def uv_environment(settings: dict[str, str]) -> dict[str, str]:
    """Translate pip's settings to uv's environment; what the user set for uv itself stays."""
    environment = dict(os.environ)
    environment.setdefault("UV_SYSTEM_CERTS", "true")
    # uv's cache may lie on another disk; copying from there is worth no warning.
    environment.setdefault("UV_LINK_MODE", "copy")
    for pip_name, uv_name in (
        ("index-url", "UV_DEFAULT_INDEX"),
        ("extra-index-url", "UV_INDEX"),
        ("cert", "SSL_CERT_FILE"),
    ):
        if pip_name in settings:
            environment.setdefault(uv_name, settings[pip_name])
    if "extra-index-url" in settings:
        # pip looks at all its indexes at once. The hashes decide what is taken, so uv may too.
        environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return environment


def uv_pip(python: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `uv pip` from the environment of `python`, with the settings that pip has."""
    return subprocess.run(
        [python.parent / "uv", "pip", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=uv_environment(pip_settings(python)),
    )


def stop(problem: str, detail: str = "") -> NoReturn:
    """End with one plain sentence; what the tool itself said comes before it."""
    if detail.strip():
        print(detail.strip(), file=sys.stderr)
    sys.exit(f"Portcullis: {problem}")


def install(target: Path, lock: Path) -> None:
    """Make the environment at target (if it is missing) and bring it to exactly what lock names."""
    python = target / "bin" / "python"
    if not python.exists():
        venv.create(target, with_pip=True, clear=True)
    fetch: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--no-deps"]
    fetch += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
    fetched = subprocess.run(
        [*fetch, "-r", HERE / "uv.txt"], capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        stop(
            "pip could not fetch the installer. Is a Python package index in reach? Behind a "
            "mirror, set PIP_INDEX_URL (and PIP_CERT) or pip's configuration file, and try again.",
            fetched.stderr,
        )
    synced = uv_pip(python, "sync", "--quiet", "--require-hashes", "--python", python, lock)
    if synced.returncode:
        stop(
            f"the packages of {lock} could not be installed; the lines above say why.",
            synced.stderr,
        )


def main() -> None:
    """Install what the command line names, saying so, since the first time takes a minute."""
    target, lock = Path(sys.argv[1]), Path(sys.argv[2])
    print(f"Installing {lock} into {target} (once, until the lock changes) …", flush=True)
    install(target, lock)


if __name__ == "__main__":
    main()
