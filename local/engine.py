"""The local AWS engine: one process on a free loopback port that runs API Gateway, Lambda, SQS,
DynamoDB and more.

It starts with a clean environment, because its functions inherit that environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, Self

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-engine" / "bin" / "python"
LAYER_CACHE = ROOT / ".local" / "unpacked"
REGION = "us-east-1"
ACCOUNT = "000000000000"
START_SECONDS = 30.0
STOP_SECONDS = 5.0


class EngineError(Exception):
    """The engine is not installed or did not start."""


def free_port() -> int:
    """Return a free loopback TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Engine:
    """A running engine; use it as a context manager.

    `endpoint` is its address. `folder` holds its log and temporary files; `stop` removes it.
    """

    def __init__(self, *, enforce_iam: bool = False) -> None:
        self.enforce_iam = enforce_iam
        self.port = 0
        self.folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The base address of every AWS API of this engine."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> dict[str, str]:
        """Environment variables that point an AWS SDK or the SAM CLI at this engine only."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def start(self) -> None:
        """Start the engine and wait until it is healthy.

        Raises EngineError with the end of its log if it does not start.
        """
        if not PYTHON.exists():
            raise EngineError("The local AWS engine is not installed. Run `make setup`.")
        self.folder = Path(tempfile.mkdtemp(prefix="portcullis-"))
        self.port = free_port()
        self._log = (self.folder / "engine.log").open("wb")
        self._process = subprocess.Popen(
            [PYTHON, "-u", "-m", "local.engine_process"],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            cwd=ROOT,
            # Its own process group: Ctrl-C does not reach it, and `stop` ends it with its workers.
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                end = (self.folder / "engine.log").read_text(errors="replace")[-2000:]
                self.stop()
                raise EngineError(f"The local AWS engine did not start. The end of its log:\n{end}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the engine and its workers and remove its files. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin:
                process.stdin.close()
            _signal_group(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            # The group holds only the engine and its workers: end whatever is left of it.
            _signal_group(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS)
        if self._log is not None:
            self._log.close()
            self._log = None
            shutil.rmtree(self.folder, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "LANG": "C.UTF-8",
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "LAYER_CACHE": str(LAYER_CACHE),
            "LOG_LEVEL": "INFO",
            "AUTH": "true" if self.enforce_iam else "false",
        }

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"{self.endpoint}/_ministack/health", timeout=2
            ) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
