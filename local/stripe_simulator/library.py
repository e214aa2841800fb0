"""What stripe-python declares: the parameters of each call and the fields of each object.

The simulator validates against these declarations, so it follows the installed library.
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
    """One declared parameter."""

    annotation: Any
    required: bool


@functools.cache
def parameters(params: type) -> dict[str, Parameter]:
    """Return the parameters of a TypedDict of the library, without the request options."""
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
    """Return the class into which the library parses `{"object": name}`, or None."""
    if name not in OBJECT_CLASSES:
        return None
    module, attribute = OBJECT_CLASSES[name]
    found: type[StripeObject] = getattr(importlib.import_module(module), attribute)
    return found


@functools.cache
def _namespace(module_name: str) -> dict[str, Any]:
    """Return the names that annotations of a module use, with its type-checking imports."""
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
    """Return the declared fields of an object's class, or of a class nested in it."""
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
    """Return the alternatives of a (nested) union, or the annotation alone."""
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
    """Return whether a field holds an id that `expand` replaces with the object."""
    parts = members(annotation)
    return str in parts and any(
        isinstance(part, ForwardRef) or (isinstance(part, type) and issubclass(part, StripeObject))
        for part in parts
    )


def list_element(annotation: Any) -> Any | None:
    """Return the annotation of the elements of a ListObject or a plain list, else None."""
    for part in members(annotation):
        origin = typing.get_origin(part)
        if origin is ListObject or origin is list:
            return typing.get_args(part)[0]
    return None


def is_list_object(annotation: Any) -> bool:
    return any(typing.get_origin(part) is ListObject for part in members(annotation))
