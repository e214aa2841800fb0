"""The webhook endpoint: each plan depends on Stripe's state, and a secret is stored first."""

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
from tests.unit.deploy.world import OTHER_STACK, OWN_STACK, URL, World


def test_the_first_deploy_creates_an_endpoint_and_stores_its_secret(world: World) -> None:
    attributes = world.deploy()
    (endpoint,) = world.account.endpoints
    assert endpoint["url"] == URL
    assert endpoint["enabled_events"] == sorted(EFFECTS)
    assert endpoint["api_version"] == STRIPE_API_VERSION
    assert endpoint["metadata"] == {
        STACK: OWN_STACK,
        STAGE: "prod",
        CONNECT: "false",
        SECRET: fingerprint("whsec_we_1"),
    }
    assert "connect" not in endpoint
    assert world.secrets.stored == ("whsec_we_1",)
    assert attributes["WebhookEndpoint"] == "we_1"


def test_for_a_connected_account_the_endpoint_is_a_connect_endpoint(world: World) -> None:
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
def test_only_a_field_that_differs_is_updated(
    deployed: World, drift: dict[str, Any], restored: dict[str, Any]
) -> None:
    deployed.account.endpoints[0] |= drift
    deployed.account.calls.clear()
    deployed.deploy()
    assert deployed.account.calls == [("update", "we_1", restored)]
    assert deployed.secrets.written == 1


def test_a_new_stage_keeps_the_endpoint_and_its_secret(deployed: World) -> None:
    deployed.stage = "staging"
    deployed.deploy()
    (endpoint,) = deployed.account.endpoints
    assert (endpoint["id"], endpoint["metadata"][STAGE]) == ("we_1", "staging")
    assert "staging" in endpoint["description"]
    assert deployed.secrets.written == 1


def test_endpoints_of_other_stacks_and_foreign_endpoints_are_left_alone(deployed: World) -> None:
    foreign: dict[str, Any] = {
        "id": "we_foreign",
        "url": URL,
        "metadata": {},
        "api_version": None,
        "enabled_events": ["*"],
    }
    deployed.account.endpoints.append(foreign)
    deployed.secrets.stored = ()
    deployed.deploy(stack=OTHER_STACK)
    by_id = {each["id"]: each for each in deployed.account.endpoints}
    assert by_id.keys() >= {"we_1", "we_foreign"}
    assert len(by_id) == 3
    assert by_id["we_1"]["metadata"][STACK] == OWN_STACK
    deployed.setup().retire(stack=OTHER_STACK, delete=True)
    assert {each["id"] for each in deployed.account.endpoints} == {"we_1", "we_foreign"}
    assert all(each["active"] for each in deployed.account.configurations if _of(each, OWN_STACK))


def _of(each: Mapping[str, Any], stack: str) -> bool:
    return bool(each["metadata"][STACK] == stack)


@pytest.mark.parametrize("stored", [(), ("placeholder",), ("whsec_of_somebody",)])
def test_a_missing_or_foreign_secret_replaces_the_endpoint(
    deployed: World, stored: tuple[str, ...]
) -> None:
    deployed.secrets.stored = stored
    deployed.deploy()
    (endpoint,) = deployed.account.endpoints
    assert endpoint["id"] != "we_1"
    assert deployed.secrets.stored[0] == f"whsec_{endpoint['id']}"
    # A stored value that may be a signing secret is kept; a placeholder is not.
    assert deployed.secrets.stored[1:] == tuple(s for s in stored if s.startswith("whsec_"))
    with deployed.changes_nothing():
        deployed.deploy()


def test_another_api_version_replaces_the_endpoint_and_its_secret(deployed: World) -> None:
    deployed.account.endpoints[0]["api_version"] = "2024-01-01"
    deployed.deploy()
    (endpoint,) = deployed.account.endpoints
    assert endpoint["api_version"] == STRIPE_API_VERSION
    assert deployed.secrets.stored == (f"whsec_{endpoint['id']}",)


def test_the_old_endpoint_is_deleted_only_after_the_new_secret_is_stored(deployed: World) -> None:
    deployed.account.endpoints[0]["api_version"] = "2024-01-01"
    deployed.secrets.error = SecretUnavailable("InvalidRequestException")
    message = deployed.refusal(deployed.deploy)
    assert "cannot be stored in webhook-secret" in message
    assert [each["id"] for each in deployed.account.endpoints] == ["we_1"]


@pytest.mark.parametrize("failing_call", ["update", "delete"])
def test_an_interrupted_deploy_is_completed_by_the_next_deploy(
    deployed: World, failing_call: str
) -> None:
    deployed.secrets.stored = ()
    deployed.account.errors[failing_call] = StripeUnavailable("APIConnectionError")
    assert "did not answer" in deployed.refusal(deployed.deploy)
    deployed.deploy()
    (endpoint,) = deployed.account.endpoints
    assert f"whsec_{endpoint['id']}" in deployed.secrets.stored
    with deployed.changes_nothing():
        deployed.deploy()


def test_an_endpoint_is_replaced_when_connect_changes() -> None:
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


def test_during_a_rotation_both_secrets_are_accepted_until_the_old_endpoint_is_deleted(
    deployed: World,
) -> None:
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


def test_a_rotation_without_a_known_secret_is_refused(world: World) -> None:
    assert "nothing to rotate" in world.refusal(world.rotate)
