"""portcullis.toml: what it configures, and each error message with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from billing.configuration.file import (
    CONFIGURATION_FILE,
    MODES,
    STAGES,
    Checkout,
    Configuration,
    load,
    parse,
)
from billing.errors import ConfigurationError
from local.layer import CONFIGURATION_FILE as LOCAL_FILE

MINIMAL = "[default]\nfeatures.invoice_history.enabled = true\n"


def read(text: str, *, stage: str = "dev", mode: str = "test") -> Configuration:
    return parse(text, stage=stage, mode=mode)


def features(text: str, **options: str) -> Any:
    return read(text, **options).configurations[0].parameters["features"]


def error_of(text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read(text)
    return str(refused.value)


@pytest.mark.parametrize("path", [CONFIGURATION_FILE, LOCAL_FILE], ids=["shipped", "local"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("mode", MODES)
def test_the_files_of_this_repository_are_valid_in_every_stage_and_mode(
    path: Path, stage: str, mode: str
) -> None:
    assert load(stage=stage, mode=mode, path=path).configurations[0].name == "default"


def test_the_shipped_file_names_no_price_so_that_a_first_deploy_needs_none() -> None:
    shipped = load(stage="prod", mode="live")
    assert shipped.checkout == Checkout()
    assert not any(each.prices for each in shipped.configurations)


def test_the_examples_in_the_comments_of_the_shipped_file_are_valid() -> None:
    lines = CONFIGURATION_FILE.read_text().splitlines()
    uncommented = [line[2:] if _is_an_example(line) else line for line in lines]
    file = read("\n".join(uncommented))
    assert file.configurations[0].prices == ("team_monthly", "team_yearly")
    assert [each.name for each in file.configurations] == ["default", "enterprise"]
    assert file.configurations[1].when_features == ("single_sign_on",)
    assert file.checkout.trial_days == 14


def _is_an_example(line: str) -> bool:
    text = line.removeprefix("# ")
    return text != line and (text.startswith("[") or " = " in text)


def test_a_table_becomes_stripes_parameters_and_its_name_becomes_theirs() -> None:
    (only,) = read(MINIMAL).configurations
    assert only.parameters == {
        "name": "default",
        "features": {"invoice_history": {"enabled": True}},
    }


def test_a_configuration_can_have_another_name_in_stripe() -> None:
    (only,) = read('[default]\nname = "Shown"\nfeatures = {}\n').configurations
    assert (only.name, only.parameters["name"]) == ("default", "Shown")


def test_a_stage_overrides_the_table_and_a_mode_overrides_both() -> None:
    text = """
[default.features.subscription_cancel]
enabled = true
mode = "at_period_end"
proration_behavior = "none"
[default.stage.prod.features.subscription_cancel]
mode = "immediately"
proration_behavior = "create_prorations"
[default.mode.live.features.subscription_cancel]
proration_behavior = "none"
"""
    cancel = "subscription_cancel"
    assert features(text)[cancel]["mode"] == "at_period_end"
    prod = features(text, stage="prod")[cancel]
    assert (prod["mode"], prod["proration_behavior"]) == ("immediately", "create_prorations")
    live = features(text, stage="prod", mode="live")[cancel]
    assert (live["mode"], live["proration_behavior"]) == ("immediately", "none")
    assert live["enabled"] is True


def test_an_override_replaces_a_whole_list() -> None:
    text = MINIMAL + '[checkout]\nprices = ["a", "b"]\n[checkout.mode.live]\nprices = ["c"]\n'
    assert read(text).checkout.prices == ("a", "b")
    assert read(text, mode="live").checkout.prices == ("c",)


def test_what_checkout_may_do_is_off_unless_the_file_says_so() -> None:
    assert read(MINIMAL + "[checkout]\n").checkout == Checkout()
    assert read(MINIMAL).checkout.allow_promotion_codes is False
    text = MINIMAL + "[checkout]\nallow_promotion_codes = true\ntrial_days = 730\n"
    assert read(text).checkout == Checkout(allow_promotion_codes=True, trial_days=730)


def test_the_file_lists_the_coupons_and_promotion_codes_that_a_flow_can_name() -> None:
    text = MINIMAL + '[flows]\nretention_coupons = ["stay"]\npromotion_codes = ["promo_1"]\n'
    file = read(text)
    assert file.retention_coupons == {"stay"}
    assert file.promotion_codes == {"promo_1"}
    assert not file.coupons
    assert read(MINIMAL + '[flows]\ncoupons = ["half"]\n').coupons == {"half"}


RULES = (
    MINIMAL
    + """
[one]
when.products = ["prod_1"]
features = {}
[two]
when.features = ["sso", "audit_log"]
features = {}
[by_name]
features = {}
"""
)


@pytest.mark.parametrize(
    ("products", "held", "chosen"),
    [
        ([], [], "default"),
        (["prod_2"], ["projects"], "default"),
        (["prod_1"], [], "one"),
        ([], ["audit_log"], "two"),
        (["prod_1"], ["sso"], "one"),
    ],
)
def test_the_first_rule_that_matches_chooses_the_configuration(
    products: list[str], held: list[str], chosen: str
) -> None:
    assert read(RULES).chosen_for(products, held).name == chosen


def test_a_configuration_without_a_rule_is_used_by_name_only() -> None:
    file = read(RULES)
    named = file.named("by_name")
    assert named is not None
    assert named.name == "by_name"
    assert file.named("unknown") is None


def test_a_rule_is_no_parameter_of_stripes() -> None:
    one = read(RULES).named("one")
    assert one is not None
    assert one.when_products == ("prod_1",)
    assert one.parameters == {"name": "one", "features": {}}


def test_a_pause_may_offer_intervals() -> None:
    interval = "duration.interval_options = [{interval = 'month', interval_count = 2}]"
    text = (
        f"{MINIMAL}[default.features.subscription_pause]\nenabled = true\n"
        f"duration.type = 'interval_options'\n{interval}\n"
    )
    (option,) = features(text)["subscription_pause"]["duration"]["interval_options"]
    assert option == {"interval": "month", "interval_count": 2}


ENTRY = "[[other.features.subscription_update.products]]\nprices = "


@pytest.mark.parametrize(
    ("added", "line", "expected"),
    [
        ("[default.features]\nx = 1", None, "(at line 3"),
        ("[checkout]\nprice = []", 4, "checkout.price is unknown; allowed here: prices,"),
        ("[checkout]\n\nprices = 'a'", 5, 'checkout.prices must be a list, not "a"'),
        ("[checkout]\nprices = ['a', '']", 4, "checkout.prices must not be empty"),
        ("[checkout]\ntrial_days = 731", 4, "is 731; allowed: 1 to 730"),
        ("[checkout]\ntrial_days = true", 4, "must be a whole number, not true"),
        ("[checkout.stage.production]\nprices = []", 3, "allowed here: dev, staging, prod"),
        ("[flows]\ncoupons = [\n 'a',\n 1,\n]", 4, "flows.coupons must be a string, not 1"),
        ("[other]\nheadline = 'x'", 4, "other.headline is unknown; allowed here: name,"),
        ("[other]\nwhen = {}", 3, "other lacks features"),
        ("[other]\ndefault_return_url = 'x'\nfeatures = {}", 4, "must begin with https://"),
        (
            "[other.stage.prod.features.subscription_cancel]\nmode = 'never'",
            4,
            'is "never"; allowed: "at_period_end", "immediately"',
        ),
        (
            "[other.features]\nsubscription_update = { enabled = true }",
            4,
            "is enabled, so products must not be empty",
        ),
        (
            "[other.features]\ncustomer_update.enabled = true",
            4,
            "is enabled, so allowed_updates must not be empty",
        ),
        (
            "[other.features.subscription_pause]\nenabled=true\nduration.type='interval_options'",
            5,
            (
                "other.features.subscription_pause.duration has the type interval_options, "
                "so interval_options must not be empty"
            ),
        ),
        (
            f"{ENTRY}['a']\n{ENTRY.replace('prices', 'price')}['b']",
            6,
            "products.price is unknown; allowed here: prices, adjustable_quantity",
        ),
        ("[other]\nfeatures.subscription_cancel = {}", 4, "lacks enabled"),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_what_is_allowed(
    added: str, line: int | None, expected: str
) -> None:
    message = error_of(MINIMAL + added + "\n")
    assert expected in message
    if line is not None:
        start = f"portcullis.toml, line {line}: "
        assert any(each.startswith(start) for each in message.splitlines())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"{MINIMAL}business_profile.headline = '{'h' * 61}'",
            "line 3: default.business_profile.headline has 61 characters; Stripe takes 60",
        ),
        (
            f"{MINIMAL}[default.mode.live]\nname = '{'é' * 257}'",
            "line 4: default.mode.live.name has 257 characters; Stripe takes 256",
        ),
        (
            f"{MINIMAL}\nname = '{'n' * 257}'",
            "line 4: default.name has 257 characters; Stripe takes 256",
        ),
        (
            f"{MINIMAL}[{'n' * 257}]\nfeatures = {{}}",
            f"line 3: {'n' * 257} has 257 characters; Stripe takes 256 as a name: set the key name",
        ),
        (
            f"{MINIMAL}[{'n' * 501}]\nname = 'short'\nfeatures = {{}}",
            f"line 3: {'n' * 501} has 501 characters; Stripe takes 500 in metadata",
        ),
    ],
)
def test_a_text_that_stripe_refuses_as_too_long_is_reported_with_its_limit_and_its_length(
    text: str, expected: str
) -> None:
    assert error_of(text) == f"portcullis.toml, {expected}"


@pytest.mark.parametrize(
    "text",
    [
        f"{MINIMAL}business_profile.headline = '{'é' * 60}'",
        f"{MINIMAL}name = '{'n' * 256}'",
        f"[{'n' * 256}]\nfeatures = {{}}",
        f"[{'n' * 500}]\nname = 'short'\nfeatures = {{}}",
        f"{MINIMAL}business_profile.headline = ''",
    ],
)
def test_the_longest_text_that_stripe_takes_is_valid(text: str) -> None:
    assert read(text).configurations


def test_all_mistakes_are_reported_at_once() -> None:
    message = error_of("coupons = []\n" + MINIMAL + "[checkout]\nprice = 1\ntrial_days = 0\n")
    allowed = "[checkout], [flows], and one table for each portal configuration"
    assert message.splitlines() == [
        f"portcullis.toml, line 1: coupons is unknown here; allowed: {allowed}",
        (
            "portcullis.toml, line 5: checkout.price is unknown; allowed here: "
            "prices, trial_days, allow_promotion_codes, stage, mode"
        ),
        "portcullis.toml, line 6: checkout.trial_days is 0; allowed: 1 to 730",
    ]


def test_a_file_without_a_configuration_is_refused() -> None:
    assert error_of("[checkout]\nprices = []\n") == (
        "portcullis.toml, line 1: the file needs at least one portal configuration: "
        "a table [default]"
    )


def test_a_text_that_is_no_toml_is_refused_in_the_words_of_the_parser() -> None:
    assert error_of("[default").startswith("portcullis.toml: Expected ']'")


@pytest.mark.parametrize(("before", "line"), [("features = {}\n", 4), ("", 3)])
def test_a_mistake_that_an_overlay_brings_has_the_line_of_what_it_is_merged_into(
    before: str, line: int
) -> None:
    overlay = "[other.mode.test.features.customer_update]\nenabled = true\n"
    assert error_of(f"{MINIMAL}[other]\n{before}{overlay}") == (
        f"portcullis.toml, line {line}: other.features.customer_update is enabled, "
        "so allowed_updates must not be empty"
    )


def test_a_table_that_has_no_header_of_its_own_begins_with_its_first_part() -> None:
    for indent in ("", "  "):
        text = f"{MINIMAL}{indent}[other.when]\nproducts = ['prod_1']\n"
        assert error_of(text) == "portcullis.toml, line 3: other lacks features"


def test_a_file_is_read_for_its_stage_and_mode_and_named_in_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    stages = '[checkout.stage.prod]\nprices = ["a"]\n[checkout.mode.live]\ntrial_days = 7\n'
    path.write_text(MINIMAL + stages)
    assert load(stage="prod", mode="live", path=path).checkout == Checkout(
        prices=("a",), trial_days=7
    )
    assert load(stage="dev", mode="test", path=path).checkout == Checkout()
    path.write_text("x = 1")
    with pytest.raises(ConfigurationError, match=r"^ours\.toml, line 1: x is unknown here"):
        load(stage="dev", mode="test", path=path)


def test_more_than_ten_products_are_refused() -> None:
    entry = '[[default.features.subscription_update.products]]\nprices = ["p"]\n'
    assert "has 11 entries; Stripe takes 10" in error_of(entry * 11)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"portcullis\.toml cannot be read"):
        load(stage="dev", mode="test", path=tmp_path / "portcullis.toml")
