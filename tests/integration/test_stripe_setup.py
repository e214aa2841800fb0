"""The objects that a deploy creates in Stripe: their creation, rotation, reuse and removal.

The tests deploy and delete a second stack, which has the Stripe account of the shared stack.
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

STACK_NAME = "portcullis-second"
SECRET = "portcullis/second/stripe-webhook-secret"
KEY = "portcullis/second/stripe-api-key"


class SecondStack:
    """The second stack: it has the parameters of the shared one, except its secrets."""

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.parameters = stack.parameters() | {"StripeWebhookSecret": SECRET}

    def deploy(
        self,
        parameters: Mapping[str, str] | None = None,
        *,
        update: bool = False,
        configuration: str = "",
    ) -> deploy.Deployment:
        path = self.folder / "portcullis.toml"
        path.write_text(configuration or CONFIGURATION_FILE.read_text())
        return deploy.deploy(
            self.stack.engine.endpoint,
            self.parameters | dict(parameters or {}),
            configuration_file=path,
            stack_name=STACK_NAME,
            update=update,
        )

    def delete(self) -> None:
        deploy.delete(self.stack.engine.endpoint, STACK_NAME)

    def endpoints(self) -> list[Any]:
        return [
            each for each in endpoints(self.stack) if each["metadata"][STACK].endswith(STACK_NAME)
        ]

    def configurations(self) -> dict[str, bool]:
        """Return whether each of its portal configurations is active, by name."""
        found = self.stack.stripe.v1.billing_portal.configurations.list({"limit": 100}).data
        return {
            each.metadata[NAME]: each.active
            for each in found
            if each.metadata and each.metadata.to_dict().get(STACK, "").endswith(STACK_NAME)
        }


@pytest.fixture
def second(stack: LocalStack, tmp_path: Path) -> Iterator[SecondStack]:
    created = SecondStack(stack, tmp_path)
    yield created
    created.delete()
    for endpoint in created.endpoints():
        stack.stripe.v1.webhook_endpoints.delete(endpoint["id"])


def endpoints(stack: LocalStack) -> list[Any]:
    return [each.to_dict() for each in stack.stripe.v1.webhook_endpoints.list().data]


def test_two_stacks_share_an_account_and_a_parameter_decides_what_a_deleted_stack_removes(
    stack: LocalStack, second: SecondStack
) -> None:
    before = endpoints(stack)
    second.deploy()
    (endpoint,) = second.endpoints()
    assert [each for each in endpoints(stack) if each["id"] != endpoint["id"]] == before

    second.delete()
    (left,) = second.endpoints()
    assert (left["id"], left["status"]) == (endpoint["id"], "disabled")
    assert set(second.configurations().values()) == {True}

    # A new deploy of the stack reuses what it left, even with another stage.
    second.deploy({"Stage": "staging", "DeleteStripeObjects": "true"})
    (again,) = second.endpoints()
    assert (again["id"], again["status"]) == (endpoint["id"], "enabled")
    assert again["url"] != endpoint["url"]

    second.delete()
    assert second.endpoints() == []
    assert set(second.configurations().values()) == {False}
    assert endpoints(stack) == before


REFUSALS: dict[str, tuple[dict[str, str], str, str]] = {
    "no key": ({"StripeApiKeySecret": "does/not/exist"}, "", "no Stripe API key under does/not/"),
    "the other mode's key": ({"StripeApiKeySecret": KEY}, "sk_live_1", "key of Stripe's live mode"),
    "a wrong key": (
        {"StripeApiKeySecret": KEY},
        "sk_test_wrong",
        "Stripe refused the request (401",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_an_unusable_key_fails_the_deploy_with_the_reason(
    stack: LocalStack, second: SecondStack, case: str
) -> None:
    parameters, key, reason = REFUSALS[case]
    if key:
        stack._put_secret(KEY, key)
    with pytest.raises(deploy.DeployError) as failed:
        second.deploy(parameters)
    assert reason in str(failed.value)
    assert second.endpoints() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("team_monthly", "team_weekly"), "not on sale in Stripe's test mode"),
        (('"at_period_end"', '"never"'), 'line 11: default.features.subscription_cancel.mode is "'),
    ],
)
def test_a_mistake_in_portcullis_toml_fails_the_deploy_with_the_reason(
    second: SecondStack, change: tuple[str, str], reason: str
) -> None:
    with pytest.raises(deploy.DeployError) as failed:
        second.deploy(configuration=CONFIGURATION_FILE.read_text().replace(*change))
    assert reason in str(failed.value)


def test_a_refused_update_is_rolled_back_and_keeps_the_endpoint(
    stack: LocalStack, second: SecondStack
) -> None:
    second.deploy()
    (before,) = second.endpoints()
    secret = stored(stack)
    mistake = CONFIGURATION_FILE.read_text().replace("team_monthly", "team_weekly")
    with pytest.raises(deploy.DeployError, match="not on sale"):
        second.deploy(update=True, configuration=mistake)
    assert second.endpoints() == [before]
    assert stored(stack) == secret


def stored(stack: LocalStack) -> str:
    response = stack.client("secretsmanager").get_secret_value(SecretId=SECRET)
    return str(response["SecretString"])


def test_an_unavailable_stripe_fails_the_deploy_and_the_next_deploy_succeeds(
    stack: LocalStack, second: SecondStack
) -> None:
    stack.control.fail_calls(500, count=9, path="/v1/webhook_endpoints")
    with pytest.raises(deploy.DeployError, match="Stripe did not answer"):
        second.deploy()
    stack.control.clear_faults()
    second.delete()
    second.deploy()
    (endpoint,) = second.endpoints()
    assert endpoint["status"] == "enabled"


def test_a_new_secret_is_accepted_together_with_the_old_one_and_then_alone(
    stack: LocalStack, begin: Callable[..., Journey]
) -> None:
    cloud = stack.client("cloudformation"), stack.client("lambda")
    secrets = stack.client("secretsmanager")
    (before,) = signing_secrets(secrets)
    name = stack.deployment.stack_name
    logged: list[str] = []
    assert rotate(*cloud, stack_name=name, overlap=3, wait=False, say=logged.append)
    assert len(endpoints(stack)) == 2
    both = signing_secrets(secrets)
    assert both[1] == before
    # A function reads a secret again after five minutes, or after a bad signature at most once a
    # minute. Other tests may have used that read, so restart the function.
    stack.client("lambda").update_function_configuration(
        FunctionName=stack.deployment.functions["IngestWebhook"], MemorySize=513
    )
    # Each event is now delivered twice, signed with either secret.
    ada = begin()
    eventually(ada.features, lambda now: "api_access" in now)
    stack.wait_until_quiet()
    last = stack.control.deliveries("customer.subscription.created")[-2:]
    assert {each["endpoint"] for each in last} == {each["id"] for each in endpoints(stack)}
    assert {each["state"] for each in last} == {"delivered"}
    assert rotate(*cloud, stack_name=name, overlap=3, say=logged.append)
    assert logged[-1].startswith("rotated")
    (endpoint,) = endpoints(stack)
    assert signing_secrets(secrets) == both[:1]
    assert stack.deployment.outputs["WebhookEndpoint"] != endpoint["id"]
    stack.webhook_secret = both[0]
    ben = begin()
    eventually(ben.features, lambda now: "api_access" in now)
