"""Shapes: what a value of the file may be, and what is wrong with one that is not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Where a value is in the file: keys, and indexes into lists.
KeyPath = tuple[str | int, ...]

#: A mistake: where it is, and what is wrong there.
Mistake = tuple[KeyPath, str]


@dataclass(frozen=True, slots=True)
class Value:
    """A plain value of type `kind`. `least` and `most` bound a number, or a string's length."""

    kind: type[str] | type[int] | type[bool]
    least: int = 0
    most: int | None = None
    starts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some strings."""

    literals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list whose entries all have one shape."""

    each: Shape
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of known keys."""

    keys: Mapping[str, Shape]
    required: tuple[str, ...] = ()


Shape = Value | OneOf | ListOf | Table


def mistakes(path: KeyPath, value: Any, shape: Shape, *, whole: bool) -> Iterator[Mistake]:
    """The mistakes in `value` at `path`. A table may lack required keys unless it is `whole`."""
    match shape:
        case Table():
            yield from _mistakes_in_table(path, value, shape, whole=whole)
        case ListOf(each, most):
            if not isinstance(value, list):
                yield path, f"must be a list, not {_shown(value)}"
                return
            if most is not None and len(value) > most:
                yield path, f"has {len(value)} entries; Stripe takes {most}"
            for index, inner in enumerate(value):
                # A list is replaced whole, never merged, so its tables are whole everywhere.
                yield from mistakes((*path, index), inner, each, whole=True)
        case OneOf(literals):
            if value not in literals:
                yield path, f"is {_shown(value)}; allowed: {_listed(map(_shown, literals))}"
        case Value():
            complaint = _mistake_in_value(value, shape)
            if complaint:
                yield path, complaint


def _mistakes_in_table(
    path: KeyPath, value: Any, shape: Table, *, whole: bool
) -> Iterator[Mistake]:
    if not isinstance(value, dict):
        yield path, f"must be a table of {_listed(shape.keys)}, not {_shown(value)}"
        return
    for key, inner in value.items():
        if key in shape.keys:
            yield from mistakes((*path, key), inner, shape.keys[key], whole=whole)
        else:
            yield (*path, key), f"is unknown; allowed here: {_listed(shape.keys)}"
    for key in shape.required:
        if whole and key not in value:
            yield path, f"lacks {key}"


def _mistake_in_value(value: Any, shape: Value) -> str:
    # In Python a bool is an int.
    if type(value) is not shape.kind:
        return f"must be {_KINDS[shape.kind]}, not {_shown(value)}"
    size = len(value) if isinstance(value, str) else int(value)
    if size < shape.least or (shape.most is not None and size > shape.most):
        if shape.kind is str:
            too_long = f"has {size} characters; Stripe takes {shape.most}"
            return too_long if size else "must not be empty"
        allowed = (
            f"{shape.least} or more" if shape.most is None else f"{shape.least} to {shape.most}"
        )
        return f"is {_shown(value)}; allowed: {allowed}"
    if shape.starts and not str(value).startswith(shape.starts):
        return f"is {_shown(value)}; it must begin with {' or '.join(shape.starts)}"
    return ""


_KINDS = {str: "a string", int: "a whole number", bool: "true or false"}


def _shown(value: Any) -> str:
    """A value roughly as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else str(value)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


# What each table of the file may hold. The lengths are Stripe's limits, in characters.

MAX_HEADLINE_LENGTH = 60
MAX_NAME_LENGTH = 256
MAX_METADATA_VALUE_LENGTH = 500

_TEXT = Value(str, least=1)
_FLAG = Value(bool)
_URL = Value(str, starts=("https://", "http://"))
_PRORATION = OneOf(("none", "create_prorations", "always_invoice"))


def _switched(**keys: Shape) -> Table:
    return Table({"enabled": _FLAG, **keys}, required=("enabled",))


_QUANTITY = _switched(minimum=Value(int), maximum=Value(int))
_PRODUCT = Table({"prices": ListOf(_TEXT), "adjustable_quantity": _QUANTITY}, required=("prices",))
CANCELLATION_REASONS = (
    *("customer_service", "low_quality", "missing_features", "other", "switched_service"),
    *("too_complex", "too_expensive", "unused"),
)
_PAUSE = Table(
    {
        "type": OneOf(("indefinite", "interval_options")),
        "interval_options": ListOf(
            Table(
                {
                    "interval": OneOf(("day", "week", "month", "year")),
                    "interval_count": Value(int, least=1),
                },
                required=("interval",),
            )
        ),
    },
    required=("type",),
)
_FEATURES = Table(
    {
        "customer_update": _switched(
            allowed_updates=ListOf(
                OneOf(("address", "email", "name", "phone", "shipping", "tax_id"))
            )
        ),
        "invoice_history": _switched(),
        "payment_method_update": _switched(payment_method_configuration=_TEXT),
        "subscription_cancel": _switched(
            mode=OneOf(("at_period_end", "immediately")),
            # Stripe refuses always_invoice here.
            proration_behavior=OneOf(("none", "create_prorations")),
            cancellation_reason=Table(
                {
                    "enabled": _FLAG,
                    "options": ListOf(OneOf(CANCELLATION_REASONS)),
                    "feedback_options": ListOf(_TEXT),
                },
                required=("enabled", "options"),
            ),
        ),
        "subscription_pause": _switched(duration=_PAUSE),
        "subscription_update": _switched(
            default_allowed_updates=ListOf(OneOf(("price", "quantity", "promotion_code"))),
            products=ListOf(_PRODUCT, most=10),
            proration_behavior=_PRORATION,
            billing_cycle_anchor=OneOf(("now", "unchanged")),
            trial_update_behavior=OneOf(("continue_trial", "end_trial")),
            schedule_at_period_end=Table(
                {
                    "conditions": ListOf(
                        Table(
                            {"type": OneOf(("decreasing_item_amount", "shortening_interval"))},
                            required=("type",),
                        )
                    )
                }
            ),
        ),
    }
)
#: A portal configuration.
PORTAL_CONFIGURATION = Table(
    {
        "name": Value(str, least=1, most=MAX_NAME_LENGTH),
        "default_return_url": _URL,
        "business_profile": Table(
            {
                "headline": Value(str, most=MAX_HEADLINE_LENGTH),
                "privacy_policy_url": _URL,
                "terms_of_service_url": _URL,
            }
        ),
        "login_page": _switched(),
        "features": _FEATURES,
        "when": Table({"products": ListOf(_TEXT), "features": ListOf(_TEXT)}),
    },
    required=("features",),
)

#: What checkout sells.
CHECKOUT = Table(
    {
        "prices": ListOf(_TEXT),
        # Stripe's longest trial.
        "trial_days": Value(int, least=1, most=730),
        "allow_promotion_codes": _FLAG,
    }
)

#: What portal flows may name.
FLOWS = Table(
    {
        "retention_coupons": ListOf(_TEXT),
        "coupons": ListOf(_TEXT),
        "promotion_codes": ListOf(_TEXT),
    }
)
