"""A stack ends with the process that started it, even if that process could not clean up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import httpx
import pytest

from local.engine import ROOT
from local.journey import eventually

# Starts the engine and the simulator as a stack does, without the deploy, which is not needed here.
ABANDONED = """
import time
from local.stack import LocalStack
stack = LocalStack()
stack.engine.start()
stack._start_simulator()
print(stack.engine.endpoint, stack.simulator_url, stack.engine.folder, flush=True)
time.sleep(600)
"""


def responds(url: str) -> bool:
    try:
        httpx.get(url, trust_env=False, timeout=1)
    except httpx.HTTPError:
        return False
    return True


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_the_engine_and_the_simulator_end_when_their_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ABANDONED],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layers' / 'billing'}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        engine, simulator, folder = parent.stdout.readline().split()
        assert responds(engine)
        assert responds(simulator)
        parent.send_signal(signal.SIGKILL)
        parent.wait(5)
    eventually(lambda: (responds(engine), responds(simulator)), lambda now: now == (False, False))
    # A killed parent cannot remove the engine's folder, so this test does.
    shutil.rmtree(folder)
