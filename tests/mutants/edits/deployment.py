"""What template.yaml says, and what its alarms count."""

from __future__ import annotations

from tests.mutants.edits.edit import PACKAGE, UNIT, Edit

TEMPLATE = "template.yaml"
TELEMETRY = f"{PACKAGE}/adapters/telemetry.py"

IN_TELEMETRY = f"{UNIT}/adapters/test_telemetry.py::"
IN_TEMPLATE = f"{UNIT}/test_template.py::"

DEPLOYMENT = (
    Edit(
        "SQS gives a message up after five receives",
        TEMPLATE,
        "maxReceiveCount: 1000",
        "maxReceiveCount: 5",
        f"{IN_TEMPLATE}test_the_worker_gives_a_message_up_before_sqs_does",
    ),
    Edit(
        "a batch in progress is received again",
        TEMPLATE,
        "VisibilityTimeout: 520",
        "VisibilityTimeout: 510",
        f"{IN_TEMPLATE}"
        "test_a_message_is_hidden_for_six_times_the_workers_timeout_and_its_batching_window",
    ),
    Edit(
        "the worker runs longer than a confirm is delayed",
        TEMPLATE,
        "Timeout: 85\n",
        "Timeout: 95\n",
        f"{IN_TEMPLATE}test_a_confirm_comes_after_the_end_of_the_function_that_sent_it",
    ),
    Edit(
        "the worker has no time for one attempt",
        TEMPLATE,
        "Timeout: 85\n",
        "Timeout: 45\n",
        f"{IN_TEMPLATE}test_an_attempt_of_a_sync_fits_into_the_workers_timeout",
    ),
    Edit(
        "Lambda stops the worker as a recursive loop",
        TEMPLATE,
        "      RecursiveLoop: Allow\n",
        "",
        f"{IN_TEMPLATE}test_the_worker_may_send_to_the_queue_that_triggers_it",
    ),
    Edit(
        "a deferred message is deleted with its batch",
        TEMPLATE,
        "      FunctionResponseTypes: [ReportBatchItemFailures]\n",
        "",
        f"{IN_TEMPLATE}test_the_worker_reports_partial_failures_and_is_bounded",
    ),
    Edit(
        "dead letters are kept for four days",
        TEMPLATE,
        "  DeadLetterQueue:\n    Type: AWS::SQS::Queue\n    Properties:\n"
        "      MessageRetentionPeriod: 1209600\n",
        "  DeadLetterQueue:\n    Type: AWS::SQS::Queue\n    Properties:\n",
        f"{IN_TEMPLATE}test_the_queues_keep_fourteen_days_encrypted_and_by_tls_only[DeadLetterQueue]",
    ),
    Edit(
        "events are kept for a day",
        TEMPLATE,
        "VisibilityTimeout: 520\n      MessageRetentionPeriod: 1209600\n",
        "VisibilityTimeout: 520\n      MessageRetentionPeriod: 86400\n",
        f"{IN_TEMPLATE}test_the_worker_gives_a_message_up_before_sqs_does",
    ),
    Edit(
        "the table is deleted with its stack",
        TEMPLATE,
        "    DeletionPolicy: Retain\n",
        "    DeletionPolicy: Delete\n",
        f"{IN_TEMPLATE}test_the_table_outlives_its_stack_and_can_be_restored",
    ),
    Edit(
        "the worker's log is kept for ever",
        TEMPLATE,
        "      LogGroupName: !Sub /aws/lambda/${SyncCustomer}\n      RetentionInDays: 30\n",
        "      LogGroupName: !Sub /aws/lambda/${SyncCustomer}\n",
        f"{IN_TEMPLATE}test_every_function_has_a_log_group_with_a_retention",
    ),
    Edit(
        "routes need no token",
        TEMPLATE,
        "        DefaultAuthorizer: Jwt\n",
        "        DefaultAuthorizer: NONE\n",
        f"{IN_TEMPLATE}"
        "test_the_routes_are_those_of_the_contract_with_a_token_unless_they_are_public",
    ),
    Edit(
        "the public route may read every row",
        TEMPLATE,
        '                  dynamodb:LeadingKeys: [!Sub "CATALOG#${StripeMode}"]\n',
        '                  dynamodb:LeadingKeys: [!Sub "CATALOG#${StripeMode}", "CUS#*"]\n',
        f"{IN_TEMPLATE}test_the_public_route_can_read_nothing_but_the_catalog",
    ),
    Edit(
        "the alarms count metrics of another namespace",
        TELEMETRY,
        'metrics = Metrics(namespace="Portcullis")',
        'metrics = Metrics(namespace="Billing")',
        f"{IN_TELEMETRY}test_a_metric_is_the_one_that_an_alarm_counts",
    ),
    Edit(
        "a report has no details",
        TELEMETRY,
        'log(name, extra={"details": details})',
        "log(name)",
        f"{IN_TELEMETRY}test_a_log_line_is_one_json_object_with_its_details_under_one_name",
    ),
    Edit(
        "a dead letter is no warning",
        TELEMETRY,
        '        "DeadLettered",\n',
        "",
        f"{IN_TELEMETRY}test_a_log_line_is_one_json_object_with_its_details_under_one_name",
    ),
    Edit(
        "an alarm never tells anybody",
        TEMPLATE,
        "      ComparisonOperator: GreaterThanThreshold\n"
        "      TreatMissingData: notBreaching\n"
        "      AlarmActions: [!Ref AlarmTopic]\n"
        "      OKActions: [!Ref AlarmTopic]\n"
        "\n"
        "  QueueAgeAlarm:\n",
        "      ComparisonOperator: GreaterThanThreshold\n"
        "      TreatMissingData: notBreaching\n"
        "      AlarmActions: []\n"
        "      OKActions: [!Ref AlarmTopic]\n"
        "\n"
        "  QueueAgeAlarm:\n",
        f"{IN_TEMPLATE}test_every_alarm_tells_somebody_when_it_begins_and_when_it_ends",
    ),
)
