"""The portal configurations in Stripe follow the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from billing.deploy.portal_configurations import CONTENT
from tests.unit.deploy.world import FILE, World


def test_configurations_are_created_with_price_ids_for_lookup_keys(world: World) -> None:
    attributes = world.deploy()
    small, default = world.account.configurations
    assert default["features"]["subscription_update"]["products"] == [
        {
            "product": "prod_t",
            "prices": ["price_tm", "price_ty"],
            "adjustable_quantity": {"enabled": True, "minimum": 2},
        }
    ]
    assert default["default_return_url"] == "https://app.example.com/account"
    assert "when" not in default
    assert world.names.known == {("test", "default"): default["id"], ("test", "small"): small["id"]}
    assert attributes["LoginPages"] == f"default: https://login/{default['id']}"
    assert attributes["PortalConfigurations"] == f"default: {default['id']}, small: {small['id']}"


def test_only_a_changed_configuration_is_updated(deployed: World) -> None:
    small, default = deployed.account.configurations
    deployed.account.calls.clear()
    deployed.file = FILE.replace("minimum = 2", "minimum = 3")
    deployed.deploy()
    ((call, object_id, changes),) = deployed.account.calls
    assert (call, object_id) == ("update", default["id"])
    offered = changes["features"]["subscription_update"]["products"]
    assert offered[0]["adjustable_quantity"]["minimum"] == 3
    assert small["active"]


def test_a_value_that_is_removed_from_the_file_is_unset(deployed: World) -> None:
    deployed.account.calls.clear()
    deployed.file = "[default.features]\n[small.features]\ninvoice_history.enabled = true\n"
    attributes = deployed.deploy()
    ((_, _, changes),) = deployed.account.calls
    assert changes["login_page"] == {"enabled": False}
    assert changes["features"]["invoice_history"] == {"enabled": False}
    assert changes["features"]["subscription_update"]["enabled"] is False
    assert changes["features"]["subscription_update"]["products"] == ""
    assert attributes["LoginPages"].startswith("none")


PAUSE = "[small.features]\nsubscription_pause.enabled = true\n"


def sent_pauses(world: World) -> list[Any]:
    """What each call sent as subscription_pause; None where it sent none."""
    sent = [changes["features"] for _, _, changes in world.account.calls if "features" in changes]
    return [features.get("subscription_pause") for features in sent]


def test_a_pause_is_sent_only_where_the_file_names_it(deployed: World) -> None:
    assert sent_pauses(deployed) == [None, None]
    deployed.account.calls.clear()
    deployed.file = FILE.replace("[small.features]\n", PAUSE)
    deployed.deploy()
    duration = {"type": "indefinite", "interval_options": ""}
    assert sent_pauses(deployed) == [{"enabled": True, "duration": duration}]


def test_a_pause_that_the_file_no_longer_names_is_turned_off_once(deployed: World) -> None:
    deployed.file = FILE.replace("[small.features]\n", PAUSE)
    deployed.deploy()
    deployed.account.calls.clear()
    deployed.file = FILE
    deployed.deploy()
    (off,) = sent_pauses(deployed)
    assert off["enabled"] is False
    deployed.file = FILE + "payment_method_update.enabled = true\n"
    deployed.deploy()
    assert sent_pauses(deployed) == [off, None]


@pytest.mark.parametrize("features", [{}, {"subscription_pause": {"enabled": False}}])
def test_an_account_without_pauses_is_sent_none(
    deployed: World, features: Mapping[str, Any]
) -> None:
    deployed.account.configurations[0]["features"] = features
    deployed.account.calls.clear()
    deployed.file = FILE + "payment_method_update.enabled = true\n"
    deployed.deploy()
    assert sent_pauses(deployed) == [None]


def test_a_configuration_whose_fields_an_older_release_left_out_is_updated_once(
    deployed: World,
) -> None:
    # The hash covers every field that an update sends, so a new field of the table is sent too.
    deployed.account.configurations[0]["metadata"][CONTENT] = "of fewer fields"
    deployed.account.calls.clear()
    deployed.deploy()
    assert len(deployed.account.calls) == 1
    with deployed.changes_nothing():
        deployed.deploy()


def test_a_configuration_that_is_removed_from_the_file_is_deactivated_until_it_returns(
    deployed: World,
) -> None:
    small: Mapping[str, Any] = deployed.account.configurations[0]
    deployed.file = FILE.replace("[small.features]\ninvoice_history.enabled = true\n", "")
    deployed.deploy()
    assert not small["active"]
    with deployed.changes_nothing():
        deployed.deploy()
    deployed.file = FILE
    deployed.deploy()
    assert small["active"]
    assert len(deployed.account.configurations) == 2


def test_a_missing_name_is_written_again(deployed: World) -> None:
    before = dict(deployed.names.known)
    deployed.names.known.clear()
    deployed.deploy()
    assert deployed.names.known == before


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (FILE.replace("team_yearly", "team_weekly"), "'team_weekly' (default.features."),
        (FILE + "[checkout]\nprices = ['nothing']\n", "'nothing' (checkout.prices)"),
        (FILE.replace("team_yearly", "solo"), "belong to different products"),
        (
            FILE.replace(
                '"team_yearly"]', ']\n[[default.features.subscription_update.products]]\n'
                'prices = ["team_yearly"]'
            ),
            "already has an entry",
        ),
        (FILE + "[other]\n", "portcullis.toml, line"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_reported_before_anything_is_changed(
    world: World, file: str, reason: str
) -> None:
    world.file = file
    with world.changes_nothing():
        assert reason in world.refusal(world.deploy)
    assert world.account.created == 0


def test_a_price_can_be_named_by_its_id(world: World) -> None:
    world.file = FILE + "[checkout]\nprices = ['price_bare']\n"
    world.deploy()
