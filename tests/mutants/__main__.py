"""`make mutants`: each wrong design and each edit, and whether the check that it names notices.

Arguments are parts of names: only those mutants are judged.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.edits import EDITS
from tests.mutants.judge import Verdict, judge, judge_design, unfit
from tests.mutants.stage import Stage
from tests.simulation.mutants import MUTANTS

PROCESSES = 2

Job = Callable[[Stage], Verdict]


@contextmanager
def stages() -> Iterator[list[Stage]]:
    """One stage for each process."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portcullis-")))
        yield [stack.enter_context(Stage(folder / str(number))) for number in range(PROCESSES)]


def main(parts: list[str]) -> int:
    """Judge everything, or what the `parts` of names choose; 0 if all of it is killed."""

    def chosen(name: str) -> bool:
        return not parts or any(part in name for part in parts)

    edits = [edit for edit in EDITS if chosen(edit.name)]
    designs = [number for number, mutant in enumerate(MUTANTS) if chosen(mutant.name)]
    started, killed = time.monotonic(), 0
    with stages() as staged, ThreadPoolExecutor(PROCESSES) as pool:
        halves = [edits[number::PROCESSES] for number in range(PROCESSES)]
        bad = {edit: why for half in pool.map(unfit, staged, halves) for edit, why in half.items()}
        for edit, why in bad.items():
            print(f"{edit.name}: BAD, {why}", flush=True)

        free: SimpleQueue[Stage] = SimpleQueue()
        for stage in staged:
            free.put(stage)

        def done(job: Job) -> Verdict:
            stage = free.get()
            try:
                return job(stage)
            finally:
                free.put(stage)

        jobs: list[Job] = [partial(judge_design, number=number) for number in designs]
        jobs += [partial(judge, edit=edit) for edit in edits if edit not in bad]
        for verdict in pool.map(done, jobs):
            killed += verdict.good
            print(verdict.text, flush=True)
    total = len(edits) + len(designs)
    print(f"mutants: {killed}/{total} killed in {time.monotonic() - started:.0f} s")
    return 0 if killed == total else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
