"""A copy of the tree in which an edit is made, with a process of its own that runs tests in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.mutants.edits import Edit

ROOT = Path(__file__).parents[2]


class Stage:
    """One copy and its process, which answers one question at a time: see server.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Neither the environments nor anything that a tool has left.
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        self._edits = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.server"],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(folder / "layers" / "billing"),
                # Each fork imports almost all that the forks before it have compiled.
                "PYTHONDONTWRITEBYTECODE": "",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, tests: Sequence[str], *, all_of_them: bool = False) -> dict[str, Any]:
        """Run these tests, up to the first that fails unless `all_of_them` is set."""
        return self.ask({"tests": list(tests), "all": all_of_them})

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The server's answer; an empty one where the process that should give it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the server has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    @contextmanager
    def edited(self, edit: Edit) -> Iterator[None]:
        """The copy with this edit, within the block."""
        path = self.folder / edit.file
        original, at = path.read_text(), path.stat().st_mtime
        self._edits += 1
        path.write_text(edit.applied_to(original))
        # Python knows a stale .pyc by the source's size and second: no two edits have the same.
        os.utime(path, (at, at + self._edits))
        try:
            yield
        finally:
            path.write_text(original)
            os.utime(path, (at, at))
