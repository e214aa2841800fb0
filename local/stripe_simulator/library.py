"""What stripe-python declares: the parameters each call takes and the fields each object carries.

The simulator's strictness comes from here, so it follows the installed library by itself.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import sys
import types
import typing
from dataclasses import dataclass
from typing import Any, ClassVar, ForwardRef

import stripe
from stripe._list_object import ListObject
from stripe._object_classes import OBJECT_CLASSES
from stripe._request_options import RequestOptions
from stripe._stripe_object import StripeObject

CURRENT_VERSION: str = stripe.api_version or ""


@dataclass(frozen=True)
class Parameter:
    """What one parameter may be."""

    annotation: Any
    required: bool


@functools.cache
def parameters(params: type) -> dict[str, Parameter]:
    """The parameters of one of the library's TypedDicts, without the client's request options."""
    inherits = RequestOptions in getattr(params, "__orig_bases__", ())
    own = {
        name: annotation
        for name, annotation in params.__annotations__.items()
        if not (inherits and name in RequestOptions.__annotations__)
    }
    holder = types.SimpleNamespace(__annotations__=own)
    hints = typing.get_type_hints(holder, globalns=dict(vars(sys.modules[params.__module__])))
    required: frozenset[str] = getattr(params, "__required_keys__", frozenset())
    return {name: Parameter(hints[name], name in required) for name in own}


@functools.cache
def object_class(name: str) -> type[StripeObject] | None:
    """The class the library parses `{"object": name}` into, or None when it knows none."""
    if name not in OBJECT_CLASSES:
        return None
    module, attribute = OBJECT_CLASSES[name]
    found: type[StripeObject] = getattr(importlib.import_module(module), attribute)
    return found


@functools.cache
def _namespace(module_name: str) -> dict[str, Any]:
    """Names an object's annotations may use: its module's own and its type-checking imports."""
    module = sys.modules[module_name]
    names = dict(vars(module))
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("stripe"):
            continue
        if (node.module or "").startswith("stripe.params"):
            continue
        source = importlib.import_module(node.module or "")
        for alias in node.names:
            names.setdefault(alias.asname or alias.name, getattr(source, alias.name))
    return names


def fields(cls: Any) -> dict[str, Any]:
    """The declared fields of an object's class (or of a class nested in it), resolved."""
    return _fields(cls)


def _is_class_variable(annotation: Any) -> bool:
    origin: Any = typing.get_origin(annotation)
    return origin is ClassVar


@functools.cache
def _fields(cls: Any) -> dict[str, Any]:
    own = {
        name: annotation
        for name, annotation in inspect.get_annotations(cls).items()
        if not _is_class_variable(annotation) and not name.startswith("_")
    }
    holder = types.SimpleNamespace(__annotations__=own)
    return typing.get_type_hints(holder, globalns=_namespace(cls.__module__))


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a (nested) union, or the annotation alone."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        found: list[Any] = []
        for part in typing.get_args(annotation):
            found.extend(members(part))
        return tuple(found)
    return (annotation,)


def object_members(annotation: Any) -> list[type[StripeObject]]:
    return [
        part
        for part in members(annotation)
        if isinstance(part, type) and issubclass(part, StripeObject) and part is not ListObject
    ]


def is_expandable(annotation: Any) -> bool:
    """Whether a field holds an id that `expand` turns into the object itself."""
    parts = members(annotation)
    return str in parts and any(
        isinstance(part, ForwardRef) or (isinstance(part, type) and issubclass(part, StripeObject))
        for part in parts
    )


def list_element(annotation: Any) -> Any | None:
    """The element's annotation of a ListObject or a plain list, else None."""
    for part in members(annotation):
        origin = typing.get_origin(part)
        if origin is ListObject or origin is list:
            return typing.get_args(part)[0]
    return None


def is_list_object(annotation: Any) -> bool:
    return any(typing.get_origin(part) is ListObject for part in members(annotation))
