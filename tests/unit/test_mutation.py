"""Mutation testing: which changes are made, and how survivors are compared with their list."""

from __future__ import annotations

import ast
import os
import signal

import pytest

from tests.mutation import children, core, functions
from tests.mutation.edits import edits
from tests.mutation.survivors import Change, Outcome, judge, read

TABLE = '''
"""A module."""
LIMIT = 60
NAMES = frozenset({"a", "b"})
MEANING = {"active": Standing.PAID, **MORE}

class Item:
    """An item."""
    quantity: int = 1

class Reads(Protocol):
    def read(self, consistent: bool = True) -> None: ...

def until(since: int, grace: int = 7) -> int:
    """Its end."""
    if since < LIMIT:
        report("Early", since)
    return since + grace
'''


def changes(source: str, *, function: bool) -> list[tuple[str, str]]:
    return [(each.where, each.change) for each in edits(source) if each.function is function]


def replaced(before: str, *after: str) -> list[str]:
    return [f"- {before}\n+ {each}" for each in after]


def test_each_number_text_and_entry_outside_of_functions_is_changed() -> None:
    names, meaning = "NAMES = frozenset", "MEANING = {'active': Standing.PAID, **MORE}"
    expected = {
        "LIMIT": replaced("LIMIT = 60", "LIMIT = 61", "LIMIT = 59"),
        "NAMES": replaced(
            f"{names}({{'a', 'b'}})",
            f"{names}({{'b'}})",
            f"{names}({{'a'}})",
            f"{names}({{'XXaXX', 'b'}})",
            f"{names}({{'a', 'XXbXX'}})",
        ),
        "MEANING": replaced(
            meaning,
            "MEANING = {**MORE}",
            "MEANING = {'active': Standing.PAID}",
            "MEANING = {'XXactiveXX': Standing.PAID, **MORE}",
        ),
        "Item.quantity": replaced("quantity: int = 1", "quantity: int = 2", "quantity: int = 0"),
        "until": replaced(
            "def until(since: int, grace: int=7) -> int:",
            "def until(since: int, grace: int=8) -> int:",
            "def until(since: int, grace: int=6) -> int:",
        ),
    }
    found = changes(TABLE, function=False)
    assert found == [(where, each) for where, those in expected.items() for each in those]


def test_each_statement_operator_and_argument_of_a_function_is_changed() -> None:
    assert [change for _, change in changes(TABLE, function=True)] == [
        *replaced("if since < LIMIT:", "if since <= LIMIT:"),
        *replaced(
            "report('Early', since)",
            "pass",
            "report(None, since)",
            "report(since)",
            "report('Early', None)",
            "report('Early')",
            "report('XXEarlyXX', since)",
        ),
        *replaced("return since + grace", "return None", "return since - grace"),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if not paid:\n        pass", "if paid:"),
        ("if paid:\n        pass", "if not paid:"),
        ("return [a for a in b if a.paid]", "return [a for a in b]"),
        ("return [a for a in b if a.paid]", "return [a for a in b if not a.paid]"),
        ("return a and b", "return a or b"),
        ("return a is None", "return a is not None"),
        ("return a in (1, c)", "return a in (1,)"),
        ("return a not in b", "return a in b"),
        ("return min(a, b)", "return max(a, b)"),
        ("return a.partition(b)", "return a.rpartition(b)"),
        ("return lambda: a", "return lambda: None"),
        ("return f'{a} b'", "return f'{a}XX bXX'"),
        ("a = b", "a = None"),
        ("a = None", "a = ''"),
        ("a += b", "a = b"),
        ("a += b", "a -= b"),
        ("raise Refused", "pass"),
        ("for a in b:\n        continue", "break"),
        ("for a in b:\n        break", "return"),
        ("match a:\n        case 1 if c:\n            pass", "case 1:"),
        ("return True", "return False"),
        ("return a(b=c, d=e)", "return a(d=e)"),
        ("return a(b=c)", "return a(b=None)"),
    ],
)
def test_a_kind_of_change_is_made(before: str, after: str) -> None:
    found = [change for _, change in changes(f"def f():\n    {before}\n", function=True)]
    assert after in [change.rpartition("\n+ ")[2] for change in found]


def test_a_case_is_left_out() -> None:
    source = "def f():\n match a:\n  case 1:\n   b()\n  case _:\n   c()\n"
    assert ("f", "- case 1:\n- b()") in changes(source, function=True)


@pytest.mark.parametrize(
    "body",
    [
        '"""A docstring."""',
        "a: Literal['b']",
        "assert a is not None",
        "isinstance(a, b)",
        "...",
    ],
)
def test_what_only_readers_and_type_checkers_read_is_left_alone(body: str) -> None:
    source = f"def f(a: int = x) -> 'b':\n    {body}\n"
    kept = [change for _, change in changes(source, function=True)]
    assert kept in ([], ["- isinstance(a, b)\n+ pass"])


def test_after_the_last_change_the_module_is_as_it_was() -> None:
    (tree,) = {id(each.tree): each.tree for each in edits(TABLE)}.values()
    assert ast.dump(tree) == ast.dump(ast.parse(TABLE))


def test_of_a_long_line_the_part_that_differs_is_shown() -> None:
    source = f"LONG = [{', '.join(f'name_{number}' for number in range(50))}, 'last']"
    change = changes(source, function=False)[-1][1]
    assert all(len(line) < 120 for line in change.splitlines())
    assert "'XXlastXX'" in change


@pytest.mark.parametrize("module", core.CORE)
def test_every_function_of_the_core_is_found_where_it_lives(module: str) -> None:
    for where, code in functions.live_codes(module).items():
        assert code.co_qualname == where
        assert code.co_filename == str(core.file_of(module))


def test_the_verdict_is_how_the_child_of_a_change_ends() -> None:
    def is_noticed(change: str) -> bool:
        if change == "hangs":
            os.kill(os.getpid(), signal.SIGXCPU)
        if change == "breaks":
            raise RuntimeError
        return change == "is noticed"

    names = ["is noticed", "is not", "hangs", "breaks"]
    assert dict(children.verdicts(names, str, is_noticed)) == {
        "is noticed": children.KILLED,
        "is not": children.SURVIVED,
        "hangs": children.TIMEOUT,
        "breaks": children.BROKEN,
    }


ONE, TWO = Change("sync.covered", "- a\n+ b"), Change("sync.covered", "- a\n+ c")
REASON = "equivalent because both are the same"
LISTED = """
[[survivor]]
where = "sync.covered"
change = '''
- a
+ b
'''
reason = "equivalent because both are the same"
"""


def test_a_listed_survivor_is_no_complaint_and_lowers_the_score() -> None:
    verdict = judge([Outcome(ONE, "survived"), Outcome(TWO, "timeout")], read(LISTED))
    assert verdict.complaints == []
    assert verdict.score == 50
    assert verdict.summary == "mutate: 1/2 killed (50.0%), 1 survive, each explained"


@pytest.mark.parametrize("how", ["survived", "broken"])
def test_a_survivor_that_is_not_listed_is_a_complaint(how: str) -> None:
    verdict = judge([Outcome(ONE, how)], {})
    assert verdict.complaints == [f"{how}, and not listed: sync.covered\n    - a\n    + b"]
    assert verdict.summary.endswith("NOT each explained")


def test_a_listed_survivor_that_is_killed_is_a_complaint() -> None:
    verdict = judge([Outcome(ONE, "killed")], {ONE: REASON})
    assert verdict.complaints == ["listed, and killed: sync.covered\n    - a\n    + b"]


def test_a_listed_survivor_that_is_no_change_any_more_is_a_complaint_of_a_whole_run() -> None:
    outcomes = [Outcome(ONE, "killed")]
    assert len(judge(outcomes, {TWO: REASON}).complaints) == 1
    assert judge(outcomes, {TWO: REASON}, whole=False).complaints == []


def test_a_change_that_occurs_twice_and_survives_once_is_a_survivor() -> None:
    twice = [Outcome(ONE, "survived"), Outcome(ONE, "killed")]
    assert judge(twice, {ONE: REASON}).complaints == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [(LISTED * 2, "listed twice"), (LISTED.replace("equivalent because", "as"), "must begin")],
)
def test_a_list_without_a_reason_or_with_one_change_twice_is_refused(
    text: str, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        read(text)


def test_the_committed_list_can_be_read() -> None:
    read()
