"""What the table does with reads, writes and errors."""

from __future__ import annotations

from tests.mutants.edits.edit import PACKAGE, UNIT, Edit

STORE = f"{PACKAGE}/adapters/store.py"
AWS_ERRORS = f"{PACKAGE}/adapters/aws_errors.py"

IN_STORE = f"{UNIT}/adapters/test_store.py::"

TABLE = (
    Edit(
        "customers are read eventually consistently",
        STORE,
        "def load(self, key: CustomerKey, *, consistent: bool = True)",
        "def load(self, key: CustomerKey, *, consistent: bool = False)",
        f"{IN_STORE}test_a_sync_reads_consistently_without_asking_for_it",
    ),
    Edit(
        "links are read eventually consistently",
        STORE,
        "def load_link(self, key: SubjectKey, *, consistent: bool = True)",
        "def load_link(self, key: SubjectKey, *, consistent: bool = False)",
        f"{IN_STORE}test_a_sync_reads_consistently_without_asking_for_it",
    ),
    Edit(
        "documents are read eventually consistently",
        STORE,
        "def load_document(self, key: DocumentKey, *, consistent: bool = True)",
        "def load_document(self, key: DocumentKey, *, consistent: bool = False)",
        f"{IN_STORE}test_a_sync_reads_consistently_without_asking_for_it",
    ),
    Edit(
        "every read is consistent and costs twice as much",
        STORE,
        "ConsistentRead=consistent",
        "ConsistentRead=True",
        f"{IN_STORE}test_a_read_is_as_consistent_as_the_caller_asks",
    ),
    Edit(
        "a first revision is put without its condition",
        STORE,
        'return put | {"ConditionExpression": "attribute_not_exists(pk)"}',
        "return put",
        f"{IN_STORE}test_a_row_is_put_on_the_condition_that_the_revision_before_it_is_stored",
    ),
    Edit(
        "a put expects its own revision",
        STORE,
        '_serialized({":before": row.revision - 1})',
        '_serialized({":before": row.revision})',
        f"{IN_STORE}test_a_commit_succeeds_only_over_the_previous_revision",
    ),
    Edit(
        "links of the first release can never be written",
        STORE,
        '            condition += " OR (attribute_exists(pk) AND attribute_not_exists(rev))"\n',
        '            condition += ""\n',
        f"{IN_STORE}test_a_link_of_the_first_release_can_be_read_and_written",
    ),
    Edit(
        "the second revision of a link is written over nothing",
        STORE,
        "(attribute_exists(pk) AND attribute_not_exists(rev))",
        "attribute_not_exists(rev)",
        f"{IN_STORE}test_a_claim_is_remembered_over_the_revision_that_was_read",
    ),
    Edit(
        "a released row is not part of the transaction",
        STORE,
        "[row, link] if released is None else [row, link, released]",
        "[row, link]",
        f"{IN_STORE}test_a_row_its_link_and_the_released_row_are_one_transaction_of_conditional_puts",
    ),
    Edit(
        "a TransactionConflict among the reasons is an outage",
        STORE,
        '{"ConditionalCheckFailed", "TransactionConflict"}',
        '{"ConditionalCheckFailed"}',
        f"{IN_STORE}test_a_cancelled_transaction_is_judged_by_its_reasons",
    ),
    Edit(
        "a TransactionConflict among the reasons is a refusal",
        STORE,
        'if codes & {"ConditionalCheckFailed", "TransactionConflict"}:',
        'if "TransactionConflict" in codes:\n'
        '                    raise StoreRefused("TransactionConflict") from error\n'
        '                if "ConditionalCheckFailed" in codes:',
        f"{IN_STORE}test_a_cancelled_transaction_is_judged_by_its_reasons",
    ),
    Edit(
        "a transaction is in conflict only where every item is",
        STORE,
        'if codes & {"ConditionalCheckFailed"',
        'if codes <= {"ConditionalCheckFailed"',
        f"{IN_STORE}test_a_cancelled_transaction_is_judged_by_its_reasons",
    ),
    Edit(
        "a refusal within a transaction is an outage",
        STORE,
        "                for code in _REFUSALS_IN_TRANSACTIONS & codes:\n"
        "                    raise StoreRefused(code) from error\n",
        "",
        f"{IN_STORE}test_a_cancelled_transaction_is_judged_by_its_reasons",
    ),
    Edit(
        "a put that meets a transaction is an outage",
        STORE,
        '("ConditionalCheckFailedException", "TransactionConflictException")',
        '("ConditionalCheckFailedException",)',
        f"{IN_STORE}test_a_write_that_meets_another_one_is_a_conflict",
    ),
    Edit(
        "a put that meets a transaction is a refusal",
        STORE,
        'code in ("ConditionalCheckFailedException", "TransactionConflictException"):',
        'code == "TransactionConflictException":\n'
        "                raise StoreRefused(code) from error\n"
        '            if code == "ConditionalCheckFailedException":',
        f"{IN_STORE}test_a_write_that_meets_another_one_is_a_conflict",
    ),
    Edit(
        "a write that DynamoDB throttles counts as done",
        STORE,
        "            if code in _REFUSALS:\n",
        '            if code == "ThrottlingException":\n'
        "                return\n"
        "            if code in _REFUSALS:\n",
        f"{IN_STORE}test_no_error_of_dynamodb_is_taken_for_a_success_or_for_another_error"
        "[ThrottlingException-StoreUnavailable-commit]",
    ),
    Edit(
        "a write that DynamoDB throttles is refused for good",
        STORE,
        '_REFUSALS = {"ValidationException",',
        '_REFUSALS = {"ProvisionedThroughputExceededException", "ValidationException",',
        f"{IN_STORE}test_no_error_of_dynamodb_is_taken_for_a_success_or_for_another_error",
    ),
    Edit(
        "a throttled read is an absent row",
        STORE,
        "        with _translated():\n"
        "            answer = self._client.get_item(\n"
        '                TableName=self._table, Key=_serialized({"pk": pk}), '
        "ConsistentRead=consistent\n"
        "            )\n",
        "        answer: Any = {}\n"
        "        try:\n"
        "            answer = self._client.get_item(\n"
        '                TableName=self._table, Key=_serialized({"pk": pk}), '
        "ConsistentRead=consistent\n"
        "            )\n"
        "        except self._client.exceptions.ProvisionedThroughputExceededException:\n"
        "            pass\n",
        f"{IN_STORE}test_no_error_of_dynamodb_is_taken_for_a_success_or_for_another_error"
        "[ProvisionedThroughputExceededException-StoreUnavailable-load]",
    ),
    Edit(
        "what DynamoDB refuses for good is an outage",
        STORE,
        "            if code in _REFUSALS:\n                raise StoreRefused(code) from error\n",
        "",
        f"{IN_STORE}test_no_error_of_dynamodb_is_taken_for_a_success_or_for_another_error",
    ),
    Edit(
        "an AWS that cannot be reached is an unexpected error",
        AWS_ERRORS,
        "    except BotoCoreError as error:\n"
        "        raise unavailable(type(error).__name__) from error\n",
        "",
        f"{IN_STORE}test_a_dynamodb_that_cannot_be_reached_is_unavailable",
    ),
)
