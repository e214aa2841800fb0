"""A deploy as a whole: its error messages, and the deletion of a stack."""

from __future__ import annotations

import pytest
import stripe

from billing.deploy.stripe_setup import reason
from billing.errors import (
    OutOfTime,
    SecretUnavailable,
    SetupFailed,
    StripeRefused,
    StripeUnavailable,
)
from billing.keys import CATALOG, CONFIGURATION, DocumentKey
from billing.sync_request import DEPLOY
from tests.unit.deploy.world import OWN_STACK, World


def test_every_deploy_requests_the_catalog_and_its_configurations(deployed: World) -> None:
    made = [each["id"] for each in reversed(deployed.account.configurations)]
    assert [request.key for request in deployed.queue.sent] == [
        DocumentKey(CATALOG, "test"),
        *(DocumentKey(CONFIGURATION, "test", each) for each in made),
    ]
    assert {(each.cause.type, each.up_to) for each in deployed.queue.sent} == {(DEPLOY, 1_000)}


def test_for_a_connected_account_a_deploy_requests_the_catalog_only(world: World) -> None:
    world.connected_account = "acct_1"
    world.deploy()
    assert [request.key for request in world.queue.sent] == [DocumentKey(CATALOG, "test")]


def test_the_error_for_a_missing_api_key_names_where_to_store_it(world: World) -> None:
    world.key = ""
    message = world.refusal(world.deploy)
    assert "returns no Stripe API key under api-key-secret" in message
    assert "Store the key there" in message


def test_a_key_of_the_other_mode_is_refused_without_being_shown(world: World) -> None:
    world.key = "sk_live_secret"
    message = world.refusal(world.deploy)
    assert "a key of Stripe's live mode" in message
    assert "StripeMode is test" in message
    assert "sk_live" not in message


def test_the_reason_includes_stripes_own_message() -> None:
    cause = stripe.InvalidRequestError(  # type: ignore[no-untyped-call]
        "Not a valid URL", "url", code="url_invalid"
    )
    error = StripeRefused(400, "url_invalid", "url", "InvalidRequestError")
    error.__cause__ = cause
    assert reason(error) == ("Stripe refused the parameter url (400, url_invalid): Not a valid URL")


def test_every_expected_error_has_a_reason() -> None:
    for error in (StripeUnavailable("x"), OutOfTime(), SecretUnavailable("y"), SetupFailed("z")):
        assert reason(error)
        assert "deploy again" in reason(error).lower() or reason(error) == "z"


def test_a_deleted_stack_disables_its_endpoint_and_keeps_the_rest(deployed: World) -> None:
    deployed.setup().retire(stack=OWN_STACK, delete=False)
    assert deployed.account.endpoints[0]["status"] == "disabled"
    assert all(each["active"] for each in deployed.account.configurations)
    assert deployed.secrets.stored == ("whsec_we_1",)


def test_a_stack_that_is_created_again_reuses_what_it_left(deployed: World) -> None:
    deployed.setup().retire(stack=OWN_STACK, delete=False)
    deployed.deploy(url="https://another/webhooks/stripe")
    (endpoint,) = deployed.account.endpoints
    assert (endpoint["id"], endpoint["status"]) == ("we_1", "enabled")
    assert endpoint["url"] == "https://another/webhooks/stripe"
    assert deployed.secrets.written == 1


def test_a_stack_that_deletes_its_stripe_objects_leaves_no_endpoint_and_no_active_configuration(
    deployed: World,
) -> None:
    deployed.setup().retire(stack=OWN_STACK, delete=True)
    assert deployed.account.endpoints == []
    assert not any(each["active"] for each in deployed.account.configurations)


@pytest.mark.parametrize("delete", [True, False])
def test_a_stack_that_was_never_set_up_can_be_deleted(world: World, delete: bool) -> None:
    world.setup().retire(stack=OWN_STACK, delete=delete)
    assert world.account.calls == []


def test_a_stack_without_its_api_key_can_be_deleted(deployed: World) -> None:
    deployed.key = ""
    deployed.setup().retire(stack=OWN_STACK, delete=False)
    assert "StripeCleanupSkipped" in deployed.reports.names
