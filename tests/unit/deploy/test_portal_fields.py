"""Every field of a portal configuration is set or unset: Stripe keeps what an update omits.

The deploys run against the simulator. A configuration that was updated must equal one that is
created from the same file.
"""

from __future__ import annotations

import copy
import json
import tomllib
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import stripe
from stripe.params.billing_portal import ConfigurationCreateParams, ConfigurationUpdateParams
from typing_extensions import is_typeddict

from billing.adapters.stripe_account import StripeAccount
from billing.configuration.file import parse
from billing.configuration.shapes import PORTAL_CONFIGURATION, ListOf, Shape, Table
from billing.deploy.portal_configurations import PortalConfigurations, WantedConfiguration, by_ids
from billing.deploy.portal_fields import FIELDS, NeverUnset
from billing.deploy.webhook_endpoint import STACK
from billing.errors import ConfigurationError
from billing.stripe_objects import StripeObject
from local.stripe_simulator import library
from tests.unit.deploy.world import Names
from tests.unit.fakes import Reports

RETURN_URL = "https://app.example.com/account"

#: A file that names every field.
EVERYTHING = """
[default]
name = "Everything"
default_return_url = "https://app.example.com/billing"
login_page.enabled = true
[default.business_profile]
headline = "Thank you"
privacy_policy_url = "https://example.com/privacy"
terms_of_service_url = "https://example.com/terms"
[default.when]
products = ["prod_1"]
features = ["export"]
[default.features]
invoice_history.enabled = true
customer_update = { enabled = true, allowed_updates = ["email", "tax_id"] }
payment_method_update = { enabled = true, payment_method_configuration = "pmc_1" }
[default.features.subscription_cancel]
enabled = true
mode = "immediately"
proration_behavior = "create_prorations"
cancellation_reason = { enabled = true, options = ["unused"], feedback_options = ["fbo_1"] }
[default.features.subscription_pause]
enabled = true
[default.features.subscription_pause.duration]
type = "interval_options"
interval_options = [{ interval = "week", interval_count = 2 }]
[default.features.subscription_update]
enabled = true
default_allowed_updates = ["price", "quantity"]
billing_cycle_anchor = "now"
proration_behavior = "always_invoice"
trial_update_behavior = "continue_trial"
schedule_at_period_end.conditions = [{ type = "shortening_interval" }]
[[default.features.subscription_update.products]]
prices = ["basic", "basic_yearly"]
adjustable_quantity = { enabled = true, minimum = 2, maximum = 9 }
[[default.features.subscription_update.products]]
prices = ["pro"]
"""
WRITTEN: Mapping[str, Any] = tomllib.loads(EVERYTHING)["default"]

Path = tuple[str | int, ...]


def declared(params: type, path: str = "") -> Iterator[tuple[str, library.Parameter]]:
    """Every field that a class of stripe.params declares; [] stands for the entries of a list."""
    for name, parameter in library.parameters(params).items():
        here = f"{path}{name}"
        tables = [each for each in library.members(parameter.annotation) if is_typeddict(each)]
        for table in tables:
            yield from declared(table, f"{here}.")
        if not tables:
            yield here, parameter
        entry: Any = library.list_element(parameter.annotation)
        if is_typeddict(entry):
            yield from declared(entry, f"{here}[].")


def allowed(shape: Shape, path: str = "") -> Iterator[str]:
    """Every field that the file may name."""
    if isinstance(shape, Table):
        for name, inner in shape.keys.items():
            yield from allowed(inner, f"{path}.{name}" if path else name)
        return
    yield path
    if isinstance(shape, ListOf) and isinstance(shape.each, Table):
        yield from allowed(shape.each, f"{path}[]")


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every table, list entry and field of the file."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from paths(inner, (*path, key))
    for index, entry in enumerate(value) if isinstance(value, list) else ():
        if isinstance(entry, dict):
            yield from paths(entry, (*path, index))


def dotted(path: Path) -> str:
    return "".join("[]" if isinstance(key, int) else f".{key}" for key in path)[1:]


def without(path: Path) -> dict[str, Any]:
    """The file without what is at `path`."""
    file = copy.deepcopy(dict(WRITTEN))
    table: Any = file
    for key in path[:-1]:
        table = table[key]
    del table[path[-1]]
    return file


def toml(value: Any) -> str:
    """A value as TOML writes it inside a line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {toml(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)  # a string, a number or true


def written(file: Mapping[str, Any]) -> str:
    return f"default = {toml(file)}"


def is_valid(file: Mapping[str, Any]) -> bool:
    try:
        parse(written(file), stage="dev", mode="test")
    except ConfigurationError:
        return False
    return True


#: What can be removed alone. The rest is required by its table, as tested below.
REMOVABLE = [path for path in paths(WRITTEN) if is_valid(without(path))]


# ---------------------------------------------------------------------- the table


def test_the_table_has_every_field_that_the_library_declares_for_an_update() -> None:
    assert set(FIELDS) == {path for path, _ in declared(ConfigurationUpdateParams)}


def test_a_creation_takes_the_same_fields_except_active() -> None:
    assert set(FIELDS) - {path for path, _ in declared(ConfigurationCreateParams)} == {"active"}


def test_an_empty_string_is_sent_only_where_the_library_declares_that_it_unsets() -> None:
    parameters = dict(declared(ConfigurationUpdateParams))
    for path, unset in FIELDS.items():
        if unset == "":
            members = library.members(parameters[path].annotation)
            assert any("" in typing.get_args(each) for each in members), path


def test_a_field_that_is_never_unset_has_a_reason() -> None:
    assert all(each.reason for each in FIELDS.values() if isinstance(each, NeverUnset))


def test_the_file_may_name_every_field_but_those_that_the_deploy_sets_itself() -> None:
    # A product is the one of its prices.
    own = {"active", "expand", "metadata", "features.subscription_update.products[].product"}
    rule = {"when.products", "when.features"}
    assert set(FIELDS) - own == set(allowed(PORTAL_CONFIGURATION)) - rule


def test_the_file_of_these_tests_names_every_field() -> None:
    assert {dotted(path) for path in paths(WRITTEN)} >= set(allowed(PORTAL_CONFIGURATION))


# ---------------------------------------------------------------------- the deploys


class Deploys:
    """A Stripe account with the file's prices, and the deploys of a stack."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self.account = StripeAccount(lambda: client)
        self.api: Any = client.v1
        self.prices: dict[str, StripeObject] = {}
        self.products = {name: self.api.products.create({"name": name}).id for name in "ab"}
        self.price("basic", "a", "month")
        self.price("basic_yearly", "a", "year")
        self.price("pro", "b", "month")

    def price(self, name: str, product: str, interval: str) -> None:
        price = {"product": self.products[product], "currency": "usd", "unit_amount": 900}
        made = self.api.prices.create({**price, "recurring": {"interval": interval}})
        self.prices[name] = {"id": made.id, "product": made.product}

    def portal_configurations(self) -> PortalConfigurations:
        return PortalConfigurations(api=self.account, names=Names(), mode="test", report=Reports())

    def deploy(self, file: Mapping[str, Any], stack: str = "stack") -> str:
        """Deploy the file. Returns the id of its configuration."""
        (configuration,) = parse(written(file), stage="dev", mode="test").configurations
        wanted = WantedConfiguration(
            stack=stack,
            stage="dev",
            name="default",
            parameters=by_ids(configuration, self.prices, default_return_url=RETURN_URL),
        )
        made = self.portal_configurations().apply(stack, [wanted])
        return str(made["default"]["id"])

    def in_stripe(self, configuration: str) -> dict[str, Any]:
        """The configuration, without what differs between any two."""
        found = self.api.billing_portal.configurations.retrieve(configuration)
        shown: dict[str, Any] = found.to_dict(for_json=True)
        shown["login_page"]["url"] = bool(shown["login_page"]["url"])
        for name in ("id", "created", "updated"):
            del shown[name]
        del shown["metadata"][STACK]
        return shown

    def assert_no_trace_of(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Deploy `before`, then `now`: the configuration must equal one that `now` creates."""
        updated = self.deploy(before)
        assert self.deploy(now) == updated
        assert self.in_stripe(updated) == self.in_stripe(self.deploy(now, stack="fresh"))


@pytest.fixture
def deploys(client: stripe.StripeClient) -> Deploys:
    return Deploys(client)


def test_what_cannot_be_removed_alone_is_required() -> None:
    required = {dotted(path) for path in paths(WRITTEN)} - {dotted(path) for path in REMOVABLE}
    assert {path for path in required if not path.endswith(".enabled")} == {
        "features",
        "features.customer_update.allowed_updates",
        "features.subscription_cancel.cancellation_reason.options",
        "features.subscription_pause.duration.interval_options",
        "features.subscription_pause.duration.interval_options[]",
        "features.subscription_pause.duration.interval_options[].interval",
        "features.subscription_pause.duration.type",
        "features.subscription_update.default_allowed_updates",
        "features.subscription_update.products",
        "features.subscription_update.products[].prices",
        "features.subscription_update.schedule_at_period_end.conditions[].type",
    }


@pytest.mark.parametrize("path", REMOVABLE, ids=dotted)
def test_a_field_that_is_removed_from_the_file_leaves_no_trace(
    deploys: Deploys, path: Path
) -> None:
    deploys.assert_no_trace_of(WRITTEN, without(path))


@pytest.mark.parametrize(
    "features",
    [
        {},
        {name: {"enabled": False} for name in WRITTEN["features"]},
        {"subscription_pause": {"enabled": True}},
        {"subscription_pause": {"enabled": True, "duration": {"type": "indefinite"}}},
        {"subscription_update": {"enabled": False, "schedule_at_period_end": {"conditions": []}}},
        {
            "subscription_cancel": {
                "enabled": True,
                "cancellation_reason": {
                    "enabled": False,
                    "options": [],
                    "feedback_options": [],
                },
            },
            "customer_update": {"enabled": False, "allowed_updates": []},
        },
    ],
    ids=["nothing", "disabled", "pause", "indefinite pause", "no condition", "empty lists"],
)
def test_a_file_that_names_less_leaves_no_trace_of_what_it_named(
    deploys: Deploys, features: Mapping[str, Any]
) -> None:
    deploys.assert_no_trace_of(WRITTEN, {"features": features})


def test_a_configuration_that_returns_to_the_file_has_no_trace_of_the_old_one(
    deploys: Deploys,
) -> None:
    old = deploys.deploy(WRITTEN)
    deploys.portal_configurations().retire("stack")
    file = {"features": {"invoice_history": {"enabled": True}}}
    assert deploys.deploy(file) == old
    assert deploys.in_stripe(old) == deploys.in_stripe(deploys.deploy(file, stack="fresh"))


def test_a_field_that_is_added_to_the_file_is_set(deploys: Deploys) -> None:
    deploys.assert_no_trace_of({"features": {}}, WRITTEN)
