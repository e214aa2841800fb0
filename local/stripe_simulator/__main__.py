"""`python -m local.stripe_simulator --port 0`: serve until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import contextlib

from .library import CURRENT_VERSION
from .server import listen, serve
from .simulator import Simulator


def main() -> None:
    parser = argparse.ArgumentParser(prog="local.stripe_simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--api-key",
        action="append",
        default=[],
        help="accept only these keys (default: any sk_test_…, rk_test_… or their live twins)",
    )
    parser.add_argument("--api-version", default=CURRENT_VERSION, help="the account's default")
    parser.add_argument("--seed", type=int, help="makes the ids repeat from run to run")
    options = parser.parse_args()
    simulator = Simulator(
        seed=options.seed,
        api_version=options.api_version,
        api_keys=frozenset(options.api_key),
    )
    listener = listen(options.port)
    server = serve(simulator, listener, announce=True)
    # uvicorn has shut down cleanly when it raises the signal again: Ctrl-C is how one stops us.
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
