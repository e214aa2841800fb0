"""What portcullis.toml means: the portal's configurations, and what checkout sells.

Keys are Stripe's own parameter names
(https://docs.stripe.com/api/customer_portal/configurations/create), except that a product is named
by its prices. Every mistake is reported with its line. Pure, except that `load` reads the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from billing.configuration.lines import lines_of
from billing.configuration.shapes import (
    CHECKOUT,
    FLOWS,
    MAX_METADATA_VALUE_LENGTH,
    MAX_NAME_LENGTH,
    PORTAL_CONFIGURATION,
    KeyPath,
    Mistake,
    Table,
    mistakes,
)
from billing.errors import ConfigurationError

#: Beside the package, both in the repository and in the deployed layer.
CONFIGURATION_FILE = Path(__file__).parents[2] / "portcullis.toml"

STAGES = ("dev", "staging", "prod")
MODES = ("test", "live")

#: Tables of the file that are not configurations.
_CHECKOUT, _FLOWS = "checkout", "flows"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalConfiguration:
    """One named portal configuration.

    `parameters` are those of Stripe's billing_portal.configurations.create, except that each of
    `features.subscription_update.products` has no `product`, and price lookup keys (or price ids)
    for `prices`; `prices` lists all of these. A configuration with a rule (`when_products` by id,
    `when_features` by lookup key) serves only customers who hold one of them.
    """

    name: str
    parameters: Mapping[str, Any]
    prices: tuple[str, ...] = ()
    when_products: tuple[str, ...] = ()
    when_features: tuple[str, ...] = ()

    @property
    def has_rule(self) -> bool:
        return bool(self.when_products or self.when_features)

    def serves(self, products: Collection[str], features: Collection[str]) -> bool:
        """Whether a customer who holds these products and features may use it."""
        return not self.has_rule or not (
            set(products).isdisjoint(self.when_products)
            and set(features).isdisjoint(self.when_features)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What may be bought: price lookup keys or price ids, and nothing else."""

    prices: tuple[str, ...] = ()
    trial_days: int | None = None
    allow_promotion_codes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The file as one stage and mode see it. The first configuration is the default.

    A portal flow may offer `retention_coupons` to a customer who cancels, and apply `coupons` and
    `promotion_codes` to a confirmed change. All are ids.
    """

    configurations: tuple[PortalConfiguration, ...]
    checkout: Checkout
    retention_coupons: frozenset[str] = frozenset()
    coupons: frozenset[str] = frozenset()
    promotion_codes: frozenset[str] = frozenset()

    def named(self, name: str) -> PortalConfiguration | None:
        """The configuration of this name."""
        return next((each for each in self.configurations if each.name == name), None)

    def chosen_for(
        self, products: Collection[str], features: Collection[str]
    ) -> PortalConfiguration:
        """The first configuration whose rule holds for a customer with these, else the default."""
        chosen = (
            each
            for each in self.configurations
            if each.has_rule and each.serves(products, features)
        )
        return next(chosen, self.configurations[0])


def load(*, stage: str, mode: str, path: Path = CONFIGURATION_FILE) -> Configuration:
    """The file as `stage` and `mode` see it. Raises ConfigurationError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from error
    return parse(text, stage=stage, mode=mode, name=path.name)


def parse(text: str, *, stage: str, mode: str, name: str = "portcullis.toml") -> Configuration:
    """As load, from the file's text, which errors call `name`. Raises ConfigurationError."""
    try:
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name}: {error}") from error
    wrong = list(_mistakes_in_file(written))
    seen: dict[str, dict[str, Any]] = {}
    if not wrong:
        # A key is only known to be missing once the overlays are merged in.
        seen = {key: _as_seen(table, stage, mode) for key, table in written.items()}
        for key, table in seen.items():
            wrong += mistakes((key,), table, _shape_of(key), whole=True)
            if key not in (_CHECKOUT, _FLOWS):
                wrong += _too_long_a_name(key, table)
                wrong += _contradictions(key, table.get("features", {}))
    configurations = [key for key in seen if key not in (_CHECKOUT, _FLOWS)]
    if not wrong and not configurations:
        wrong.append(((), "the file needs at least one portal configuration: a table [default]"))
    if wrong:
        lines = lines_of(text)
        raise ConfigurationError("\n".join(_with_line(name, lines, each) for each in wrong))
    flows = seen.get(_FLOWS, {})
    checkout = seen.get(_CHECKOUT, {})
    return Configuration(
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


def _configuration(name: str, table: Mapping[str, Any]) -> PortalConfiguration:
    update: Mapping[str, Any] = table["features"].get("subscription_update", {})
    offered: Sequence[Mapping[str, Any]] = update.get("products", ())
    when: Mapping[str, Sequence[str]] = table.get("when", {})
    parameters = {key: value for key, value in table.items() if key != "when"}
    return PortalConfiguration(
        name=name,
        parameters={"name": name} | parameters,
        prices=tuple(price for product in offered for price in product["prices"]),
        when_products=tuple(when.get("products", ())),
        when_features=tuple(when.get("features", ())),
    )


def _as_seen(table: Mapping[str, Any], stage: str, mode: str) -> dict[str, Any]:
    """The table with the stage's overlay merged in, then the mode's."""
    plain = {key: value for key, value in table.items() if key not in ("stage", "mode")}
    for overlay in (table.get("stage", {}).get(stage, {}), table.get("mode", {}).get(mode, {})):
        plain = merged(plain, overlay)
    return plain


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with `over` merged in: tables key by key; anything else, lists too, is replaced."""
    both = dict(under)
    for key, value in over.items():
        before = both.get(key)
        both[key] = merged(before, value) if isinstance(before, dict) else value
    return both


# ---------------------------------------------------------------------- what is wrong

#: The shapes of the tables that are not portal configurations.
_SHAPES = {_CHECKOUT: CHECKOUT, _FLOWS: FLOWS}


def _shape_of(key: str) -> Table:
    return _SHAPES.get(key, PORTAL_CONFIGURATION)


def _mistakes_in_file(written: Mapping[str, Any]) -> Iterator[Mistake]:
    """The mistakes in the whole file: one in prod's overlay is found in dev too."""
    for key, table in written.items():
        if not isinstance(table, dict):
            allowed = f"[{_CHECKOUT}], [{_FLOWS}], and one table for each portal configuration"
            yield (key,), f"is unknown here; allowed: {allowed}"
            continue
        shape = _shape_of(key)
        overlays = {
            "stage": Table(dict.fromkeys(STAGES, shape)),
            "mode": Table(dict.fromkeys(MODES, shape)),
        }
        yield from mistakes((key,), table, Table({**shape.keys, **overlays}), whole=False)


def _too_long_a_name(name: str, table: Mapping[str, Any]) -> Iterator[Mistake]:
    """A table's name goes into metadata, and is the configuration's name unless it has another."""
    most, what = MAX_NAME_LENGTH, "as a name: set the key name"
    if "name" in table:
        most, what = MAX_METADATA_VALUE_LENGTH, "in metadata"
    if len(name) > most:
        yield (name,), f"has {len(name)} characters; Stripe takes {most} {what}"


def _contradictions(name: str, features: Mapping[str, Any]) -> Iterator[Mistake]:
    """Combinations of features that Stripe refuses, though it allows each one."""
    for feature, needed in (
        ("customer_update", ("allowed_updates",)),
        ("subscription_update", ("default_allowed_updates", "products")),
    ):
        given = features.get(feature, {})
        for key in needed if given.get("enabled") else ():
            if not given.get(key):
                yield (name, "features", feature), f"is enabled, so {key} must not be empty"
    pause = features.get("subscription_pause", {}).get("duration", {})
    if pause.get("type") == "interval_options" and not pause.get("interval_options"):
        yield (
            (name, "features", "subscription_pause", "duration"),
            "has the type interval_options, so interval_options must not be empty",
        )


def _with_line(name: str, lines: Mapping[KeyPath, int], mistake: Mistake) -> str:
    path, what = mistake
    where = path
    while where and where not in lines:
        where = where[:-1]
    written = ".".join(str(key) for key in path if isinstance(key, str))
    return f"{name}, line {lines.get(where, 1)}: {written} {what}".replace("  ", " ")
