"""Mutation testing of the pure core: `python -m tests.mutation [MODULE …]`.

Changes the core in every small way (edits.py), one change at a time, and runs the tests. They have
to notice at least MIN_SCORE of all changes. What they do not notice has to stand in survivors.toml,
with the reason why nobody could.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.mutation import constants, functions, survivors

#: Killed of all changes, in percent. Equivalent ones count as not killed.
MIN_SCORE = 95.0

ENVIRONMENT = {
    # Code that forgets UTC is noticed only where the clocks differ.
    "TZ": "America/St_Johns",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}


def main() -> int:
    modules = sys.argv[1:]
    os.environ.update(ENVIRONMENT)
    outcomes: list[survivors.Outcome] = []
    for kind in (functions, constants):
        began = time.monotonic()
        # Each in a process of its own: what one has imported, the other must not find.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found = process.submit(kind.outcomes, modules).result()
        killed = sum(each.killed for each in found)
        name, seconds = kind.__name__.rpartition(".")[2], time.monotonic() - began
        print(f"{name}: {killed}/{len(found)} killed in {seconds:.0f} s", flush=True)
        outcomes += found
    verdict = survivors.judge(outcomes, survivors.read(), whole=not modules)
    print(*verdict.complaints, verdict.summary, sep="\n")
    return 0 if verdict.score >= MIN_SCORE and not verdict.complaints else 1


if __name__ == "__main__":
    sys.exit(main())
