"""Mistakes of one place in the code or in the template, each with the test that must notice it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """A mistake: `old` occurs once in `file`, and `new` takes its place.

    `killed_by` is the test that fails then, as pytest names it; all cases of it if none is named.
    """

    name: str
    file: str
    old: str
    new: str
    killed_by: str

    def applied_to(self, text: str) -> str:
        """The text of the file with the mistake. Raises ValueError unless `old` occurs once."""
        if (found := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: {found} places in {self.file} have the old text")
        return text.replace(self.old, self.new)


TEMPLATE = "template.yaml"
PACKAGE = "layers/billing/billing"

STORE = f"{PACKAGE}/adapters/store.py"
QUEUES = f"{PACKAGE}/adapters/queues.py"
SECRETS = f"{PACKAGE}/adapters/secrets.py"
AWS_ERRORS = f"{PACKAGE}/adapters/aws_errors.py"
STRIPE_CLIENT = f"{PACKAGE}/adapters/stripe_client.py"
STRIPE_API = f"{PACKAGE}/adapters/stripe_api.py"
STRIPE_ACCOUNT = f"{PACKAGE}/adapters/stripe_account.py"
SIGNATURE = f"{PACKAGE}/adapters/signature.py"
WIRING = f"{PACKAGE}/wiring.py"
BATCH = f"{PACKAGE}/batch.py"
SYNC = f"{PACKAGE}/sync.py"
SYNC_REQUEST = f"{PACKAGE}/sync_request.py"
INGEST = f"{PACKAGE}/ingest.py"
ACCESS = f"{PACKAGE}/access.py"
DEBT = f"{PACKAGE}/debt.py"
PROJECTION = f"{PACKAGE}/projection.py"
CUSTOMERS = f"{PACKAGE}/customers.py"
BUYERS = f"{PACKAGE}/checkout/buyers.py"
CHECKOUT = f"{PACKAGE}/checkout/sessions.py"
PORTAL = f"{PACKAGE}/portal/sessions.py"
FLOWS = f"{PACKAGE}/portal/flows.py"
RETURN_URLS = f"{PACKAGE}/return_urls.py"
HTTP = f"{PACKAGE}/http.py"

UNIT = "tests/unit"
IN_STORE = f"{UNIT}/adapters/test_store.py::"
IN_QUEUES = f"{UNIT}/adapters/test_queues.py::"
IN_SECRETS = f"{UNIT}/adapters/test_secrets.py::"
IN_CLIENT = f"{UNIT}/adapters/test_stripe_client.py::"
IN_API = f"{UNIT}/adapters/test_stripe_api.py::"
IN_ACCOUNT = f"{UNIT}/adapters/test_stripe_account.py::"
IN_WIRING = f"{UNIT}/adapters/test_wiring.py::"
IN_POOL = f"{UNIT}/test_pool_wire.py::"
IN_BATCH = f"{UNIT}/test_batch.py::"
IN_INGEST = f"{UNIT}/test_ingest.py::"
IN_SIGNATURE = f"{UNIT}/test_signature.py::"
IN_TEMPLATE = f"{UNIT}/test_template.py::"
IN_PORTAL = f"{UNIT}/test_portal.py::"
IN_ACCESS = f"{UNIT}/test_access.py::"

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
        f"{IN_STORE}test_no_error_of_dynamodb_is_taken_for_a_success_or_for_another_error",
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
        "            raise\n\n\ndef item_size",
        '            if code != "ThrottlingException":\n                raise\n\n\ndef item_size',
        f"{IN_STORE}test_no_error_of_dynamodb_is_taken_for_a_success_or_for_another_error",
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

MESSAGES = (
    Edit(
        "a request is sent without its delay",
        QUEUES,
        "MessageBody=request.to_message(), DelaySeconds=delay",
        "MessageBody=request.to_message()",
        f"{IN_QUEUES}test_each_call_to_sqs_is_one_request_for_the_right_queue",
    ),
    Edit(
        "a message that SQS throttles counts as sent",
        QUEUES,
        "        with raised_as(QueueUnavailable):\n"
        "            self._client.send_message(\n"
        "                QueueUrl=self._events, MessageBody=request.to_message(), "
        "DelaySeconds=delay\n"
        "            )\n",
        "        try:\n"
        "            self._client.send_message(\n"
        "                QueueUrl=self._events, MessageBody=request.to_message(), "
        "DelaySeconds=delay\n"
        "            )\n"
        "        except self._client.exceptions.ClientError:\n"
        "            return\n",
        f"{IN_QUEUES}test_no_error_of_sqs_is_taken_for_a_success",
    ),
    Edit(
        "a message that cannot be hidden counts as hidden",
        QUEUES,
        "        with raised_as(QueueUnavailable):\n"
        "            self._client.change_message_visibility(\n"
        "                QueueUrl=self._events, ReceiptHandle=message.receipt, "
        "VisibilityTimeout=seconds\n"
        "            )\n",
        "        try:\n"
        "            self._client.change_message_visibility(\n"
        "                QueueUrl=self._events, ReceiptHandle=message.receipt, "
        "VisibilityTimeout=seconds\n"
        "            )\n"
        "        except self._client.exceptions.ClientError:\n"
        "            return\n",
        f"{IN_QUEUES}test_no_error_of_sqs_is_taken_for_a_success",
    ),
    Edit(
        "a message is hidden for no time",
        QUEUES,
        "VisibilityTimeout=seconds",
        "VisibilityTimeout=0",
        f"{IN_QUEUES}test_each_call_to_sqs_is_one_request_for_the_right_queue",
    ),
    Edit(
        "a dead letter has no reason",
        QUEUES,
        '                MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},\n',
        "",
        f"{IN_QUEUES}test_each_call_to_sqs_is_one_request_for_the_right_queue",
    ),
    Edit(
        "a dead letter's body is changed",
        QUEUES,
        "MessageBody=body,",
        "MessageBody=body.strip(),",
        f"{IN_QUEUES}test_each_call_to_sqs_is_one_request_for_the_right_queue",
    ),
    Edit(
        "a dead letter goes to the worker again",
        QUEUES,
        "QueueUrl=self._dead_letters,",
        "QueueUrl=self._events,",
        f"{IN_QUEUES}test_each_call_to_sqs_is_one_request_for_the_right_queue",
    ),
    Edit(
        "a copy of a message does not say that the customer was not found",
        SYNC_REQUEST,
        '        if self.not_found:\n            message["not_found"] = True\n',
        "",
        f"{IN_BATCH}test_a_message_for_an_unknown_customer_is_deferred_and_then_dead_lettered",
    ),
    Edit(
        "a copy is not marked after a 404",
        BATCH,
        "replace(request, not_found=True)",
        "request",
        f"{IN_BATCH}test_a_message_for_an_unknown_customer_is_deferred_and_then_dead_lettered",
    ),
    Edit(
        "a message is acknowledged although it could not be dead-lettered",
        BATCH,
        "        except Unavailable:\n"
        "            self._defer(message, backoff(message.receives, self.jitter()), deferred)\n"
        "        else:\n",
        "        except Unavailable:\n            pass\n        else:\n",
        f"{IN_BATCH}test_a_message_stays_on_the_queue_if_it_cannot_be_dead_lettered",
    ),
    Edit(
        "a body is tidied before it is dead-lettered",
        BATCH,
        "self.queue.dead_letter(message.body, reason)",
        "self.queue.dead_letter(message.body.strip(), reason)",
        f"{IN_WIRING}test_an_unreadable_message_is_dead_lettered_in_its_own_queue",
    ),
    Edit(
        "what the table refuses for good is tried for three days",
        BATCH,
        "        except StoreRefused as error:\n"
        "            for message in messages:\n"
        '                self._dead_letter(message, f"StoreRefused {error.reason}", deferred)\n',
        "",
        f"{IN_BATCH}test_what_the_table_refuses_for_good_is_dead_lettered_at_once_with_dynamodbs_code",
    ),
    Edit(
        "a message for which no time was left is dead-lettered",
        BATCH,
        "            self._out_of_time(messages, deferred)\n",
        "            for message in messages:\n"
        '                self._dead_letter(message, "OutOfTime", deferred)\n',
        f"{IN_BATCH}test_without_time_left_the_messages_go_back_to_the_queue_at_once",
    ),
    Edit(
        "a message is given up after a number of receives",
        BATCH,
        "if self.clock() - message.sent_at > limit:",
        "if message.receives > 100:",
        f"{IN_BATCH}test_without_stripe_a_message_is_deferred_for_three_days_regardless_of_its_receives",
    ),
    Edit(
        "an unexpected error of one customer ends the whole batch",
        BATCH,
        "        except Exception as error:",
        "        except KeyboardInterrupt as error:",
        f"{IN_BATCH}test_an_unexpected_error_dead_letters_only_the_messages_of_that_customer",
    ),
    Edit(
        "one id in two accounts is one customer",
        BATCH,
        "by_key.setdefault(request.key, [])",
        "by_key.setdefault(request.key._replace(account='own'), [])",
        f"{IN_BATCH}test_the_same_customer_id_in_two_modes_or_accounts_is_two_customers",
    ),
    Edit(
        "the history names the first event of a batch",
        SYNC,
        "return max(requests, key=lambda request: request.up_to).cause",
        "return requests[0].cause",
        f"{IN_WIRING}test_the_history_names_the_latest_of_the_events_that_a_batch_brings",
    ),
    Edit(
        "a Date far ahead of our clock is believed",
        SYNC,
        "            if fetched.as_of > self.clock() + MAX_AHEAD_SECONDS:\n"
        '                raise StripeUnavailable("its Date is more than an hour ahead of our clock")\n',
        "",
        f"{UNIT}/test_sync.py::"
        "test_a_date_far_ahead_of_our_clock_counts_as_stripe_being_unavailable",
    ),
)

POOL = (
    Edit(
        "the pool swallows exceptions",
        BATCH,
        "        future.result()\n",
        "        future.exception()\n",
        f"{IN_BATCH}test_an_exception_of_a_task_surfaces_once_all_tasks_have_ended",
    ),
    Edit(
        "the pool looks at its first task only",
        BATCH,
        "    for future in futures:\n        future.result()\n",
        "    futures[0].result()\n",
        f"{IN_POOL}test_all_tasks_run_although_one_fails_and_its_exception_reaches_the_caller",
    ),
    Edit(
        "the pool does not wait for the other tasks after a failure",
        BATCH,
        "    wait(futures)\n",
        "",
        f"{IN_BATCH}test_an_exception_of_a_task_surfaces_once_all_tasks_have_ended",
    ),
    Edit(
        "the tasks of a batch run one after the other",
        BATCH,
        "futures = [_POOL.submit(task) for task in tasks]\n    wait(futures)",
        "futures = []\n"
        "    for task in tasks:\n"
        "        futures.append(_POOL.submit(task))\n"
        "        wait(futures)",
        f"{IN_BATCH}test_at_most_five_customers_are_synced_concurrently",
    ),
    Edit(
        "each batch has threads of its own, and so connections",
        BATCH,
        "futures = [_POOL.submit(task) for task in tasks]",
        "futures = [ThreadPoolExecutor(MAX_PARALLEL_SYNCS).submit(task) for task in tasks]",
        f"{IN_BATCH}test_the_batches_of_a_process_share_five_connections_to_stripe",
    ),
)

KEYS_AND_SECRETS = (
    Edit(
        "a secret is cached for ever",
        SECRETS,
        "if age >= CACHE_SECONDS:",
        "if not self._values:",
        f"{IN_SECRETS}test_a_secret_is_cached_for_minutes_and_refreshed_at_most_once_a_minute",
    ),
    Edit(
        "a secret is read for each call",
        SECRETS,
        "if age >= CACHE_SECONDS:",
        "if age >= 0:",
        f"{IN_WIRING}test_the_api_key_is_read_once_for_many_events_and_again_after_minutes",
    ),
    Edit(
        "an outage of Secrets Manager stops everything at once",
        SECRETS,
        "                if age >= MAX_AGE_SECONDS:\n                    raise\n",
        "                raise\n",
        f"{IN_SECRETS}"
        "test_a_known_secret_is_used_for_an_hour_while_secrets_manager_does_not_answer",
    ),
    Edit(
        "a revoked secret is used for as long as Secrets Manager is down",
        SECRETS,
        "if age >= MAX_AGE_SECONDS:",
        "if not self._values:",
        f"{IN_SECRETS}"
        "test_a_known_secret_is_used_for_an_hour_while_secrets_manager_does_not_answer",
    ),
    Edit(
        "every forged webhook reads the secret",
        SECRETS,
        "if now - self._forced_at >= MIN_REFRESH_SECONDS and now > self._read_at:",
        "if now > self._read_at:",
        f"{IN_SECRETS}test_a_secret_is_cached_for_minutes_and_refreshed_at_most_once_a_minute",
    ),
    Edit(
        "a signing secret whose read is throttled is replaced",
        SECRETS,
        '        "AccessDeniedException",\n    )',
        '        "AccessDeniedException",\n        "ThrottlingException",\n    )',
        f"{IN_SECRETS}test_only_an_absent_signing_secret_counts_as_missing",
    ),
    Edit(
        "a newline is part of a secret",
        SECRETS,
        "tuple(value.strip() for value in values if value.strip())",
        "tuple(value for value in values if value.strip())",
        f"{IN_SECRETS}test_a_secret_is_a_plain_string_or_a_json_list",
    ),
    Edit(
        "the first API key is used for ever",
        WIRING,
        "    return StripeApi(lambda: connect(key.current()[0]))\n",
        "    first = cache(lambda: connect(key.current()[0]))\n    return StripeApi(first)\n",
        f"{IN_WIRING}test_the_api_key_is_read_once_for_many_events_and_again_after_minutes",
    ),
    Edit(
        "a refused key is taken from the cache again",
        WIRING,
        "refreshed_key=lambda: key.refreshed()[0],",
        "refreshed_key=lambda: key.current()[0],",
        f"{IN_WIRING}test_a_key_that_was_rotated_is_used_as_soon_as_stripe_refuses_the_old_one",
    ),
    Edit(
        "a refused key is not read again",
        STRIPE_CLIENT,
        "if response[1] != 401 or",
        "if response[1] != 403 or",
        f"{IN_CLIENT}test_a_refused_key_is_read_again_and_the_call_repeated_once_if_it_has_changed",
    ),
    Edit(
        "a call that is repeated with a new key loses its idempotency key",
        STRIPE_CLIENT,
        '{**headers, "Authorization": authorization}',
        '{"Authorization": authorization}',
        f"{IN_CLIENT}test_a_refused_key_is_read_again_and_the_call_repeated_once_if_it_has_changed",
    ),
    Edit(
        "the API key is printed",
        STRIPE_CLIENT,
        '        if authorization == headers["Authorization"]:',
        '        print(authorization)\n        if authorization == headers["Authorization"]:',
        f"{IN_WIRING}test_no_api_key_is_ever_printed_or_logged",
    ),
    Edit(
        "the first of several signing secrets is the only one",
        SIGNATURE,
        "for secret in secrets):",
        "for secret in list(secrets)[:1]):",
        f"{IN_SIGNATURE}test_each_of_several_secrets_verifies_a_signature",
    ),
    Edit(
        "a signature is valid for ever",
        SIGNATURE,
        "if age > TOLERANCE_SECONDS:",
        "if age > 100 * TOLERANCE_SECONDS:",
        f"{IN_SIGNATURE}test_a_signature_is_valid_for_the_tolerance_and_no_longer",
    ),
    Edit(
        "a signature from the future is valid",
        SIGNATURE,
        "if age < -CLOCK_SKEW_SECONDS:",
        "if age < -100 * CLOCK_SKEW_SECONDS:",
        f"{IN_SIGNATURE}test_a_signature_from_the_future_is_rejected_beyond_the_allowed_clock_skew",
    ),
    Edit(
        "a body that is not UTF-8 needs no signature",
        SIGNATURE,
        "return any(hmac.compare_digest(expected, found) for found in _SIGNATURE.findall(header))",
        "return bool(expected)",
        f"{IN_SIGNATURE}test_bytes_that_are_not_utf8_verify_by_the_same_scheme",
    ),
)

STRIPE = (
    Edit(
        "requests do not name the API version",
        STRIPE_CLIENT,
        "        stripe_version=api_version,\n",
        "",
        f"{IN_CLIENT}test_every_request_has_the_key_and_the_version_that_it_is_connected_with",
    ),
    Edit(
        "requests do not name the connected account",
        STRIPE_CLIENT,
        "stripe_account=None if account == OWN_ACCOUNT else account,",
        "stripe_account=None,",
        f"{IN_CLIENT}test_a_connected_account_is_named_only_if_one_is_configured",
    ),
    Edit(
        "endpoints are set up in the connected account",
        WIRING,
        "account=StripeAccount(lambda: connect(OWN_ACCOUNT)),",
        "account=StripeAccount(lambda: connect(SETTINGS.account)),",
        f"{IN_WIRING}test_a_deploy_reads_prices_of_the_connected_account_and_sets_the_platform_up",
    ),
    Edit(
        "requests have the library's own timeout of 80 s",
        STRIPE_CLIENT,
        "super().__init__(timeout=timeout)",
        "super().__init__()",
        f"{IN_CLIENT}test_every_request_has_its_timeouts_for_connecting_and_reading",
    ),
    Edit(
        "a person waits as long as the worker",
        WIRING,
        "stripe_client.INTERACTIVE_TIMEOUT_SECONDS if interactive else STRIPE_TIMEOUT_SECONDS",
        "STRIPE_TIMEOUT_SECONDS",
        f"{IN_WIRING}test_a_person_waits_less_long_for_stripe_than_the_worker",
    ),
    Edit(
        "botocore tries as often as it likes",
        WIRING,
        'retries={"mode": "standard", "total_max_attempts": AWS_ATTEMPTS},',
        'retries={"mode": "standard"},',
        f"{IN_WIRING}test_a_call_to_aws_is_tried_twice_and_has_short_timeouts",
    ),
    Edit(
        "the library retries too",
        STRIPE_CLIENT,
        "    retries: int = 0,\n",
        "    retries: int = 2,\n",
        f"{IN_CLIENT}test_the_library_repeats_nothing_by_itself_unless_it_is_told_to",
    ),
    Edit(
        "each call opens a connection",
        WIRING,
        "    @cache\n    def connect(api_key: str) -> Any:\n",
        "    def connect(api_key: str) -> Any:\n",
        f"{IN_WIRING}test_the_worker_keeps_its_connections_to_stripe",
    ),
    Edit(
        "a page has no limit",
        STRIPE_CLIENT,
        'return {"limit": MAX_PAGE_SIZE}\n',
        "return {}\n",
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "every page is the first",
        STRIPE_CLIENT,
        'return {"limit": MAX_PAGE_SIZE, "starting_after": after}',
        'return {"limit": MAX_PAGE_SIZE}',
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "any 404 is an object that Stripe does not have",
        STRIPE_CLIENT,
        'return error.code == "resource_missing"',
        "return error.http_status == 404",
        f"{IN_API}test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found",
    ),
    Edit(
        "any refusal of a list is an empty list",
        STRIPE_CLIENT,
        '            if is_missing(error):\n                return {"data": [], "has_more": False}\n'
        "            raise\n",
        '            return {"data": [], "has_more": False}\n',
        f"{IN_API}test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found",
    ),
    Edit(
        "any refusal of an object is its absence",
        STRIPE_CLIENT,
        "            if is_missing(error):\n                return None\n            raise\n",
        "            return None\n",
        f"{IN_API}test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found",
    ),
    Edit(
        "any refusal of a customer is a customer that is not found",
        STRIPE_API,
        "                if is_missing(error):\n"
        "                    raise CustomerNotFound(customer_id) from error\n"
        "                raise\n"
        "        return plain(found), date_of(found)\n",
        "                raise CustomerNotFound(customer_id) from error\n"
        "        return plain(found), date_of(found)\n",
        f"{IN_API}test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found",
    ),
    Edit(
        "a list is empty while Stripe limits our rate",
        STRIPE_CLIENT,
        "        except stripe.InvalidRequestError as error:\n"
        "            if is_missing(error):\n"
        '                return {"data": [], "has_more": False}\n',
        "        except stripe.RateLimitError:\n"
        '            return {"data": [], "has_more": False}\n'
        "        except stripe.InvalidRequestError as error:\n"
        "            if is_missing(error):\n"
        '                return {"data": [], "has_more": False}\n',
        f"{IN_API}test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found",
    ),
    Edit(
        "Stripe refuses us while it limits our rate",
        STRIPE_CLIENT,
        "    except (stripe.RateLimitError, stripe.APIConnectionError) as error:\n",
        "    except stripe.RateLimitError as error:\n"
        '        raise StripeRefused(429, error.code, None, "RateLimitError") from error\n'
        "    except stripe.APIConnectionError as error:\n",
        f"{IN_CLIENT}test_the_status_of_an_error_decides_which_error_is_raised",
    ),
    Edit(
        "a 409 of Stripe's is a refusal",
        STRIPE_CLIENT,
        "status in (0, 409, 429)",
        "status in (0, 429)",
        f"{IN_CLIENT}test_the_status_of_an_error_decides_which_error_is_raised",
    ),
    Edit(
        "a failure of Stripe's is a refusal",
        STRIPE_CLIENT,
        "if status >= 500 or status in",
        "if status in",
        f"{IN_CLIENT}test_the_status_of_an_error_decides_which_error_is_raised",
    ),
    Edit(
        "Stripe's own text is reported",
        STRIPE_CLIENT,
        'getattr(error, "param", None), type(error).__name__',
        'getattr(error, "param", None), str(error)',
        f"{IN_CLIENT}test_a_refusal_has_stripes_status_code_and_parameter_and_none_of_its_text",
    ),
    Edit(
        "a series of idempotency keys has one key",
        STRIPE_CLIENT,
        'f"{key}-{number}"',
        'f"{key}-0"',
        f"{IN_CLIENT}test_after_a_recorded_failure_the_next_key_of_the_series_is_used",
    ),
    Edit(
        "a recorded failure is an ordinary one",
        STRIPE_CLIENT,
        '        if any(name.lower() == "idempotent-replayed" for name in headers):\n'
        '            raise _RecordedFailure(f"{type(error).__name__} {status}") from error\n',
        "",
        f"{IN_CLIENT}test_after_a_recorded_failure_the_next_key_of_the_series_is_used",
    ),
    Edit(
        "a person's call is not tried again",
        STRIPE_CLIENT,
        "        time.sleep(random.uniform(0.2, 0.6))  "
        "# noqa: S311 (spreads retries, guards nothing)\n"
        "        return call()\n",
        "        raise\n",
        f"{IN_CLIENT}test_a_call_for_which_a_person_waits_is_repeated_once_and_is_the_same_then",
    ),
    *(
        Edit(
            f"a customer is read without {name}",
            STRIPE_API,
            f'    "{name}",\n',
            "",
            f"{IN_API}test_an_object_is_read_in_one_request_with_what_is_expanded",
        )
        for name in (
            "default_source",
            "invoice_settings.default_payment_method",
            "subscriptions.data.default_payment_method",
            "subscriptions.data.default_source",
            "tax_ids",
            "test_clock",
        )
    ),
    Edit(
        "further subscriptions are read without their payment methods",
        STRIPE_API,
        'self._v1.subscriptions.list, after, {"customer": customer_id, "expand": expand}',
        'self._v1.subscriptions.list, after, {"customer": customer_id}',
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "the subscriptions of every customer are read",
        STRIPE_API,
        'self._v1.subscriptions.list, after, {"customer": customer_id, "expand": expand}',
        'self._v1.subscriptions.list, after, {"expand": expand}',
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "the entitlements of every customer are read",
        STRIPE_API,
        'list_page(entitlements.list, after, {"customer": customer_id})',
        "list_page(entitlements.list, after, {})",
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "the invoices of every subscription are read",
        STRIPE_API,
        'list_page(self._v1.invoices.list, after, {"subscription": subscription})',
        "list_page(self._v1.invoices.list, after, {})",
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "the open sessions of every customer are listed",
        STRIPE_API,
        'parameters = {"customer": customer_id, "status": "open", "expand": expand}',
        'parameters = {"status": "open", "expand": expand}',
        f"{IN_API}test_all_open_checkout_sessions_are_listed_and_no_others",
    ),
    Edit(
        "sessions that have ended are listed as open",
        STRIPE_API,
        'parameters = {"customer": customer_id, "status": "open", "expand": expand}',
        'parameters = {"customer": customer_id, "expand": expand}',
        f"{IN_API}test_all_open_checkout_sessions_are_listed_and_no_others",
    ),
    Edit(
        "the newest sessions of every customer are read",
        STRIPE_API,
        '            "customer": customer_id,\n            "limit": NEWEST_SESSIONS,\n',
        '            "limit": NEWEST_SESSIONS,\n',
        f"{IN_API}test_the_newest_checkout_sessions_are_read_in_one_call",
    ),
    Edit(
        "a trial is given again after its subscription has ended",
        STRIPE_API,
        'parameters = {"customer": customer_id, "status": "all"}',
        'parameters = {"customer": customer_id}',
        f"{IN_API}test_all_subscriptions_of_a_customer_are_read_with_all_their_items",
    ),
    Edit(
        "a living customer is read without its expansions",
        STRIPE_API,
        '            if not getattr(found, "deleted", False):\n                raise\n',
        "",
        f"{IN_API}test_a_living_customer_is_never_read_without_its_expansions",
    ),
    Edit(
        "what a user types becomes part of a path",
        STRIPE_API,
        "        if not _PRICE_ID.fullmatch(name):\n            return None\n",
        "",
        f"{IN_API}test_a_name_that_cannot_be_an_id_is_never_part_of_a_path",
    ),
    Edit(
        "an archived price is sold by its lookup key",
        STRIPE_API,
        '"lookup_keys": lookup_keys, "active": True,',
        '"lookup_keys": lookup_keys,',
        f"{IN_API}test_prices_are_found_by_ten_lookup_keys_per_call_or_by_id",
    ),
    Edit(
        "an archived price is sold by its id",
        STRIPE_API,
        ' and price["active"]:',
        ":",
        f"{IN_API}test_prices_are_found_by_ten_lookup_keys_per_call_or_by_id",
    ),
    Edit(
        "whatever a portal session lacks is its customer",
        STRIPE_API,
        'if is_missing(error) and error.param in ("customer", "id"):',
        "if is_missing(error):",
        f"{IN_API}test_a_portal_session_raises_customer_not_found_only_for_a_missing_customer",
    ),
    Edit(
        "each attempt to create a portal session has its own key",
        STRIPE_API,
        "                        for_library(parameters), options\n",
        '                        for_library(parameters), {"idempotency_key": str(uuid4())}\n',
        f"{IN_CLIENT}test_a_call_for_which_a_person_waits_is_repeated_once_and_is_the_same_then",
    ),
    Edit(
        "a replayed session is returned as it was",
        STRIPE_API,
        '(self.retrieve_checkout_session(session["id"]) or session) if replayed else session',
        "session",
        f"{IN_API}test_a_replayed_session_is_read_again_as_it_is_now",
    ),
    Edit(
        "a session that was paid is said to be expired",
        STRIPE_API,
        "                    return False\n",
        "                    return True\n",
        f"{IN_API}test_a_session_that_is_no_longer_open_is_not_said_to_be_expired",
    ),
    Edit(
        "an endpoint that Stripe does not delete counts as deleted",
        STRIPE_ACCOUNT,
        "                if not is_missing(error):\n                    raise\n",
        "                is_missing(error)\n",
        f"{IN_ACCOUNT}test_a_missing_endpoint_counts_as_deleted_and_any_other_refusal_is_an_error",
    ),
)

FACTS = (
    Edit(
        "an uncollectible invoice is not owed",
        DEBT,
        'UNPAID = frozenset({"open", "uncollectible"})',
        'UNPAID = frozenset({"open"})',
        f"{UNIT}/test_debt.py::test_the_debt_begins_with_the_oldest_unpaid_invoice_of_the_run",
    ),
    Edit(
        "a draft is owed",
        DEBT,
        'UNPAID = frozenset({"open", "uncollectible"})',
        'UNPAID = frozenset({"open", "uncollectible", "draft"})',
        f"{UNIT}/test_past_due_wire.py::"
        "test_the_debt_begins_with_the_oldest_invoice_that_still_asks_for_money",
    ),
    Edit(
        "the subject is always in the default metadata key",
        PROJECTION,
        "claim = metadata.get(subject_metadata_key) or None",
        'claim = metadata.get("user_id") or None',
        f"{IN_WIRING}test_the_worker_sends_what_one_event_needs_in_the_order_that_loses_nothing",
    ),
    Edit(
        "a buyer is named under the default metadata key",
        BUYERS,
        "            self.subject_metadata_key: subject,\n",
        '            "user_id": subject,\n',
        f"{IN_WIRING}test_checkout_names_subject_and_issuer_under_the_configured_metadata_key",
    ),
    Edit(
        "the issuer is always in the default metadata key",
        PROJECTION,
        'return f"{subject_metadata_key}_issuer"',
        'return "user_id_issuer"',
        f"{IN_WIRING}test_checkout_names_subject_and_issuer_under_the_configured_metadata_key",
    ),
    Edit(
        "a new customer does not name its issuer",
        BUYERS,
        "            issuer_key(self.subject_metadata_key): self.issuers[0],\n",
        "",
        f"{IN_WIRING}test_checkout_names_subject_and_issuer_under_the_configured_metadata_key",
    ),
    Edit(
        "an idempotency key without the issuer",
        BUYERS,
        '"customer", self.mode, json.dumps(metadata), deleted.id',
        '"customer", self.mode, subject, deleted.id',
        f"{IN_WIRING}"
        "test_only_the_same_subject_of_the_same_issuer_and_mode_gets_the_same_new_customer",
    ),
    Edit(
        "an idempotency key without the mode",
        BUYERS,
        '"customer", self.mode, json.dumps(metadata), deleted.id',
        '"customer", json.dumps(metadata), deleted.id',
        f"{IN_WIRING}"
        "test_only_the_same_subject_of_the_same_issuer_and_mode_gets_the_same_new_customer",
    ),
    Edit(
        "an idempotency key without the customer that was deleted",
        BUYERS,
        'deleted.id if deleted else ""',
        '""',
        f"{UNIT}/test_checkout.py::"
        "test_a_purchase_after_the_customer_is_deleted_creates_a_new_customer",
    ),
    Edit(
        "an idempotency key without the session before",
        CHECKOUT,
        'idempotency_key("session", row.key.id, product, earlier.newest)',
        'idempotency_key("session", row.key.id, product)',
        f"{UNIT}/test_checkout.py::"
        "test_another_quantity_price_or_url_ends_the_open_session_and_creates_another",
    ),
    Edit(
        "a scheduled end is not obeyed",
        ACCESS,
        "end = until if subscription.cancel_at is None else min(until, subscription.cancel_at)",
        "end = until",
        f"{IN_ACCESS}test_a_scheduled_end_ends_access_exactly_at_that_time",
    ),
    Edit(
        "a scheduled end lengthens what was paid for",
        ACCESS,
        "end = until if subscription.cancel_at is None else min(until, subscription.cancel_at)",
        "end = until if subscription.cancel_at is None else subscription.cancel_at",
        f"{IN_ACCESS}test_a_scheduled_end_after_the_paid_period_extends_nothing",
    ),
    Edit(
        "a declined upgrade is given in grace",
        ACCESS,
        "items = [(item, debt.since + grace) for item in debt.paid]",
        "items = [(item, debt.since + grace) for item in subscription.items]",
        f"{IN_ACCESS}test_past_due_gives_what_was_paid_for_until_the_grace_days_after_the_debt_began",
    ),
    Edit(
        "a new status of Stripe's gives access",
        ACCESS,
        "return STANDINGS.get(status, Standing.UNKNOWN)",
        "return STANDINGS.get(status, Standing.PAID)",
        f"{IN_ACCESS}test_a_status_that_stripe_adds_is_held_and_gives_no_access",
    ),
)

WEBHOOKS = (
    Edit(
        "events of the other mode are ingested",
        INGEST,
        "if event.livemode != self.livemode or event.account",
        "if event.account",
        f"{IN_INGEST}test_events_of_the_other_mode_or_of_an_unknown_account_are_dropped",
    ),
    Edit(
        "events of every account are ingested",
        INGEST,
        " or event.account != self.account:",
        ":",
        f"{IN_INGEST}test_events_of_the_other_mode_or_of_an_unknown_account_are_dropped",
    ),
    Edit(
        "a webhook is answered 200 although SQS does not have it",
        INGEST,
        "                self.queue.send(request)\n",
        "                try:\n"
        "                    self.queue.send(request)\n"
        "                except Exception:\n"
        '                    self.report("RequestFailed")\n',
        f"{IN_INGEST}test_a_webhook_fails_if_sqs_does_not_accept_its_message",
    ),
    Edit(
        "an unreadable webhook is answered 200 and forgotten",
        INGEST,
        '        self.queue.dead_letter(text, f"{reason}{cut}{encoding}")\n',
        "",
        f"{IN_INGEST}test_a_signed_but_unreadable_webhook_is_dead_lettered_with_its_reason",
    ),
    Edit(
        "a signing secret that was rolled is not read again",
        INGEST,
        "secrets = self.secrets.refreshed()",
        "secrets = self.secrets.current()",
        f"{IN_INGEST}test_a_secret_that_has_been_rolled_is_read_again",
    ),
    Edit(
        "the audit line has the portal session's URL",
        INGEST,
        'session=event.object.get("id"),',
        'session=event.object.get("url"),',
        f"{IN_INGEST}test_a_portal_session_leaves_an_audit_line_without_its_url",
    ),
)

READERS = (
    Edit(
        "a deleted customer has access",
        CUSTOMERS,
        "            if row.deleted:\n                return None\n",
        "",
        f"{UNIT}/test_link.py::"
        "test_a_reader_does_not_look_behind_a_deleted_customer_that_holds_the_subject",
    ),
    Edit(
        "a deleted customer has access while its link is known",
        CUSTOMERS,
        "if row.subject == subject and not row.deleted:",
        "if row.subject == subject:",
        f"{IN_WIRING}test_a_tombstone_gives_nothing_although_its_link_is_known",
    ),
    Edit(
        "a link gives access to another subject's row",
        CUSTOMERS,
        "            if row.subject != subject:\n                continue\n",
        "",
        f"{IN_PORTAL}test_a_link_to_a_row_with_another_subject_finds_no_customer",
    ),
    Edit(
        "a known link gives access to another subject's row",
        CUSTOMERS,
        "if row.subject == subject and not row.deleted:",
        "if not row.deleted:",
        f"{IN_PORTAL}test_a_link_to_a_row_with_another_subject_finds_no_customer",
    ),
    Edit(
        "the portal changes another customer's subscription",
        PORTAL,
        'if subscription is None or subscription["customer"] != customer_id:',
        "if subscription is None:",
        f"{IN_PORTAL}test_a_subscription_that_is_not_the_callers_own_is_a_404",
    ),
    Edit(
        "the portal changes an item of another subscription",
        FLOWS,
        '        if not own.issuperset(item["id"] for item in flow["items"]):\n'
        '            raise NotFound("Your subscription has no such item.")\n',
        "",
        f"{IN_PORTAL}test_an_item_of_another_subscription_is_a_404",
    ),
    Edit(
        "every coupon of the account can be taken",
        PORTAL,
        "            check_coupons(flow, self.configuration)\n",
        "",
        f"{IN_PORTAL}test_a_coupon_that_the_deployment_does_not_offer_is_refused",
    ),
    Edit(
        "a portal configuration of another plan can be named",
        PORTAL,
        "if not named.serves(products, features):",
        "if named is None:",
        f"{IN_PORTAL}test_a_named_configuration_is_refused_if_its_rule_does_not_match_the_customer",
    ),
    Edit(
        "a flow ends wherever the request says",
        PORTAL,
        "                self.return_urls.checked(\n"
        '                    flow["after_completion"]["return_url"], '
        '"flow.after_completion.return_url"\n'
        "                )\n",
        "                pass\n",
        f"{IN_PORTAL}test_after_completion_redirects_only_to_allowed_origins",
    ),
    Edit(
        "an allowed origin is a prefix",
        RETURN_URLS,
        "if origin not in {_origin(urlsplit(allowed)) for allowed in self.allowed_origins}:",
        "if not url.startswith(self.allowed_origins):",
        f"{UNIT}/test_return_urls.py::test_every_other_url_is_refused",
    ),
    Edit(
        "a listed localhost is allowed in prod",
        RETURN_URLS,
        'scheme == "http" and host in _LOCALHOSTS and self.stage == "dev"',
        'scheme == "http" and host in _LOCALHOSTS',
        f"{UNIT}/test_return_urls.py::"
        "test_http_is_allowed_only_for_a_listed_localhost_in_stage_dev",
    ),
    Edit(
        "another subject's checkout session is returned",
        CHECKOUT,
        ' or session["customer"] != customer.id:',
        ":",
        f"{UNIT}/test_checkout.py::test_a_session_that_is_not_the_callers_own_is_a_404",
    ),
    Edit(
        "a product that is held is sold again",
        CHECKOUT,
        "        if held is not None:\n            refusal",
        "        if held is None:\n            return\n        if row.deleted:\n            refusal",
        f"{UNIT}/test_checkout.py::test_a_product_that_is_held_is_not_sold_again",
    ),
    Edit(
        "a scope is found within another one",
        HTTP,
        'return granted.split(" ")',
        "return [granted[start:end] for end in range(len(granted) + 1) for start in range(end)]",
        f"{UNIT}/test_http.py::test_a_scope_is_one_whole_word_between_spaces",
    ),
    Edit(
        "an unexpected error's text is returned",
        HTTP,
        '"An unexpected error happened on our side and was logged. Try again later.",',
        "str(error),",
        f"{UNIT}/test_http.py::"
        "test_an_unexpected_error_is_counted_and_logged_but_its_text_is_not_returned",
    ),
)

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

EDITS = (
    *TABLE,
    *MESSAGES,
    *POOL,
    *KEYS_AND_SECRETS,
    *STRIPE,
    *FACTS,
    *WEBHOOKS,
    *READERS,
    *DEPLOYMENT,
)
