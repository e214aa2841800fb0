"""The demo: start the stack, print the page's address, wait for Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from local.deploy import DeployError
from local.engine import EngineError
from local.layer import LayerError
from local.stack import LocalStack, StackError, until_asked_to_stop


def main() -> int:
    """Run the demo until Ctrl-C.

    Returns the exit status: 0 after Ctrl-C, 1 when the stack did not start.
    """
    started = time.monotonic()
    print("\n  Portcullis on this machine\n", flush=True)
    stack = LocalStack(say=lambda line: print(f"    {line}", flush=True))
    try:
        with until_asked_to_stop(), stack:
            print(f"\n  Ready in {time.monotonic() - started:.1f} s. Open  {stack.site.url}/")
            print("  Ctrl-C stops everything.\n", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("\n  Stopped. Nothing is left running.", flush=True)
        return 0
    except (EngineError, LayerError, DeployError, StackError) as error:
        print(f"\n  {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def terminal_of_our_own() -> Iterator[None]:
    """Move to the terminal's foreground alone, so that Ctrl-C reaches this process only.

    `make` would receive Ctrl-C too, and report an error although the demo stops cleanly.
    """
    if not sys.stdin.isatty() or os.getpgrp() != os.tcgetpgrp(0) or os.getpgrp() == os.getpid():
        yield
        return
    before, group = signal.signal(signal.SIGTTOU, signal.SIG_IGN), os.getpgrp()
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    try:
        yield
    finally:
        os.tcsetpgrp(0, group)
        signal.signal(signal.SIGTTOU, before)


if __name__ == "__main__":
    with terminal_of_our_own():
        status = main()
    sys.exit(status)
