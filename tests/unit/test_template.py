"""What no scanner reports when it is missing from the template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from billing.batch import MAX_DEFERRAL_SECONDS, backoff
from billing.contract import ROUTES
from billing.keys import SubjectKey
from billing.settings import Settings
from billing.subjects import MAX_SUBJECT_BYTES
from billing.sync import ATTEMPT_BUDGET_MS, CONFIRM_DELAY_SECONDS
from billing.timeouts import STRIPE_CALL_MS
from docs import write_contract
from tests.simulation.sqs_model import BATCH_SIZE, MAX_RECEIVES, VISIBILITY_TIMEOUT
from tests.simulation.world import WORKER_TIMEOUT_SECONDS

ROOT = Path(__file__).parents[2]


TEMPLATE = write_contract.template()
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
FUNCTIONS = {
    name: resource["Properties"]
    for name, resource in RESOURCES.items()
    if resource["Type"] == "AWS::Serverless::Function"
}
#: The variables that every function has.
ENVIRONMENT: dict[str, Any] = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
EVENTS = {
    f"{name}.{event}": details
    for name, function in FUNCTIONS.items()
    for event, details in function.get("Events", {}).items()
}

#: What a sync needs while somebody waits.
SYNCS_AT_ONCE = {
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "sqs:SendMessage",
    "secretsmanager:GetSecretValue",
}


#: What each function may do: every function stands here, and nothing it does not do.
RIGHTS: dict[str, set[str]] = {
    "CreatePortalSession": {"dynamodb:GetItem", "secretsmanager:GetSecretValue"},
    "CreateCheckoutSession": SYNCS_AT_ONCE,
    "GetCheckoutSession": SYNCS_AT_ONCE,
    "GetCatalog": {"dynamodb:GetItem"},
    "IngestWebhook": {"sqs:SendMessage", "secretsmanager:GetSecretValue"},
    "GetEntitlements": {"dynamodb:GetItem"},
    "SyncCustomer": {
        *SYNCS_AT_ONCE,
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ChangeMessageVisibility",
    },
    "StripeSetupFunction": {
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "sqs:SendMessage",
        "secretsmanager:GetSecretValue",
        "secretsmanager:CreateSecret",
        "secretsmanager:PutSecretValue",
    },
}


def statements(function: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for policy in function["Policies"] for each in policy["Statement"]]


def test_every_function_folder_is_deployed_and_every_function_has_its_folder() -> None:
    deployed = {function["CodeUri"] for function in FUNCTIONS.values()}
    assert deployed == {f"functions/{path.parent.name}" for path in ROOT.glob("functions/*/app.py")}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_has_its_own_policies_without_wildcards(name: str) -> None:
    for statement in statements(FUNCTIONS[name]):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert "*" not in action
        resources = statement["Resource"]
        for resource in [resources] if isinstance(resources, str) else resources:
            assert "*" not in resource


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_may_do_what_it_does_and_no_more(name: str) -> None:
    actions: set[str] = set()
    for statement in statements(FUNCTIONS[name]):
        action = statement["Action"]
        actions |= {action} if isinstance(action, str) else set(action)
    assert name in RIGHTS, f"{name} is missing from the table of rights above"
    assert actions == RIGHTS[name]


def test_the_table_of_rights_names_no_function_that_is_not_deployed() -> None:
    assert set(RIGHTS) == set(FUNCTIONS)


def test_no_function_may_scan_or_delete_from_the_table() -> None:
    text = (ROOT / "template.yaml").read_text()
    assert "dynamodb:Scan" not in text
    assert "dynamodb:DeleteItem" not in text
    assert "CrudPolicy" not in text


def test_the_routes_are_those_of_the_contract_with_a_token_unless_they_are_public() -> None:
    assert RESOURCES["Api"]["Properties"]["Auth"]["DefaultAuthorizer"] == "Jwt"
    deployed = {
        (
            f"{event['Properties']['Method']} {event['Properties']['Path']}",
            FUNCTIONS[name.partition(".")[0]]["CodeUri"],
            event["Properties"].get("Auth") == {"Authorizer": "NONE"},
        )
        for name, event in EVENTS.items()
        if event["Type"] == "HttpApi"
    }
    assert deployed == {
        (route.key, f"functions/{route.function}", route.is_public) for route in ROUTES
    }


def test_every_setting_has_its_variable_and_every_variable_its_setting() -> None:
    read: set[str] = set()

    class Environment(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            read.add(name)
            return "1"

    Settings.from_environment(Environment())
    assert read == {name for name in ENVIRONMENT if name.startswith("PORTCULLIS_")}


def test_every_parameter_is_used_and_shown_in_one_group() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(TEMPLATE["Parameters"])
    text = (ROOT / "template.yaml").read_text()
    used = set(re.findall(r"!Ref (\w+)|\$\{(\w+)\}", text.partition("\nConditions:")[2]))
    names = {name for pair in used for name in pair} | set(
        re.findall(r"!Ref (\w+)", text.partition("\nConditions:")[2].partition("\nGlobals:")[0])
    )
    assert set(TEMPLATE["Parameters"]) <= names


@pytest.mark.parametrize("name", ["JwtIssuer", "FormerJwtIssuers"])
def test_the_key_of_a_link_fits_however_long_issuer_and_subject_are(name: str) -> None:
    pattern = re.compile(TEMPLATE["Parameters"][name]["AllowedPattern"])
    assert pattern.match("https://login.example.com/")
    longest = max(size for size in range(3000) if pattern.match("x" * size))
    # Stripe's limit for a value of the metadata, which names the issuer of a new customer.
    assert longest <= 500
    assert not pattern.match("é")
    key = SubjectKey("test", "x" * longest, "x" * MAX_SUBJECT_BYTES)
    # DynamoDB's limit for a partition key.
    assert len(key.pk) <= 2048


def test_the_public_route_can_read_nothing_but_the_catalog() -> None:
    (statement,) = statements(FUNCTIONS["GetCatalog"])
    keys = statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]
    assert keys == ["CATALOG#${StripeMode}"]


def test_the_worker_reports_partial_failures_and_is_bounded() -> None:
    queue = RESOURCES["SyncCustomerQueue"]["Properties"]
    assert queue["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert queue["ScalingConfig"]["MaximumConcurrency"] <= 10


def test_a_message_is_hidden_for_six_times_the_workers_timeout_and_its_batching_window() -> None:
    visibility = RESOURCES["EventQueue"]["Properties"]["VisibilityTimeout"]
    window = RESOURCES["SyncCustomerQueue"]["Properties"]["MaximumBatchingWindowInSeconds"]
    assert visibility >= 6 * FUNCTIONS["SyncCustomer"]["Timeout"] + window


def test_the_worker_gives_a_message_up_before_sqs_does() -> None:
    receives, passed = 1, 0
    while passed <= MAX_DEFERRAL_SECONDS:
        passed += backoff(receives, 0.0)
        receives += 1
    queue = RESOURCES["EventQueue"]["Properties"]
    assert receives < queue["RedrivePolicy"]["maxReceiveCount"]
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == "DeadLetterQueue.Arn"
    assert queue["MessageRetentionPeriod"] > MAX_DEFERRAL_SECONDS


def test_an_attempt_of_a_sync_fits_into_the_workers_timeout() -> None:
    # And another read after the first: an ordinary customer needs two.
    assert 1000 * FUNCTIONS["SyncCustomer"]["Timeout"] > ATTEMPT_BUDGET_MS + STRIPE_CALL_MS


def test_a_confirm_comes_after_the_end_of_the_function_that_sent_it() -> None:
    # A deploy may do the same, but only requests syncs.
    syncs = [name for name in RIGHTS if RIGHTS[name] >= SYNCS_AT_ONCE]
    syncs.remove("StripeSetupFunction")
    assert len(syncs) == 3
    delay = CONFIRM_DELAY_SECONDS
    assert max(FUNCTIONS[name]["Timeout"] for name in syncs) < delay


def test_the_simulation_has_the_templates_numbers() -> None:
    queue = RESOURCES["EventQueue"]["Properties"]
    assert FUNCTIONS["SyncCustomer"]["Timeout"] == WORKER_TIMEOUT_SECONDS
    assert queue["VisibilityTimeout"] == VISIBILITY_TIMEOUT
    assert queue["RedrivePolicy"]["maxReceiveCount"] == MAX_RECEIVES
    assert RESOURCES["SyncCustomerQueue"]["Properties"]["BatchSize"] == BATCH_SIZE


def test_the_worker_may_send_to_the_queue_that_triggers_it() -> None:
    assert FUNCTIONS["SyncCustomer"]["RecursiveLoop"] == "Allow"


@pytest.mark.parametrize("queue", ["EventQueue", "DeadLetterQueue"])
def test_the_queues_keep_fourteen_days_encrypted_and_by_tls_only(queue: str) -> None:
    properties = RESOURCES[queue]["Properties"]
    assert properties["MessageRetentionPeriod"] == 14 * 86_400
    assert properties["SqsManagedSseEnabled"] is True
    policy = RESOURCES["QueueTlsOnly"]["Properties"]
    assert queue in policy["Queues"]
    (deny,) = policy["PolicyDocument"]["Statement"]
    assert deny["Effect"] == "Deny"
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert f"{queue}.Arn" in deny["Resource"]


def test_the_table_outlives_its_stack_and_can_be_restored() -> None:
    table = RESOURCES["Table"]
    assert table["DeletionPolicy"] == "Retain"
    assert table["UpdateReplacePolicy"] == "Retain"
    assert table["Properties"]["DeletionProtectionEnabled"] == ["IsProd", True, False]
    assert table["Properties"]["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
    assert table["Properties"]["SSESpecification"]["SSEEnabled"]


def test_every_function_has_a_log_group_with_a_retention() -> None:
    kept = {
        resource["Properties"].get("LogGroupName", "").removeprefix("/aws/lambda/")
        for resource in RESOURCES.values()
        if resource["Type"] == "AWS::Logs::LogGroup" and resource["Properties"]["RetentionInDays"]
    }
    assert {f"${{{name}}}" for name in FUNCTIONS} <= kept


def test_the_parameters_and_outputs_are_those_others_build_on() -> None:
    assert {
        "Stage",
        "StripeMode",
        "StripeApiKeySecret",
        "StripeWebhookSecret",
        "StripeApiBase",
        "JwtIssuer",
        "JwtAudience",
        "SubjectClaim",
        "PortalScope",
        "AllowedOrigins",
        "DefaultReturnUrl",
        "SubjectMetadataKey",
        "PastDueGraceDays",
        "RenewalSlackHours",
        "PauseCollectionKeepsAccess",
    } <= set(TEMPLATE["Parameters"])
    assert {
        "ApiUrl",
        "WebhookUrl",
        "TableName",
        "EventQueueUrl",
        "DeadLetterQueueUrl",
    } <= set(TEMPLATE["Outputs"])


def test_every_alarm_tells_somebody_when_it_begins_and_when_it_ends() -> None:
    alarms = [each for each in RESOURCES.values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    assert len(alarms) >= 5
    for alarm in alarms:
        assert alarm["Properties"]["AlarmActions"] == ["AlarmTopic"]
        assert alarm["Properties"]["OKActions"] == ["AlarmTopic"]
        assert alarm["Properties"]["TreatMissingData"] == "notBreaching"


def test_the_setup_answers_before_cloudformation_gives_up() -> None:
    waits = RESOURCES["StripeSetup"]["Properties"]["ServiceTimeout"]
    assert FUNCTIONS["StripeSetupFunction"]["Timeout"] < waits <= 120


def test_the_setup_runs_again_when_the_layer_or_a_parameter_it_reads_changes() -> None:
    setup = RESOURCES["StripeSetup"]["Properties"]
    assert setup["Layer"] == "BillingLayer"
    read = {"Stage", "StripeMode", "StripeApiBase", "StripeAccount", "DefaultReturnUrl"}
    assert read | {"StripeApiKeySecret", "StripeWebhookSecret"} <= set(setup["Settings"])


def test_the_setups_log_group_is_there_before_its_first_invocation_would_make_one() -> None:
    assert "StripeSetupLog" in RESOURCES["StripeSetup"]["DependsOn"]
