"""One process for each change: forked with the change in its memory, it runs tests and ends with
what they say."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

#: At once.
CHILDREN = os.cpu_count() or 1

#: A child hangs if it computes, or waits, for so long.
CPU_SECONDS = 20
WALL_SECONDS = 180

#: A change may well fill the memory.
MAX_BYTES = 4 * 1024**3

KILLED, SURVIVED, TIMEOUT, BROKEN = "killed", "survived", "timeout", "broken"

_T = TypeVar("_T")


def verdicts(
    changes: Iterable[_T], keep: Callable[[_T], object], is_noticed: Callable[[_T], bool]
) -> Iterator[tuple[object, str]]:
    """What `keep` makes of each change here, and how `is_noticed` ended in a child of its own."""
    running: dict[int, object] = {}
    for change in changes:
        if len(running) >= CHILDREN:
            yield _next(running)
        kept = keep(change)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _run(change, is_noticed)
        running[child] = kept
    while running:
        yield _next(running)


def _run(change: _T, is_noticed: Callable[[_T], bool]) -> None:
    status = 3
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
        signal.alarm(WALL_SECONDS)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        status = 1 if is_noticed(change) else 0
    finally:
        os._exit(status)


def _next(running: dict[int, object]) -> tuple[object, str]:
    child, status = os.wait()
    if os.WIFSIGNALED(status):
        slow = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL)
        how = TIMEOUT if slow else BROKEN
    else:
        how = {0: SURVIVED, 1: KILLED}.get(os.WEXITSTATUS(status), BROKEN)
    return running.pop(child), how
