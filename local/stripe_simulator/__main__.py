"""`python -m local.stripe_simulator --port 0`: serve until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading

from .library import CURRENT_VERSION
from .server import listen, serve
from .simulator import Simulator


def main() -> None:
    parser = argparse.ArgumentParser(prog="local.stripe_simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument(
        "--api-key",
        action="append",
        default=[],
        help="accept only these keys (default: any sk_test_…, rk_test_…, sk_live_… or rk_live_…)",
    )
    parser.add_argument(
        "--api-version", default=CURRENT_VERSION, help="the default version of the account"
    )
    parser.add_argument("--seed", type=int, help="make ids repeat from run to run")
    parser.add_argument(
        "--until-stdin-ends",
        action="store_true",
        help="stop when standard input ends, as it does when the parent process ends",
    )
    options = parser.parse_args()
    if options.until_stdin_ends:
        threading.Thread(target=_stop_after_stdin, daemon=True, name="standard-input").start()
    simulator = Simulator(
        seed=options.seed,
        api_version=options.api_version,
        api_keys=frozenset(options.api_key),
    )
    listener = listen(options.port)
    server = serve(simulator, listener, announce=True)
    # After a clean shutdown uvicorn raises the signal again. Ctrl-C is a normal way to stop.
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _stop_after_stdin() -> None:
    # Unbuffered: a thread inside a buffered reader makes the interpreter abort when it exits.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
