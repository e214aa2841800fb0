"""What a deploy makes so in Stripe: planned from what is there, repeatable, and never a riddle."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe

from billing.configuration.file import parse
from billing.deploy import custom_resource
from billing.deploy.stripe_setup import StripeSetup, reason
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
    OutOfTime,
    PortcullisError,
    SecretUnavailable,
    SetupFailed,
    StripeRefused,
    StripeUnavailable,
)
from billing.events import EFFECTS, REFRESH_CATALOG
from billing.settings import STRIPE_API_VERSION
from billing.stripe_objects import StripeObject
from billing.sync_request import SyncRequest
from operations.rotate_webhook_secret import rotate
from tests.unit.fakes import Reports

STACK_ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/portcullis-prod/6b1f-uuid"
OURS = "123456789012/eu-west-1/portcullis-prod"
THEIRS = "123456789012/eu-west-1/portcullis-dev"
URL = "https://abc.execute-api.eu-west-1.amazonaws.com/webhooks/stripe"
FILE = """
[default]
login_page.enabled = true
[default.features]
invoice_history.enabled = true
[default.features.subscription_update]
enabled = true
default_allowed_updates = ["price"]
[[default.features.subscription_update.products]]
prices = ["team_monthly", "team_yearly"]
adjustable_quantity = { enabled = true, minimum = 2 }
[small.features]
invoice_history.enabled = true
"""
PRICES: Mapping[str, StripeObject] = {
    "team_monthly": {"id": "price_tm", "lookup_key": "team_monthly", "product": {"id": "prod_t"}},
    "team_yearly": {"id": "price_ty", "lookup_key": "team_yearly", "product": {"id": "prod_t"}},
    "solo": {"id": "price_s", "lookup_key": "solo", "product": {"id": "prod_s"}},
    "price_bare": {"id": "price_bare", "lookup_key": None, "product": {"id": "prod_b"}},
}


class Account:
    """A Stripe account in memory. `calls` are the changes made; `fails` raises before a call."""

    def __init__(self) -> None:
        self.endpoints: list[dict[str, Any]] = []
        self.configurations: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str, Mapping[str, Any]]] = []
        self.fails: dict[str, Exception] = {}
        self.made = 0

    def webhook_endpoints(self) -> Sequence[StripeObject]:
        return [dict(each) for each in self.endpoints]

    def create_webhook_endpoint(self, parameters: Mapping[str, Any]) -> StripeObject:
        endpoint: dict[str, Any] = {"id": self._id("we"), "status": "enabled", **parameters}
        self._note("create", endpoint["id"], parameters)
        self.endpoints.insert(0, endpoint)
        return {**endpoint, "secret": f"whsec_{endpoint['id']}"}

    def update_webhook_endpoint(self, endpoint: str, parameters: Mapping[str, Any]) -> StripeObject:
        self._note("update", endpoint, parameters)
        changes = dict(parameters)
        if "disabled" in changes:
            changes["status"] = "disabled" if changes.pop("disabled") else "enabled"
        return _change(self.endpoints, endpoint, changes)

    def delete_webhook_endpoint(self, endpoint: str) -> None:
        self._note("delete", endpoint, {})
        self.endpoints = [each for each in self.endpoints if each["id"] != endpoint]

    def portal_configurations(self) -> Sequence[StripeObject]:
        return [dict(each) for each in self.configurations]

    def create_portal_configuration(self, parameters: Mapping[str, Any]) -> StripeObject:
        made: dict[str, Any] = {
            "id": self._id("bpc"),
            "active": True,
            "login_page": {"enabled": False},
        }
        made |= parameters
        self._note("create", made["id"], parameters)
        self.configurations.insert(0, made)
        return self.update_login_page(made)

    def update_portal_configuration(
        self, configuration: str, parameters: Mapping[str, Any]
    ) -> StripeObject:
        self._note("update", configuration, parameters)
        return self.update_login_page(_change(self.configurations, configuration, parameters))

    def update_login_page(self, made: dict[str, Any]) -> dict[str, Any]:
        enabled = made["login_page"]["enabled"]
        made["login_page"] = {"enabled": enabled, "url": f"https://login/{made['id']}"}
        return made

    def _id(self, prefix: str) -> str:
        self.made += 1
        return f"{prefix}_{self.made}"

    def _note(self, what: str, on: str, parameters: Mapping[str, Any]) -> None:
        if what in self.fails:
            raise self.fails.pop(what)
        self.calls.append((what, on, parameters))


def _change(among: list[dict[str, Any]], wanted: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = (each for each in among if each["id"] == wanted)
    metadata = found["metadata"] | changes.get("metadata", {})
    found |= changes
    found["metadata"] = {key: value for key, value in metadata.items() if value}
    return found


@dataclass
class Secrets:
    name: str = "webhook-secret"
    stored: tuple[str, ...] = ()
    written: int = 0
    error: SecretUnavailable | None = None

    def read(self) -> tuple[str, ...]:
        return self.stored

    def write(self, secrets: Sequence[str]) -> None:
        if self.error:
            raise self.error
        self.stored, self.written = tuple(secrets), self.written + 1


@dataclass
class Names:
    known: dict[tuple[str, str], str] = field(default_factory=dict)
    written: int = 0

    def configuration_named(self, mode: str, name: str, *, consistent: bool = False) -> str | None:
        assert consistent, "a deploy decides on what it reads"
        return self.known.get((mode, name))

    def name_configuration(self, mode: str, name: str, configuration_id: str) -> None:
        self.known[mode, name] = configuration_id
        self.written += 1


class Queue:
    def __init__(self) -> None:
        self.sent: list[SyncRequest] = []

    def send(self, hint: SyncRequest) -> None:
        self.sent.append(hint)


class World:
    """A stack and its Stripe account, between deploys."""

    def __init__(self) -> None:
        self.account, self.secrets, self.names = Account(), Secrets(), Names()
        self.queue, self.reports = Queue(), Reports()
        self.file, self.stage, self.key = FILE, "prod", "rk_test_1"
        self.connected_account = ""
        self.now = 1_000.0

    def setup(self) -> StripeSetup:
        return StripeSetup(
            account=self.account,
            prices=lambda names: [PRICES[name] for name in names if name in PRICES],
            api_key=self.api_key,
            api_key_secret="api-key-secret",
            secrets=self.secrets,
            names=self.names,
            queue=self.queue,
            file=lambda: parse(self.file, stage=self.stage, mode="test"),
            stage=self.stage,
            mode="test",
            connected_account=self.connected_account,
            default_return_url="https://app.example.com/account",
            clock=lambda: self.now,
            report=self.reports,
        )

    def api_key(self) -> str:
        if not self.key:
            raise SecretUnavailable("ResourceNotFoundException")
        return self.key

    def deploy(self, *, url: str = URL, stack: str = OURS) -> dict[str, str]:
        return self.setup().apply(stack=stack, url=url)

    def rotate(self, overlap: int = 600) -> dict[str, Any]:
        return self.setup().rotate(stack=OURS, overlap=overlap)

    @contextmanager
    def changes_nothing(self) -> Iterator[None]:
        before = (list(self.account.calls), self.secrets.written, self.names.written)
        yield
        assert (self.account.calls, self.secrets.written, self.names.written) == before

    def refusal(self, act: Callable[[], object]) -> str:
        with pytest.raises(PortcullisError) as refused:
            act()
        return reason(refused.value)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def deployed(world: World) -> World:
    world.deploy()
    return world


# ---------------------------------------------------------------------- the webhook endpoint


def test_the_first_deploy_makes_an_endpoint_and_stores_its_secret(world: World) -> None:
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
    told = deployed.refusal(deployed.deploy)
    assert "cannot be stored in webhook-secret" in told
    assert [each["id"] for each in deployed.account.endpoints] == ["we_1"]


@pytest.mark.parametrize("cut_off", ["update", "delete"])
def test_a_deploy_cut_off_anywhere_is_finished_by_the_next(deployed: World, cut_off: str) -> None:
    deployed.secrets.stored = ()
    deployed.account.fails[cut_off] = StripeUnavailable("APIConnectionError")
    assert "did not answer" in deployed.refusal(deployed.deploy)
    deployed.deploy()
    (endpoint,) = deployed.account.endpoints
    assert f"whsec_{endpoint['id']}" in deployed.secrets.stored
    with deployed.changes_nothing():
        deployed.deploy()


def test_every_deploy_asks_for_the_catalogue(deployed: World) -> None:
    (hint,) = deployed.queue.sent
    assert (hint.type, hint.created) == (REFRESH_CATALOG, 1_000)


# ---------------------------------------------------------------------- the portal configurations


def test_configurations_are_made_with_ids_for_lookup_keys(world: World) -> None:
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


def test_a_changed_configuration_is_updated_and_no_other(deployed: World) -> None:
    small, default = deployed.account.configurations
    deployed.account.calls.clear()
    deployed.file = FILE.replace("minimum = 2", "minimum = 3")
    deployed.deploy()
    ((what, on, changes),) = deployed.account.calls
    assert (what, on) == ("update", default["id"])
    offered = changes["features"]["subscription_update"]["products"]
    assert offered[0]["adjustable_quantity"]["minimum"] == 3
    assert small["active"]


def test_what_the_file_no_longer_says_is_unset(deployed: World) -> None:
    deployed.account.calls.clear()
    deployed.file = "[default.features]\n[small.features]\ninvoice_history.enabled = true\n"
    attributes = deployed.deploy()
    ((_, _, changes),) = deployed.account.calls
    assert changes["login_page"] == {"enabled": False}
    assert changes["features"]["invoice_history"] == {"enabled": False}
    assert changes["features"]["subscription_update"]["enabled"] is False
    assert changes["features"]["subscription_update"]["products"] == ""
    assert attributes["LoginPages"].startswith("none")


def test_one_that_left_the_file_is_deactivated_and_taken_up_again(deployed: World) -> None:
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


def test_a_lost_name_is_written_again(deployed: World) -> None:
    before = dict(deployed.names.known)
    deployed.names.known.clear()
    deployed.deploy()
    assert deployed.names.known == before


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (FILE.replace("team_yearly", "team_weekly"), "'team_weekly' (default.features."),
        (FILE + "[checkout]\nprices = ['nothing']\n", "'nothing' (checkout.prices)"),
        (FILE.replace("team_yearly", "solo"), "are not the prices of one product"),
        (
            FILE.replace(
                '"team_yearly"]', ']\n[[default.features.subscription_update.products]]\n'
                'prices = ["team_yearly"]'
            ),
            "has an entry already",
        ),
        (FILE + "[other]\n", "portcullis.toml, line"),
    ],
)  # fmt: skip
def test_a_slip_in_the_file_is_told_before_anything_is_changed(
    world: World, file: str, says: str
) -> None:
    world.file = file
    with world.changes_nothing():
        assert says in world.refusal(world.deploy)
    assert world.account.made == 0


def test_a_price_may_be_named_by_its_id(world: World) -> None:
    world.file = FILE + "[checkout]\nprices = ['price_bare']\n"
    world.deploy()


# ---------------------------------------------------------------------- what goes wrong


def test_a_missing_api_key_says_where_to_put_it(world: World) -> None:
    world.key = ""
    told = world.refusal(world.deploy)
    assert "no Stripe API key under api-key-secret" in told
    assert "Store the key there" in told


def test_a_key_of_the_other_mode_is_refused_without_being_shown(world: World) -> None:
    world.key = "sk_live_secret"
    told = world.refusal(world.deploy)
    assert "a key of Stripe's live mode" in told
    assert "StripeMode is test" in told
    assert "sk_live" not in told


def test_stripes_own_sentence_is_passed_on() -> None:
    said = stripe.InvalidRequestError(  # type: ignore[no-untyped-call]
        "Not a valid URL", "url", code="url_invalid"
    )
    error = StripeRefused(400, "url_invalid", "url", "InvalidRequestError")
    error.__cause__ = said
    assert reason(error) == ("Stripe refused the parameter url (400, url_invalid): Not a valid URL")


def test_every_expected_error_has_a_reason() -> None:
    for error in (StripeUnavailable("x"), OutOfTime(), SecretUnavailable("y"), SetupFailed("z")):
        assert reason(error)
        assert "deploy again" in reason(error).lower() or reason(error) == "z"


# ---------------------------------------------------------------------- the end of a stack


def test_a_deleted_stack_switches_its_endpoint_off_and_keeps_the_rest(deployed: World) -> None:
    deployed.setup().retire(stack=OURS, delete=False)
    assert deployed.account.endpoints[0]["status"] == "disabled"
    assert all(each["active"] for each in deployed.account.configurations)
    assert deployed.secrets.stored == ("whsec_we_1",)


def test_a_stack_made_again_takes_up_what_it_left(deployed: World) -> None:
    deployed.setup().retire(stack=OURS, delete=False)
    deployed.deploy(url="https://another/webhooks/stripe")
    (endpoint,) = deployed.account.endpoints
    assert (endpoint["id"], endpoint["status"]) == ("we_1", "enabled")
    assert endpoint["url"] == "https://another/webhooks/stripe"
    assert deployed.secrets.written == 1


def test_told_to_delete_it_removes_what_can_be_removed(deployed: World) -> None:
    deployed.setup().retire(stack=OURS, delete=True)
    assert deployed.account.endpoints == []
    assert not any(each["active"] for each in deployed.account.configurations)


@pytest.mark.parametrize("delete", [True, False])
def test_the_end_of_what_never_was_is_fine(world: World, delete: bool) -> None:
    world.setup().retire(stack=OURS, delete=delete)
    assert world.account.calls == []


def test_a_stack_does_not_outlive_its_key(deployed: World) -> None:
    deployed.key = ""
    deployed.setup().retire(stack=OURS, delete=False)
    assert "StripeCleanupSkipped" in deployed.reports.names


# ---------------------------------------------------------------------- the rotation


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


def test_a_deploy_amid_a_rotation_leaves_it_to_its_end(deployed: World) -> None:
    deployed.rotate()
    with deployed.changes_nothing():
        deployed.deploy()
    deployed.deploy(url="https://another/")
    assert [each["url"] for each in deployed.account.endpoints] == ["https://another/"] * 2
    deployed.now += 600
    assert deployed.rotate()["state"] == "rotated"


def test_nothing_is_rotated_where_no_secret_is_known(world: World) -> None:
    assert "nothing to rotate" in world.refusal(world.rotate)


class Cloud:
    """boto3's CloudFormation and Lambda, as far as an operator's rotation asks them."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers, self.asked = list(answers), list[dict[str, Any]]()

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        outputs = [{"OutputKey": "StripeSetupFunction", "OutputValue": "f"}]
        return {"Stacks": [{"StackId": STACK_ID, "Outputs": outputs}]}

    def invoke(self, **how: Any) -> dict[str, Any]:
        self.asked.append(json.loads(how["Payload"]))
        return {"Payload": io.BytesIO(json.dumps(self.answers.pop(0)).encode())}


@pytest.mark.parametrize(
    ("wait", "answers", "slept", "well"),
    [
        (True, [{"state": "overlapping", "seconds": 600}, {"state": "rotated"}], [600], True),
        (False, [{"state": "overlapping", "seconds": 600}], [], True),
        (True, [{"state": "failed", "reason": "because"}], [], False),
        (True, [{"errorMessage": "boom"}], [], False),
    ],
)
def test_an_operators_rotation_waits_out_the_overlap(
    wait: bool, answers: list[dict[str, Any]], slept: list[float], well: bool
) -> None:
    cloud, waits, said = Cloud(*answers), list[float](), list[str]()
    done = rotate(cloud, cloud, stack_name="s", wait=wait, sleep=waits.append, say=said.append)
    assert (done, waits, cloud.answers) == (well, slept, [])
    assert cloud.asked[0] == {"rotate": {"StackId": STACK_ID, "overlap": 600}}
    assert said


# ---------------------------------------------------------------------- CloudFormation


def test_a_stack_is_the_same_when_it_is_made_again() -> None:
    assert custom_resource.stack_of(STACK_ID) == OURS
    assert custom_resource.stack_of(STACK_ID.replace("6b1f", "7c2e")) == OURS


REQUEST = {
    "StackId": STACK_ID,
    "RequestId": "r",
    "LogicalResourceId": "StripeSetup",
    "ResponseURL": "https://cloudformation/answer",
}


class Delivered:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
        self.failures, self.sizes = failures, list[int]()
        self.bodies: list[dict[str, Any]] = []
        monkeypatch.setattr("urllib.request.urlopen", self._urlopen)
        monkeypatch.setattr("time.sleep", lambda _: None)

    @contextmanager
    def _urlopen(self, request: Any, timeout: float) -> Iterator[None]:
        if self.failures:
            self.failures -= 1
            raise OSError("reset")
        assert request.get_method() == "PUT"
        assert request.get_header("Content-type") == ""
        self.sizes.append(len(request.data))
        self.bodies.append(json.loads(request.data))
        yield


def test_the_answer_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = Delivered(monkeypatch, failures=2)
    custom_resource.respond(REQUEST, data={"LoginPages": "none"})
    (body,) = delivered.bodies
    assert body["Status"] == "SUCCESS"
    assert body["Data"] == {"LoginPages": "none"}
    assert {key: body[key] for key in REQUEST if key in body} == {
        key: value for key, value in REQUEST.items() if key != "ResponseURL"
    }


def test_a_failure_is_short_enough_for_cloudformation(monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = Delivered(monkeypatch, failures=0)
    custom_resource.respond(REQUEST | {"PhysicalResourceId": "same"}, failure="é" * 9_000)
    (body,) = delivered.bodies
    assert (body["Status"], body["PhysicalResourceId"]) == ("FAILED", "same")
    assert delivered.sizes[0] <= 4_096


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
