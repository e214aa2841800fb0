"""What becomes of a mutant: killed by the check that it names, survived, or no mutant at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from tests.mutants.edits import Edit
from tests.mutants.stage import Stage

#: Exceptions of code that is broken rather than wrong.
BROKEN = frozenset(
    {"ImportError", "ModuleNotFoundError", "NameError", "SyntaxError", "UnboundLocalError"}
)


class Verdict(NamedTuple):
    """`good`: killed, and by what it names."""

    good: bool
    text: str


def unfit(stage: Stage, edits: Sequence[Edit]) -> dict[Edit, str]:
    """The edits whose test fails without them, which proves nothing, and why."""
    if not edits:
        return {}
    ran = stage.run(sorted({edit.killed_by for edit in edits}), all_of_them=True)
    if ran.get("code") not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return dict.fromkeys(edits, f"its half of the tests cannot be run: {ran or 'no answer'}")
    failing = [*ran["failed"], *ran["errors"]]
    return {
        edit: "its test fails without it"
        for edit in edits
        if any(node.partition("[")[0] == edit.killed_by.partition("[")[0] for node in failing)
    }


def judge(stage: Stage, edit: Edit) -> Verdict:
    """Make the edit and run its test. It is killed if the test itself fails, by what the edit does:
    an import that fails, or code that cannot run at all, says nothing about the test."""
    with stage.edited(edit):
        ran = stage.run([edit.killed_by])
    if ran.get("code") == pytest.ExitCode.OK:
        return Verdict(False, f"{edit.name}: SURVIVED {edit.killed_by}")
    if ran.get("code") == pytest.ExitCode.TESTS_FAILED and not ran["errors"]:
        ((test, exception),) = ran["failed"].items()
        if exception not in BROKEN:
            by = test.rpartition("::")[2]
            return Verdict(True, f"{edit.name}: killed by {by} ({exception})")
    return Verdict(False, f"{edit.name}: BAD, its test cannot be run with it: {ran or 'no answer'}")


def judge_design(stage: Stage, number: int) -> Verdict:
    """Judge a wrong design of the simulation by its number."""
    found = stage.ask({"mutant": number})
    return Verdict(bool(found.get("good")), found.get("text", f"design {number}: did not end"))
