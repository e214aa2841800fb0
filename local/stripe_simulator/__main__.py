"""`python -m local.stripe_simulator --port 0`: serve until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import socket

import uvicorn

from .library import CURRENT_VERSION
from .server import listen, serve
from .simulator import Simulator


async def _run(server: uvicorn.Server, listener: socket.socket, url: str) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        print(f"stripe simulator on {url}", flush=True)
    await serving


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
    server = serve(simulator, listener)
    try:
        asyncio.run(_run(server, listener, simulator.base_url))
    except KeyboardInterrupt:
        # uvicorn has shut down cleanly and raises the signal again: Ctrl-C is how one stops us.
        pass


if __name__ == "__main__":
    main()
