"""The changes that no test notices, compared with survivors.toml: it has the reason for each."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("survivors.toml")


class Change(NamedTuple):
    """A change: where it is, and what is different there. It has no number and no line, so that it
    is recognized after other changes of the code.
    """

    where: str
    change: str

    def __str__(self) -> str:
        return f"{self.where}\n" + "\n".join(f"    {line}" for line in self.change.splitlines())


class Outcome(NamedTuple):
    """A change that was tested. `how` says how it ended: killed, survived, timeout, …"""

    change: Change
    how: str

    @property
    def killed(self) -> bool:
        return self.how in ("killed", "timeout")


class Verdict(NamedTuple):
    """The score in percent, what is wrong with survivors.toml, and the last line of the output."""

    score: float
    complaints: list[str]
    summary: str


def read(text: str | None = None) -> dict[Change, str]:
    """The reason of each listed survivor. Raises ValueError for one that is listed twice, or whose
    reason does not say why it is equivalent."""
    listed: dict[Change, str] = {}
    for each in tomllib.loads(FILE.read_text() if text is None else text).get("survivor", ()):
        change = Change(each["where"], each["change"].strip("\n"))
        if change in listed:
            raise ValueError(f"listed twice: {change}")
        if not each["reason"].startswith("equivalent because "):
            raise ValueError(f'the reason must begin with "equivalent because": {change}')
        listed[change] = each["reason"]
    return listed


def judge(
    outcomes: Iterable[Outcome], listed: Mapping[Change, str], *, whole: bool = True
) -> Verdict:
    """Compare what survived with what is listed; `whole`: the outcomes are of all modules, so that
    what is missing among them does not exist any more."""
    outcomes = list(outcomes)
    survived = {each.change: each.how for each in outcomes if not each.killed}
    existing = {each.change for each in outcomes}
    complaints = [
        f"{how}, and not listed: {change}"
        for change, how in survived.items()
        if change not in listed
    ]
    for change in listed:
        if change in existing and change not in survived:
            complaints.append(f"listed, and killed: {change}")
        if whole and change not in existing:
            complaints.append(f"listed, and no change of the code any more: {change}")
    killed = sum(each.killed for each in outcomes)
    score = 100 * killed / len(outcomes) if outcomes else 0.0
    left = len(outcomes) - killed
    explained = "each explained" if set(survived) <= listed.keys() else "NOT each explained"
    summary = f"mutate: {killed}/{len(outcomes)} killed ({score:.1f}%), {left} survive, {explained}"
    return Verdict(score, complaints, summary)
