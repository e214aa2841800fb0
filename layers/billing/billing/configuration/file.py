"""portcullis.toml: the customer portal's configurations and what checkout sells, read and checked.

Keys are Stripe's own parameter names
(https://docs.stripe.com/api/customer_portal/configurations/create), save that a product is named
by its prices. Every complaint names the line. Pure but for reading the one file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from billing.errors import ConfigurationError

#: Beside the package: in the repository, and in the layer as it lies in Lambda.
CONFIGURATION_FILE = Path(__file__).parents[2] / "portcullis.toml"

STAGES = ("dev", "staging", "prod")
MODES = ("test", "live")

#: Tables of the file that are not configurations.
_CHECKOUT, _FLOWS = "checkout", "flows"

#: Where a value stands: keys, and indexes into lists.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One named portal configuration.

    `parameters` are those of Stripe's billing_portal.configurations.create, except that each of
    `features.subscription_update.products` has no `product`, and price lookup keys (or price ids)
    for `prices`; all of these are in `prices` too. It is used for a customer that holds one of the
    product ids or feature lookup keys in `when_*`; where both are empty, by name or as the default.
    """

    name: str
    parameters: Mapping[str, Any]
    prices: tuple[str, ...] = ()
    when_products: tuple[str, ...] = ()
    when_features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What may be bought: price lookup keys or price ids, and nothing else."""

    prices: tuple[str, ...] = ()
    trial_days: int | None = None
    allow_promotion_codes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationFile:
    """The file as one stage and mode see it. The first configuration is the default.

    What a portal flow may name: `retention_coupons` to keep who is cancelling, `coupons` and
    `promotion_codes` with a confirmed change. All are ids.
    """

    configurations: tuple[Configuration, ...]
    checkout: Checkout
    retention_coupons: frozenset[str] = frozenset()
    coupons: frozenset[str] = frozenset()
    promotion_codes: frozenset[str] = frozenset()

    def named(self, name: str) -> Configuration | None:
        """The configuration of this name."""
        return next((each for each in self.configurations if each.name == name), None)

    def chosen_for(self, products: Collection[str], features: Collection[str]) -> Configuration:
        """The first configuration whose rule holds for a customer with these, else the default."""
        for each in self.configurations:
            if not (
                set(products).isdisjoint(each.when_products)
                and set(features).isdisjoint(each.when_features)
            ):
                return each
        return self.configurations[0]


def load(*, stage: str, mode: str, path: Path = CONFIGURATION_FILE) -> ConfigurationFile:
    """The file as `stage` and `mode` see it. Raises ConfigurationError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from error
    return parse(text, stage=stage, mode=mode, name=path.name)


def parse(text: str, *, stage: str, mode: str, name: str = "portcullis.toml") -> ConfigurationFile:
    """As load, from the file's text, which errors call `name`. Raises ConfigurationError."""
    try:
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name}: {error}") from error
    wrong = list(_wrong_in_file(written))
    seen: dict[str, dict[str, Any]] = {}
    if not wrong:
        # What is left out is only known to be missing once the overlays are merged in.
        seen = {key: _as_seen(table, stage, mode) for key, table in written.items()}
        for key, table in seen.items():
            wrong += _wrong((key,), table, _shape_of(key), whole=True)
            if key not in (_CHECKOUT, _FLOWS):
                wrong += _contradictions(key, table.get("features", {}))
    configurations = [key for key in seen if key not in (_CHECKOUT, _FLOWS)]
    if not wrong and not configurations:
        wrong.append(((), "at least one table, [default], has to name a portal configuration"))
    if wrong:
        lines = _lines(text)
        raise ConfigurationError("\n".join(_complaint(name, lines, each) for each in wrong))
    flows = seen.get(_FLOWS, {})
    checkout = seen.get(_CHECKOUT, {})
    return ConfigurationFile(
        configurations=tuple(_configuration(key, seen[key]) for key in configurations),
        retention_coupons=frozenset(flows.get("retention_coupons", ())),
        coupons=frozenset(flows.get("coupons", ())),
        promotion_codes=frozenset(flows.get("promotion_codes", ())),
        checkout=Checkout(
            prices=tuple(checkout.get("prices", ())),
            trial_days=checkout.get("trial_days"),
            allow_promotion_codes=checkout.get("allow_promotion_codes", False),
        ),
    )


def _configuration(name: str, table: Mapping[str, Any]) -> Configuration:
    update: Mapping[str, Any] = table["features"].get("subscription_update", {})
    offered: Sequence[Mapping[str, Any]] = update.get("products", ())
    when: Mapping[str, Sequence[str]] = table.get("when", {})
    parameters = {key: value for key, value in table.items() if key != "when"}
    return Configuration(
        name=name,
        parameters={"name": name} | parameters,
        prices=tuple(price for product in offered for price in product["prices"]),
        when_products=tuple(when.get("products", ())),
        when_features=tuple(when.get("features", ())),
    )


def _as_seen(table: Mapping[str, Any], stage: str, mode: str) -> dict[str, Any]:
    """The table with the stage's overlay merged over it, and the mode's over both."""
    plain = {key: value for key, value in table.items() if key not in ("stage", "mode")}
    for overlay in (table.get("stage", {}).get(stage, {}), table.get("mode", {}).get(mode, {})):
        plain = merged(plain, overlay)
    return plain


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` over `under`: tables key by key; anything else, lists as well, is replaced whole."""
    both = dict(under)
    for key, value in over.items():
        before = both.get(key)
        both[key] = merged(before, value) if isinstance(before, dict) else value
    return both


# ---------------------------------------------------------------------- what is allowed


@dataclass(frozen=True, slots=True)
class _Value:
    kind: type[str] | type[int] | type[bool]
    least: int = 0
    most: int | None = None
    starts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _OneOf:
    literals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _ListOf:
    each: _Shape
    most: int | None = None


@dataclass(frozen=True, slots=True)
class _Table:
    keys: Mapping[str, _Shape]
    required: tuple[str, ...] = ()


_Shape = _Value | _OneOf | _ListOf | _Table

_TEXT = _Value(str, least=1)
_FLAG = _Value(bool)
_URL = _Value(str, starts=("https://", "http://"))
_PRORATION = _OneOf(("none", "create_prorations", "always_invoice"))


def _switched(**keys: _Shape) -> _Table:
    return _Table({"enabled": _FLAG, **keys}, required=("enabled",))


_QUANTITY = _switched(minimum=_Value(int), maximum=_Value(int))
_PRODUCT = _Table(
    {"prices": _ListOf(_TEXT), "adjustable_quantity": _QUANTITY}, required=("prices",)
)
_REASONS = (
    *("customer_service", "low_quality", "missing_features", "other", "switched_service"),
    *("too_complex", "too_expensive", "unused"),
)
_PAUSE = _Table(
    {
        "type": _OneOf(("indefinite", "interval_options")),
        "interval_options": _ListOf(
            _Table(
                {
                    "interval": _OneOf(("day", "week", "month", "year")),
                    "interval_count": _Value(int, least=1),
                },
                required=("interval",),
            )
        ),
    },
    required=("type",),
)
_FEATURES = _Table(
    {
        "customer_update": _switched(
            allowed_updates=_ListOf(
                _OneOf(("address", "email", "name", "phone", "shipping", "tax_id"))
            )
        ),
        "invoice_history": _switched(),
        "payment_method_update": _switched(payment_method_configuration=_TEXT),
        "subscription_cancel": _switched(
            mode=_OneOf(("at_period_end", "immediately")),
            # Stripe refuses always_invoice here.
            proration_behavior=_OneOf(("none", "create_prorations")),
            cancellation_reason=_Table(
                {
                    "enabled": _FLAG,
                    "options": _ListOf(_OneOf(_REASONS)),
                    "feedback_options": _ListOf(_TEXT),
                },
                required=("enabled", "options"),
            ),
        ),
        "subscription_pause": _switched(duration=_PAUSE),
        "subscription_update": _switched(
            default_allowed_updates=_ListOf(_OneOf(("price", "quantity", "promotion_code"))),
            products=_ListOf(_PRODUCT, most=10),
            proration_behavior=_PRORATION,
            billing_cycle_anchor=_OneOf(("now", "unchanged")),
            trial_update_behavior=_OneOf(("continue_trial", "end_trial")),
            schedule_at_period_end=_Table(
                {
                    "conditions": _ListOf(
                        _Table(
                            {"type": _OneOf(("decreasing_item_amount", "shortening_interval"))},
                            required=("type",),
                        )
                    )
                }
            ),
        ),
    }
)
_CONFIGURATION = _Table(
    {
        "name": _TEXT,
        "default_return_url": _URL,
        "business_profile": _Table(
            {"headline": _Value(str), "privacy_policy_url": _URL, "terms_of_service_url": _URL}
        ),
        "login_page": _switched(),
        "features": _FEATURES,
        "when": _Table({"products": _ListOf(_TEXT), "features": _ListOf(_TEXT)}),
    },
    required=("features",),
)
_SHAPES = {
    _CHECKOUT: _Table(
        {
            "prices": _ListOf(_TEXT),
            # Stripe's longest trial.
            "trial_days": _Value(int, least=1, most=730),
            "allow_promotion_codes": _FLAG,
        }
    ),
    _FLOWS: _Table(
        {
            "retention_coupons": _ListOf(_TEXT),
            "coupons": _ListOf(_TEXT),
            "promotion_codes": _ListOf(_TEXT),
        }
    ),
}


def _shape_of(key: str) -> _Table:
    return _SHAPES.get(key, _CONFIGURATION)


# ---------------------------------------------------------------------- what is wrong

#: Where, and what is wrong there.
_Wrong = tuple[KeyPath, str]


def _wrong_in_file(written: Mapping[str, Any]) -> Iterator[_Wrong]:
    """What is wrong in the file whoever reads it: a slip in prod's overlay is found in dev too."""
    for key, table in written.items():
        if not isinstance(table, dict):
            allowed = f"[{_CHECKOUT}], [{_FLOWS}], and one table for each portal configuration"
            yield (key,), f"is unknown here; allowed: {allowed}"
            continue
        shape = _shape_of(key)
        overlays = {
            "stage": _Table(dict.fromkeys(STAGES, shape)),
            "mode": _Table(dict.fromkeys(MODES, shape)),
        }
        yield from _wrong((key,), table, _Table({**shape.keys, **overlays}), whole=False)


def _wrong(path: KeyPath, value: Any, shape: _Shape, *, whole: bool) -> Iterator[_Wrong]:
    """What is wrong with `value`. Unless it is `whole`, nothing is missing from a table."""
    match shape:
        case _Table():
            yield from _wrong_table(path, value, shape, whole=whole)
        case _ListOf(each, most):
            if not isinstance(value, list):
                yield path, f"has to be a list, not {_shown(value)}"
                return
            if most is not None and len(value) > most:
                yield path, f"has {len(value)} entries; Stripe takes {most}"
            for index, inner in enumerate(value):
                # A list is never merged, so its tables are whole wherever they stand.
                yield from _wrong((*path, index), inner, each, whole=True)
        case _OneOf(literals):
            if value not in literals:
                yield path, f"is {_shown(value)}; allowed: {_listed(map(_shown, literals))}"
        case _Value():
            complaint = _wrong_value(value, shape)
            if complaint:
                yield path, complaint


def _wrong_table(path: KeyPath, value: Any, shape: _Table, *, whole: bool) -> Iterator[_Wrong]:
    if not isinstance(value, dict):
        yield path, f"has to be a table of {_listed(shape.keys)}, not {_shown(value)}"
        return
    for key, inner in value.items():
        if key in shape.keys:
            yield from _wrong((*path, key), inner, shape.keys[key], whole=whole)
        else:
            yield (*path, key), f"is unknown; allowed here: {_listed(shape.keys)}"
    for key in shape.required:
        if whole and key not in value:
            yield path, f"lacks {key}"


def _wrong_value(value: Any, shape: _Value) -> str:
    # bool is an int to Python, and to nobody else.
    if type(value) is not shape.kind:
        return f"has to be {_KINDS[shape.kind]}, not {_shown(value)}"
    size = len(value) if isinstance(value, str) else int(value)
    if size < shape.least or (shape.most is not None and size > shape.most):
        if shape.kind is str:
            return "may not be empty"
        allowed = (
            f"{shape.least} or more" if shape.most is None else f"{shape.least} to {shape.most}"
        )
        return f"is {_shown(value)}; allowed: {allowed}"
    if shape.starts and not str(value).startswith(shape.starts):
        return f"is {_shown(value)}; it has to begin with {' or '.join(shape.starts)}"
    return ""


def _contradictions(name: str, features: Mapping[str, Any]) -> Iterator[_Wrong]:
    """What Stripe would refuse of features each allowed by itself."""
    for feature, needed in (
        ("customer_update", ("allowed_updates",)),
        ("subscription_update", ("default_allowed_updates", "products")),
    ):
        given = features.get(feature, {})
        for key in needed if given.get("enabled") else ():
            if not given.get(key):
                yield (name, "features", feature), f"is enabled, so {key} may not be empty"
    pause = features.get("subscription_pause", {}).get("duration", {})
    if pause.get("type") == "interval_options" and not pause.get("interval_options"):
        yield (
            (name, "features", "subscription_pause", "duration"),
            "has the type interval_options, so interval_options may not be empty",
        )


_KINDS = {str: "a string", int: "a whole number", bool: "true or false"}


def _shown(value: Any) -> str:
    """A value as TOML writes it, near enough to be recognised."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else str(value)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


# ---------------------------------------------------------------------- where it stands


def _complaint(name: str, lines: Mapping[KeyPath, int], wrong: _Wrong) -> str:
    path, what = wrong
    where = path
    while where and where not in lines:
        where = where[:-1]
    written = ".".join(str(key) for key in path if isinstance(key, str))
    return f"{name}, line {lines.get(where, 1)}: {written} {what}".replace("  ", " ")


def _lines(text: str) -> dict[KeyPath, int]:
    """The line on which each key path of a valid TOML text first stands.

    tomllib keeps no positions. But each statement (a header, or a key and its value over however
    many lines) is a valid text of its own, and no beginning of one is: so it is read line by line
    until it parses. A value inside a list of several lines has the line of its key.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    entries: dict[KeyPath, int] = {}
    statement, began = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if not statement:
            began = number
        statement += line + "\n"
        try:
            read = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            table = _header(read, entries)
            found: list[KeyPath] = [table[: length + 1] for length in range(len(table))]
        else:
            found = [(*table, *path) for path in _paths(read)]
        for path in found:
            lines.setdefault(path, began)
        statement = ""
    return lines


def _header(read: Any, entries: dict[KeyPath, int]) -> KeyPath:
    """The path of a header. `entries` counts those of each [[list of tables]] met so far."""
    path: KeyPath = ()
    while read:
        ((key, read),) = read.items()
        path = (*path, key)
        if isinstance(read, list):
            entries[path] = entries.get(path, -1) + 1
            read = {}
        if path in entries:
            path = (*path, entries[path])
    return path


def _paths(value: Any) -> Iterator[KeyPath]:
    """The path of every key and entry in `value`."""
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, inner in inside:
        yield (key,)
        yield from ((key, *rest) for rest in _paths(inner))
