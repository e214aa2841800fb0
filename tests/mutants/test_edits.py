"""Every edit can still be made and names a test; a few are judged. `make mutants` judges all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from tests.mutants.edits import EDITS, Edit
from tests.mutants.judge import judge, unfit
from tests.mutants.stage import ROOT, Stage


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def named(name: str) -> Edit:
    return next(edit for edit in EDITS if edit.name == name)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_can_be_made_in_one_place_and_names_a_test(edit: Edit) -> None:
    text = (ROOT / edit.file).read_text()
    assert edit.applied_to(text) != text
    file, _, test = edit.killed_by.partition("::")
    assert test.partition("[")[0] in functions_of(file)


def test_no_two_edits_are_the_same() -> None:
    assert len({edit.name for edit in EDITS}) == len(EDITS)
    assert len({(edit.file, edit.old, edit.new) for edit in EDITS}) == len(EDITS)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("mutants") / "stage") as opened:
        yield opened


@pytest.mark.parametrize(
    "name",
    [
        "the pool looks at its first task only",
        "links are read eventually consistently",
        "a batch in progress is received again",
    ],
)
def test_an_edit_is_killed_by_the_test_that_it_names(stage: Stage, name: str) -> None:
    edit = named(name)
    assert unfit(stage, [edit]) == {}
    verdict = judge(stage, edit)
    assert verdict.good, verdict.text
    # The copy is as it was.
    assert judge(stage, replace(edit, new=edit.old)).text.endswith(f"SURVIVED {edit.killed_by}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_POOL = ", "import no_such_module\n\n_POOL = "),
        ("    wait(futures)\n", "    wait(no_such_name)\n"),
        ("    wait(futures)\n", "    wait(futures\n"),
    ],
)
def test_an_edit_that_only_breaks_the_code_is_not_killed(stage: Stage, old: str, new: str) -> None:
    edit = replace(named("the pool looks at its first task only"), old=old, new=new)
    verdict = judge(stage, edit)
    assert not verdict.good
    assert "BAD" in verdict.text


def test_an_edit_whose_test_fails_without_it_is_unfit(stage: Stage) -> None:
    edit = named("links are read eventually consistently")
    path = stage.folder / edit.file
    original = path.read_text()
    path.write_text(edit.applied_to(original))
    try:
        assert unfit(stage, [edit]) == {edit: "its test fails without it"}
    finally:
        path.write_text(original)
