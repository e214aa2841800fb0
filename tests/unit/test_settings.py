"""Settings: how the environment of the functions is read."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from billing.settings import Settings
from tests.unit.test_functions import template_defaults

ROOT = Path(__file__).parents[2]


def settings(**changes: str) -> Settings:
    values = {**template_defaults(), "TABLE_NAME": "t", "EVENT_QUEUE_URL": "q", **changes}
    values |= {"DEAD_LETTER_QUEUE_URL": "d"}
    return Settings.from_environment({f"PORTCULLIS_{name}": values[name] for name in values})


def test_days_and_hours_become_seconds() -> None:
    policy = settings(PAST_DUE_GRACE_DAYS="7", RENEWAL_SLACK_HOURS="1.5").access_policy
    assert (policy.past_due_grace, policy.renewal_slack) == (604_800, 5_400)


@pytest.mark.parametrize(("text", "keeps"), [("true", True), ("false", False)])
def test_a_flag_is_true_or_false(text: str, keeps: bool) -> None:
    policy = settings(PAUSE_COLLECTION_KEEPS_ACCESS=text).access_policy
    assert policy.pause_collection_keeps_access is keeps


def test_origins_are_a_list_with_or_without_spaces() -> None:
    listed = settings(ALLOWED_ORIGINS="https://a, https://b ,").return_urls
    assert listed.allowed_origins == ("https://a", "https://b")
    assert settings(ALLOWED_ORIGINS="").return_urls.allowed_origins == ()


def test_the_issuer_comes_before_the_former_ones() -> None:
    assert settings(JWT_ISSUER="https://now").issuers == ("https://now",)
    changed = settings(JWT_ISSUER="https://now", FORMER_JWT_ISSUERS="https://last, https://first,")
    assert changed.issuers == ("https://now", "https://last", "https://first")


def test_without_a_connected_account_the_keys_own_account_is_used() -> None:
    assert (settings().account, settings().on_behalf_of) == ("own", "own")
    named = settings(STRIPE_ACCOUNT="acct_1", STRIPE_ON_BEHALF_OF="acct_2")
    assert (named.account, named.on_behalf_of) == ("acct_1", "acct_2")


def test_livemode_follows_from_the_mode() -> None:
    assert settings(STRIPE_MODE="live").livemode
    assert not settings(STRIPE_MODE="test").livemode


def test_a_missing_variable_is_an_error_that_names_it() -> None:
    with pytest.raises(KeyError, match="PORTCULLIS_STAGE"):
        Settings.from_environment({})


def test_a_value_that_is_not_a_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="seven"):
        settings(PAST_DUE_GRACE_DAYS="seven")


def test_every_setting_is_used() -> None:
    readers = [*ROOT.glob("functions/*/app.py"), ROOT / "layers/billing/billing/wiring.py"]
    text = "\n".join(path.read_text() for path in readers)
    used = set(re.findall(r"\bsettings\.(\w+)", text, re.IGNORECASE))
    assert {field.name for field in fields(Settings)} <= used | {"mode", "stage"}
