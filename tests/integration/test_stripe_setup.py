"""What the deploy makes so in Stripe, on the deployed template: kept, rotated, refused, left.

A second stack beside the shared one, on the same Stripe account, is deployed and deleted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from billing.deploy.portal_configurations import NAME
from billing.deploy.webhook_endpoint import STACK
from local import deploy
from local.journey import Journey, eventually
from local.layer import CONFIGURATION_FILE
from local.stack import LocalStack, signing_secrets
from operations.rotate_webhook_secret import rotate

NAMED = "portcullis-beside"
SECRET = "portcullis/beside/stripe-webhook-secret"
KEY = "portcullis/beside/stripe-api-key"


class Beside:
    """The second stack: the shared one's parameters, but for its secrets."""

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.parameters = stack.parameters() | {"StripeWebhookSecret": SECRET}

    def deploy(
        self,
        parameters: Mapping[str, str] | None = None,
        *,
        update: bool = False,
        portal_toml: str = "",
    ) -> deploy.Deployment:
        path = self.folder / "portcullis.toml"
        path.write_text(portal_toml or CONFIGURATION_FILE.read_text())
        return deploy.deploy(
            self.stack.engine.endpoint,
            self.parameters | dict(parameters or {}),
            configuration_file=path,
            stack_name=NAMED,
            update=update,
        )

    def delete(self) -> None:
        deploy.delete(self.stack.engine.endpoint, NAMED)

    def endpoints(self) -> list[Any]:
        return [each for each in endpoints(self.stack) if each["metadata"][STACK].endswith(NAMED)]

    def configurations(self) -> dict[str, bool]:
        """Answer which of its portal configurations are active, by name."""
        found = self.stack.stripe.v1.billing_portal.configurations.list({"limit": 100}).data
        return {
            each.metadata[NAME]: each.active
            for each in found
            if each.metadata and each.metadata.to_dict().get(STACK, "").endswith(NAMED)
        }


@pytest.fixture
def beside(stack: LocalStack, tmp_path: Path) -> Iterator[Beside]:
    second = Beside(stack, tmp_path)
    yield second
    second.delete()
    for endpoint in second.endpoints():
        stack.stripe.v1.webhook_endpoints.delete(endpoint["id"])


def endpoints(stack: LocalStack) -> list[Any]:
    return [each.to_dict() for each in stack.stripe.v1.webhook_endpoints.list().data]


def test_two_stacks_share_an_account_and_a_deleted_one_leaves_nothing_it_was_told_to_remove(
    stack: LocalStack, beside: Beside
) -> None:
    before = endpoints(stack)
    beside.deploy()
    (made,) = beside.endpoints()
    assert [each for each in endpoints(stack) if each["id"] != made["id"]] == before

    beside.delete()
    (left,) = beside.endpoints()
    assert (left["id"], left["status"]) == (made["id"], "disabled")
    assert set(beside.configurations().values()) == {True}

    # The same stack again takes up what it left, whatever its stage is called by now.
    beside.deploy({"Stage": "staging", "DeleteStripeObjects": "true"})
    (again,) = beside.endpoints()
    assert (again["id"], again["status"]) == (made["id"], "enabled")
    assert again["url"] != made["url"]

    beside.delete()
    assert beside.endpoints() == []
    assert set(beside.configurations().values()) == {False}
    assert endpoints(stack) == before


REFUSALS: dict[str, tuple[dict[str, str], str, str]] = {
    "no key": ({"StripeApiKeySecret": "nobody/made/this"}, "", "no Stripe API key under nobody/"),
    "the other mode's key": ({"StripeApiKeySecret": KEY}, "sk_live_1", "key of Stripe's live mode"),
    "a wrong key": (
        {"StripeApiKeySecret": KEY},
        "sk_test_wrong",
        "Stripe refused the request (401",
    ),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_a_key_that_will_not_do_fails_the_deploy_with_the_reason(
    stack: LocalStack, beside: Beside, why: str
) -> None:
    parameters, key, says = REFUSALS[why]
    if key:
        stack._put_secret(KEY, key)
    with pytest.raises(deploy.DeployError) as failed:
        beside.deploy(parameters)
    assert says in str(failed.value)
    assert beside.endpoints() == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("team_monthly", "team_weekly"), "not on sale in Stripe's test mode"),
        (('"at_period_end"', '"never"'), 'line 11: default.features.subscription_cancel.mode is "'),
    ],
)
def test_a_slip_in_portal_toml_fails_the_deploy_with_the_reason(
    beside: Beside, change: tuple[str, str], says: str
) -> None:
    with pytest.raises(deploy.DeployError) as failed:
        beside.deploy(portal_toml=CONFIGURATION_FILE.read_text().replace(*change))
    assert says in str(failed.value)


def test_a_refused_update_is_rolled_back_and_the_endpoint_goes_on(
    stack: LocalStack, beside: Beside
) -> None:
    beside.deploy()
    (before,) = beside.endpoints()
    secret = stored(stack)
    slip = CONFIGURATION_FILE.read_text().replace("team_monthly", "team_weekly")
    with pytest.raises(deploy.DeployError, match="not on sale"):
        beside.deploy(update=True, portal_toml=slip)
    assert beside.endpoints() == [before]
    assert stored(stack) == secret


def stored(stack: LocalStack) -> str:
    answer = stack.client("secretsmanager").get_secret_value(SecretId=SECRET)
    return str(answer["SecretString"])


def test_stripe_being_down_fails_the_deploy_and_the_next_one_succeeds(
    stack: LocalStack, beside: Beside
) -> None:
    stack.control.fail_calls(500, count=9, path="/v1/webhook_endpoints")
    with pytest.raises(deploy.DeployError, match="Stripe did not answer"):
        beside.deploy()
    stack.control.clear_faults()
    beside.delete()
    beside.deploy()
    (endpoint,) = beside.endpoints()
    assert endpoint["status"] == "enabled"


def test_a_rotated_secret_is_accepted_beside_the_old_one_and_then_alone(
    stack: LocalStack, begin: Callable[..., Journey]
) -> None:
    cloud = stack.client("cloudformation"), stack.client("lambda")
    secrets = stack.client("secretsmanager")
    (before,) = signing_secrets(secrets)
    name = stack.deployment.stack_name
    said: list[str] = []
    assert rotate(*cloud, stack_name=name, overlap=3, wait=False, say=said.append)
    assert len(endpoints(stack)) == 2
    both = signing_secrets(secrets)
    assert both[1] == before
    # Functions read a secret anew after five minutes, or at once where that was not done within the
    # last; other tests' forgeries may just have used that up, so these begin anew.
    stack.client("lambda").update_function_configuration(
        FunctionName=stack.deployment.functions["IngestWebhook"], MemorySize=513
    )
    # Each change is now told twice, signed by each of the two.
    ada = begin()
    eventually(ada.features, lambda now: "api_access" in now)
    stack.wait_until_quiet()
    told_last = stack.control.deliveries("customer.subscription.created")[-2:]
    assert {each["endpoint"] for each in told_last} == {each["id"] for each in endpoints(stack)}
    assert {each["state"] for each in told_last} == {"delivered"}
    assert rotate(*cloud, stack_name=name, overlap=3, say=said.append)
    assert said[-1].startswith("rotated")
    (endpoint,) = endpoints(stack)
    assert signing_secrets(secrets) == both[:1]
    assert stack.deployment.outputs["WebhookEndpoint"] != endpoint["id"]
    stack.webhook_secret = both[0]
    ben = begin()
    eventually(ben.features, lambda now: "api_access" in now)
