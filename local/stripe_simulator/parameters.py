"""Request parameters: decode Stripe's form encoding and validate it against the library's types."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from typing_extensions import is_typeddict

from . import library
from .errors import StripeError, invalid, missing_parameter, unknown_parameter

Params = dict[str, Any]

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")
_INTEGER = re.compile(r"-?[0-9]+")
MAX_METADATA_KEYS, MAX_METADATA_KEY_LENGTH, MAX_METADATA_VALUE_LENGTH = 50, 40, 500


def decode(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Decode `a[b][0][c]=v` into nested dictionaries. `a[]=v` takes the next number."""
    tree: dict[str, Any] = {}
    for key, value in pairs:
        match = _KEY.fullmatch(key)
        if match is None:
            raise invalid(f"Invalid request: unable to parse the parameter {key}")
        path = [match[1], *_PART.findall(match[2])]
        node = tree
        for index, part in enumerate(path):
            name = part or str(len(node))
            if index == len(path) - 1:
                node[name] = value
                continue
            child = node.setdefault(name, {})
            if not isinstance(child, dict):
                raise invalid(f"Invalid request: {key} is both a value and an object", path[0])
            node = child
    return tree


def validate(raw: dict[str, Any], params: type) -> Params:
    """Return `raw` as typed values. Raises Stripe's 400. `params` is a class of stripe.params."""
    return _typed_dict(raw, params, "")


def _typed_dict(raw: dict[str, Any], params: type, path: str) -> Params:
    declared = library.parameters(params)
    for name in raw:
        if name not in declared:
            raise unknown_parameter(_join(path, name))
    values = {
        name: _value(value, declared[name].annotation, _join(path, name))
        for name, value in raw.items()
    }
    for name, parameter in declared.items():
        if parameter.required and name not in raw:
            raise missing_parameter(_join(path, name))
    return values


def _join(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name


def _value(raw: Any, annotation: Any, path: str) -> Any:
    literals, others = _alternatives(annotation)
    if isinstance(raw, str):
        if raw in literals:
            return raw
        return _scalar(raw, literals, others, path)
    for part in others:
        origin = typing.get_origin(part)
        if is_typeddict(part):
            return _typed_dict(raw, part, path)
        if origin is list:
            return _list(raw, part, path)
        if origin is dict:
            return _metadata(raw, path)
    raise invalid(f"Invalid string: {raw}", path)


def _alternatives(annotation: Any) -> tuple[list[str], list[Any]]:
    """Return the literals and the other members, without a `str` that only widens the literals."""
    literals: list[str] = []
    others: list[Any] = []
    for part in library.members(annotation):
        if typing.get_origin(part) in (Literal, typing.Literal):
            literals.extend(typing.get_args(part))
        else:
            others.append(part)
    if any(literal != "" for literal in literals):
        others = [part for part in others if part is not str]
    return literals, others


def _scalar(raw: str, literals: list[str], others: list[Any], path: str) -> Any:
    if str in others:
        if raw == "":
            raise _cannot_unset(path)
        return raw
    if bool in others and raw in ("true", "false"):
        return raw == "true"
    if int in others and _INTEGER.fullmatch(raw):
        return int(raw)
    if (float in others or Decimal in others) and (number := _decimal(raw)) is not None:
        return float(number) if float in others else number
    raise _wrong_scalar(raw, [literal for literal in literals if literal != ""], others, path)


def _decimal(raw: str) -> Decimal | None:
    try:
        number = Decimal(raw)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _cannot_unset(path: str) -> StripeError:
    return invalid(
        f"You passed an empty string for '{path}'. We assume empty values are an attempt to unset "
        f"a parameter; however '{path}' cannot be unset. You should remove '{path}' from your "
        "request or supply a non-empty value.",
        path,
        "parameter_invalid_empty",
    )


def _wrong_scalar(raw: str, named: list[str], others: list[Any], path: str) -> StripeError:
    if named:
        listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])}, or {named[-1]}"
        return invalid(f"Invalid {path}: must be one of {listed}", path)
    if int in others:
        return invalid(f"Invalid integer: {raw}", path, "parameter_invalid_integer")
    if bool in others:
        return invalid(f"Invalid boolean: {raw}", path)
    if float in others or Decimal in others:
        return invalid(f"Invalid decimal: {raw}", path)
    if any(typing.get_origin(part) is list for part in others):
        return invalid("Invalid array", path)
    return invalid("Invalid object", path)


def _list(raw: dict[str, Any], annotation: Any, path: str) -> list[Any]:
    if not all(_INTEGER.fullmatch(key) for key in raw):
        raise invalid("Invalid array", path)
    (element,) = typing.get_args(annotation)
    ordered = sorted(raw.items(), key=lambda pair: int(pair[0]))
    return [_value(value, element, f"{path}[{key}]") for key, value in ordered]


def _metadata(raw: dict[str, Any], path: str) -> dict[str, str]:
    if len(raw) > MAX_METADATA_KEYS:
        raise invalid(f"You can only specify up to {MAX_METADATA_KEYS} metadata keys", path)
    for key, value in raw.items():
        if not isinstance(value, str):
            raise invalid("Metadata values must be strings", f"{path}[{key}]")
        if len(key) > MAX_METADATA_KEY_LENGTH:
            raise invalid(
                f"Metadata keys must be under {MAX_METADATA_KEY_LENGTH} characters",
                f"{path}[{key}]",
            )
        if len(value) > MAX_METADATA_VALUE_LENGTH:
            raise invalid(
                f"Metadata values must be under {MAX_METADATA_VALUE_LENGTH} characters",
                f"{path}[{key}]",
            )
    return dict(raw)
