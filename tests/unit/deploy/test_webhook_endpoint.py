"""The webhook endpoint: planned from what Stripe has, repeatable, its secret stored first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from billing.deploy.webhook_endpoint import (
    CONNECT,
    ROTATION,
    SECRET,
    STACK,
    STAGE,
    WantedEndpoint,
    fingerprint,
    plan,
)
from billing.errors import (
    SecretUnavailable,
    StripeUnavailable,
)
from billing.events import EFFECTS
from billing.settings import STRIPE_API_VERSION
from tests.unit.deploy.world import OURS, THEIRS, URL, World


def test_the_first_deploy_creates_an_endpoint_and_stores_its_secret(world: World) -> None:
    attributes = world.deploy()
    (endpoint,) = world.account.endpoints
    assert endpoint["url"] == URL
    assert endpoint["enabled_events"] == sorted(EFFECTS)
    assert endpoint["api_version"] == STRIPE_API_VERSION
    assert endpoint["metadata"] == {
        STACK: OURS,
        STAGE: "prod",
        CONNECT: "false",
        SECRET: fingerprint("whsec_we_1"),
    }
    assert "connect" not in endpoint
    assert world.secrets.stored == ("whsec_we_1",)
    assert attributes["WebhookEndpoint"] == "we_1"


def test_for_a_connected_account_the_endpoint_is_the_platforms(world: World) -> None:
    world.connected_account = "acct_1"
    world.deploy()
    assert world.account.endpoints[0]["connect"] is True


def test_a_second_deploy_changes_nothing(deployed: World) -> None:
    with deployed.changes_nothing():
        deployed.deploy()


@pytest.mark.parametrize(
    ("drift", "restored"),
    [
        ({"url": "https://old/"}, {"url": URL}),
        ({"enabled_events": ["*"]}, {"enabled_events": sorted(EFFECTS)}),
        ({"status": "disabled"}, {"disabled": False}),
    ],
)
def test_what_differs_is_updated_and_nothing_else(
    deployed: World, drift: dict[str, Any], restored: dict[str, Any]
) -> None:
    deployed.account.endpoints[0] |= drift
    deployed.account.calls.clear()
    deployed.deploy()
    assert deployed.account.calls == [("update", "we_1", restored)]
    assert deployed.secrets.written == 1


def test_another_stage_keeps_the_endpoint_and_its_secret(deployed: World) -> None:
    deployed.stage = "staging"
    deployed.deploy()
    (endpoint,) = deployed.account.endpoints
    assert (endpoint["id"], endpoint["metadata"][STAGE]) == ("we_1", "staging")
    assert "staging" in endpoint["description"]
    assert deployed.secrets.written == 1


def test_another_stack_and_foreign_endpoints_are_left_alone(deployed: World) -> None:
    foreign: dict[str, Any] = {
        "id": "we_foreign",
        "url": URL,
        "metadata": {},
        "api_version": None,
        "enabled_events": ["*"],
    }
    deployed.account.endpoints.append(foreign)
    deployed.secrets.stored = ()
    deployed.deploy(stack=THEIRS)
    by_id = {each["id"]: each for each in deployed.account.endpoints}
    assert by_id.keys() >= {"we_1", "we_foreign"}
    assert len(by_id) == 3
    assert by_id["we_1"]["metadata"][STACK] == OURS
    deployed.setup().retire(stack=THEIRS, delete=True)
    assert {each["id"] for each in deployed.account.endpoints} == {"we_1", "we_foreign"}
    assert all(each["active"] for each in deployed.account.configurations if _of(each, OURS))


def _of(each: Mapping[str, Any], stack: str) -> bool:
    return bool(each["metadata"][STACK] == stack)


@pytest.mark.parametrize("stored", [(), ("placeholder",), ("whsec_of_somebody",)])
def test_a_lost_or_foreign_secret_gives_a_new_endpoint_in_the_old_ones_place(
    deployed: World, stored: tuple[str, ...]
) -> None:
    deployed.secrets.stored = stored
    deployed.deploy()
    (endpoint,) = deployed.account.endpoints
    assert endpoint["id"] != "we_1"
    assert deployed.secrets.stored[0] == f"whsec_{endpoint['id']}"
    # What Stripe could have given may be another endpoint's; a placeholder is not.
    assert deployed.secrets.stored[1:] == tuple(s for s in stored if s.startswith("whsec_"))
    with deployed.changes_nothing():
        deployed.deploy()


def test_another_api_version_gives_a_new_endpoint_and_drops_the_old_secret(deployed: World) -> None:
    deployed.account.endpoints[0]["api_version"] = "2024-01-01"
    deployed.deploy()
    (endpoint,) = deployed.account.endpoints
    assert endpoint["api_version"] == STRIPE_API_VERSION
    assert deployed.secrets.stored == (f"whsec_{endpoint['id']}",)


def test_the_old_endpoint_goes_only_once_the_new_secret_is_stored(deployed: World) -> None:
    deployed.account.endpoints[0]["api_version"] = "2024-01-01"
    deployed.secrets.error = SecretUnavailable("InvalidRequestException")
    said = deployed.refusal(deployed.deploy)
    assert "cannot be stored in webhook-secret" in said
    assert [each["id"] for each in deployed.account.endpoints] == ["we_1"]


@pytest.mark.parametrize("cut_off", ["update", "delete"])
def test_a_deploy_that_was_cut_off_is_finished_by_the_next(deployed: World, cut_off: str) -> None:
    deployed.secrets.stored = ()
    deployed.account.fails[cut_off] = StripeUnavailable("APIConnectionError")
    assert "did not answer" in deployed.refusal(deployed.deploy)
    deployed.deploy()
    (endpoint,) = deployed.account.endpoints
    assert f"whsec_{endpoint['id']}" in deployed.secrets.stored
    with deployed.changes_nothing():
        deployed.deploy()


def test_an_endpoint_for_other_accounts_is_replaced() -> None:
    def wanted(*, connect: bool) -> WantedEndpoint:
        return WantedEndpoint(
            stack="a/r/s",
            stage="prod",
            url=URL,
            event_types=("customer.updated",),
            api_version=STRIPE_API_VERSION,
            connect=connect,
        )

    own = {
        **wanted(connect=False).parameters(),
        "id": "we_1",
        "status": "enabled",
    }
    own["metadata"] |= {SECRET: fingerprint("whsec_1")}
    assert plan(wanted(connect=False), [own], ["whsec_1"]).current == own
    changed = plan(wanted(connect=True), [own], ["whsec_1"])
    assert changed.current is None
    assert changed.superfluous == (own,)


def test_a_rotation_has_both_secrets_accepted_until_the_old_endpoint_goes(deployed: World) -> None:
    assert deployed.rotate() == {"state": "overlapping", "seconds": 600}
    new, old = deployed.account.endpoints
    assert new["url"] == old["url"] == URL
    assert list(deployed.secrets.stored) == [f"whsec_{new['id']}", "whsec_we_1"]
    deployed.now += 400
    assert deployed.rotate() == {"state": "overlapping", "seconds": 200}
    assert len(deployed.account.endpoints) == 2
    deployed.now += 200
    assert deployed.rotate() == {"state": "rotated"}
    assert [each["id"] for each in deployed.account.endpoints] == [new["id"]]
    assert ROTATION not in deployed.account.endpoints[0]["metadata"]
    assert list(deployed.secrets.stored) == [f"whsec_{new['id']}"]
    with deployed.changes_nothing():
        deployed.deploy()


def test_a_deploy_during_a_rotation_does_not_end_it(deployed: World) -> None:
    deployed.rotate()
    with deployed.changes_nothing():
        deployed.deploy()
    deployed.deploy(url="https://another/")
    assert [each["url"] for each in deployed.account.endpoints] == ["https://another/"] * 2
    deployed.now += 600
    assert deployed.rotate()["state"] == "rotated"


def test_nothing_is_rotated_where_no_secret_is_known(world: World) -> None:
    assert "nothing to rotate" in world.refusal(world.rotate)
