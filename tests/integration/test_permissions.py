"""The deployed service with a Stripe key that has exactly the permissions of the README's list."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from docs.write_contract import stripe_permissions
from local import deploy
from local.journey import Journey, eventually
from local.stack import FUNCTIONS_API_KEY, LocalStack
from tests.integration.test_stripe_setup import SecondStack, second

__all__ = ["second"]

TEAM = {"projects", "api_access", "priority_support"}


@pytest.fixture
def listed(stack: LocalStack) -> Iterator[set[str]]:
    """Give the functions' key the listed permissions only. Yields their names."""
    names: set[str] = set().union(*stripe_permissions().values())
    stack.wait_until_quiet()
    stack.control.restrict_key(FUNCTIONS_API_KEY, names)
    yield names
    stack.control.restrict_key(FUNCTIONS_API_KEY, None)


def test_the_listed_permissions_are_enough_for_the_whole_service(
    stack: LocalStack, listed: set[str]
) -> None:
    ada = Journey(stack, "permissions_ada")
    first = ada.buy("team_monthly")
    second_visit = ada.buy("team_monthly", quantity=2)
    assert first.page().status_code == httpx.codes.GONE
    second_visit.pay()
    bought = ada.come_back(second_visit.session)["entitlements"]
    assert set(bought["features"]) == TEAM
    customer = bought["customer"]
    assert ada.visit().home().status_code == httpx.codes.OK
    stack.control.payment_outcome(customer, "fail")
    (subscription,) = stack.stripe.v1.subscriptions.list({"customer": customer}).data
    stack.stripe.v1.subscriptions.update(subscription.id, {"billing_cycle_anchor": {"type": "now"}})
    seen = eventually(
        ada.entitlements,
        lambda now: [each["status"] for each in now["subscriptions"]] == ["past_due"],
    )
    assert set(seen["features"]) == TEAM
    refused = [each["path"] for each in stack.control.requests() if each["status"] == 403]
    assert refused == []


def test_a_deploy_names_the_permission_that_its_key_lacks(
    stack: LocalStack, listed: set[str], second: SecondStack
) -> None:
    stack.control.restrict_key(FUNCTIONS_API_KEY, listed - {"rak_webhook_write"})
    with pytest.raises(deploy.DeployError, match="'rak_webhook_read' permission"):
        second.deploy()
    assert second.endpoints() == []
    read_only = listed - {"rak_webhook_write"} | {"rak_webhook_read"}
    stack.control.restrict_key(FUNCTIONS_API_KEY, read_only)
    with pytest.raises(deploy.DeployError, match="'rak_webhook_write' permission"):
        second.deploy()
    stack.control.restrict_key(FUNCTIONS_API_KEY, listed)
    second.deploy()
    assert len(second.endpoints()) == 1
