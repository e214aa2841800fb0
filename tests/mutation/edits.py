"""The changes that are made: every small one, in every function and every constant.

In a function: an operator or a condition is turned round; a number, a text or a flag is another; an
argument is None or missing; a value that is assigned or returned is None; a statement, a `case`, a
filter or an entry of a table is gone. In a constant, and in the default of a field or a parameter:
the same as far as it is a value.

Annotations, protocols, docstrings and assertions stay as they are, and so do calls of `isinstance`
and `len`: other arguments are only ever errors.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LEFT_ALONE = ("isinstance", "len", "TypeVar")

#: An operator, and the one that takes its place.
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Div,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}

#: A function or a method, and the one that takes its place.
NAMES = {
    "lower": "upper",
    "upper": "lower",
    "lstrip": "rstrip",
    "rstrip": "lstrip",
    "removeprefix": "removesuffix",
    "removesuffix": "removeprefix",
    "partition": "rpartition",
    "rpartition": "partition",
    "startswith": "endswith",
    "endswith": "startswith",
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
}

#: Characters of a line that are shown. Of a longer one, those around the difference.
MAX_SHOWN = 110


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a module. The next one undoes it.

    where     the function or the constant, behind its class's name where it has one
    change    the lines that differ, as Python writes them
    tree      the whole module after the change
    function  whether it is the body of a function that has changed
    """

    where: str
    change: str
    tree: ast.Module
    function: bool


def edits(source: str) -> Iterator[Edit]:
    """Every change of the module, one after the other."""
    tree = ast.parse(source)
    yield from _in_body(tree, tree.body, "")


def _in_body(tree: ast.Module, body: list[ast.stmt], outer: str) -> Iterator[Edit]:
    for statement in body:
        match statement:
            case ast.ClassDef(bases=[*_, ast.Name(id="Protocol")]):
                continue
            case ast.ClassDef(name=name, body=inner):
                yield from _in_body(tree, inner, f"{outer}{name}.")
            case ast.FunctionDef(name=name, args=arguments):
                for change in _described(statement, _inside(arguments, constant=True)):
                    yield Edit(outer + name, change, tree, function=False)
                for change in _described(statement, _in_statements(statement.body)):
                    yield Edit(outer + name, change, tree, function=True)
            case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
                for change in _described(statement, _inside(statement, constant=True)):
                    yield Edit(outer + ast.unparse(target), change, tree, function=False)


def _described(statement: ast.stmt, changes: Iterator[None]) -> Iterator[str]:
    before = ast.unparse(statement).splitlines()
    for _ in changes:
        after = ast.unparse(ast.fix_missing_locations(statement)).splitlines()
        lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
        removed = [line[1:].strip() for line in lines if line.startswith("-")]
        added = [line[1:].strip() for line in lines if line.startswith("+")]
        yield _shown(removed, added)


def _shown(removed: list[str], added: list[str]) -> str:
    """The lines with their sign; of long ones, what is around the first difference."""
    start = 0
    if removed and added:
        pairs = zip(removed[0], added[0], strict=False)
        start = next((i for i, (a, b) in enumerate(pairs) if a != b), 0)
    first = max(0, start - MAX_SHOWN // 2)

    def cut(line: str) -> str:
        if len(line) <= MAX_SHOWN:
            return line
        return ("…" if first else "") + line[first : first + MAX_SHOWN] + "…"

    shown = [f"- {cut(line)}" for line in removed] + [f"+ {cut(line)}" for line in added]
    return "\n".join(shown)


def _in_statements(statements: list[ast.stmt]) -> Iterator[None]:
    for index, statement in enumerate(statements):
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Import() | ast.ImportFrom():
                continue
            case ast.Expr(value=ast.Call() as call) if "super()" in ast.unparse(call):
                pass  # without it, the code would have other cells than its function
            case ast.Expr(value=ast.Call()) | ast.Raise():
                yield from _with(statements, index, ast.Pass())
            case ast.Break():
                yield from _with(statements, index, ast.Return())
            case ast.Continue():
                yield from _with(statements, index, ast.Break())
            case ast.AugAssign(target=target, value=value):
                yield from _with(statements, index, ast.Assign([target], value))
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                other = "" if _is_none(value) else None
                yield from _with(statement, "value", ast.Constant(other))
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                yield from _with(statement, "value", ast.Constant(None))
            case ast.Match(cases=cases) if len(cases) > 1:
                for case in range(len(cases)):
                    yield from _with(statement, "cases", [*cases[:case], *cases[case + 1 :]])
        yield from _inside(statement)


def _inside(node: ast.AST, *, constant: bool = False) -> Iterator[None]:
    """The changes of everything in `node`."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "ctx", "targets", "target"):
            continue
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield from _in_statements(value)
        elif isinstance(value, list):
            for index, each in enumerate(value):
                if isinstance(each, ast.AST):
                    yield from _of(value, index, each, constant)
        elif isinstance(value, ast.AST):
            if field == "test" and isinstance(value, ast.expr):
                yield from _turned_round(node, field, value)
            if isinstance(node, ast.match_case) and field == "guard" and _may_fail(node.pattern):
                yield from _with(node, field, None)
            yield from _of(node, field, value, constant)


def _of(holder: Any, place: Any, node: ast.AST, constant: bool) -> Iterator[None]:
    """The changes of `node` itself and of everything in it."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in LEFT_ALONE:
        return
    if constant and isinstance(node, ast.Subscript | ast.BitOr):
        return  # types
    for other in _others(node):
        yield from _with(holder, place, other)
    if isinstance(node, ast.Dict):
        for index in range(len(node.keys)):
            without = ast.Dict(_without(node.keys, index), _without(node.values, index))
            yield from _with(holder, place, without)
    if isinstance(node, ast.Set | ast.List) or (constant and isinstance(node, ast.Tuple)):
        yield from _each_lost(node, "elts")
    if isinstance(node, ast.Compare) and isinstance(node.comparators[0], ast.Tuple):
        yield from _each_lost(node.comparators[0], "elts")
    if isinstance(node, ast.comprehension):
        yield from _each_lost(node, "ifs")
        for index, condition in enumerate(node.ifs):
            yield from _turned_round(node.ifs, index, condition)
    if isinstance(node, ast.Call):
        yield from _of_arguments(node, node.args, node.keywords, constant)
    yield from _inside(node, constant=constant)


def _each_lost(node: ast.AST, field: str) -> Iterator[None]:
    entries = getattr(node, field)
    for index in range(len(entries)):
        yield from _with(node, field, _without(entries, index))


def _turned_round(holder: Any, place: Any, condition: ast.expr) -> Iterator[None]:
    """Other conditions have an operator that is turned round."""
    if not isinstance(condition, ast.Compare | ast.BoolOp | ast.UnaryOp):
        yield from _with(holder, place, ast.UnaryOp(ast.Not(), condition))


def _of_arguments(
    call: ast.Call, arguments: list[ast.expr], keywords: list[ast.keyword], constant: bool
) -> Iterator[None]:
    for index, argument in enumerate(arguments):
        if not constant and not isinstance(argument, ast.Starred) and not _is_none(argument):
            yield from _with(arguments, index, ast.Constant(None))
        if not constant and len(arguments) + len(keywords) > 1:
            yield from _with(call, "args", _without(arguments, index))
    for index, keyword in enumerate(keywords):
        if not constant and keyword.arg and not _is_none(keyword.value):
            yield from _with(keyword, "value", ast.Constant(None))
        if constant or len(arguments) + len(keywords) > 1:
            yield from _with(call, "keywords", _without(keywords, index))


def _others(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of `node`."""
    match node:
        case ast.Constant(value=bool() as flag):
            yield ast.Constant(not flag)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
            yield ast.Constant(number - 1)
        case ast.Constant(value=str() as text):
            yield ast.Constant(f"XX{text}XX")
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Lambda(args=arguments):
            yield ast.Lambda(arguments, ast.Constant(None))
        case ast.Attribute(value=value, attr=name, ctx=context) if name in NAMES:
            yield ast.Attribute(value, NAMES[name], context)
        case ast.Name(id=name, ctx=ast.Load() as context) if name in NAMES:
            yield ast.Name(NAMES[name], context)
        case _ if type(node) in OPERATORS:
            yield OPERATORS[type(node)]()


def _with(holder: Any, place: Any, other: Any) -> Iterator[None]:
    """Put `other` into a field or an index of the tree until the next change is asked for."""
    if isinstance(holder, list):
        before = holder[place]
        holder[place] = other
        yield
        holder[place] = before
    else:
        before = getattr(holder, place)
        setattr(holder, place, other)
        yield
        setattr(holder, place, before)


def _may_fail(pattern: ast.pattern) -> bool:
    """Without a guard, Python allows another pattern only as the last one."""
    return not isinstance(pattern, ast.MatchAs) or pattern.pattern is not None


def _without(entries: list[Any], index: int) -> list[Any]:
    return [*entries[:index], *entries[index + 1 :]]


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
