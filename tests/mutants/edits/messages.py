"""What becomes of a message, and of the tasks of a batch."""

from __future__ import annotations

from tests.mutants.edits.edit import PACKAGE, UNIT, Edit

QUEUES = f"{PACKAGE}/adapters/queues.py"
BATCH = f"{PACKAGE}/batch.py"
SYNC = f"{PACKAGE}/sync.py"
SYNC_REQUEST = f"{PACKAGE}/sync_request.py"

IN_QUEUES = f"{UNIT}/adapters/test_queues.py::"
IN_WIRING = f"{UNIT}/adapters/test_wiring.py::"
IN_POOL = f"{UNIT}/test_pool_wire.py::"
IN_BATCH = f"{UNIT}/test_batch.py::"

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
        "                MessageAttributes="
        '{"reason": {"DataType": "String", "StringValue": reason}},\n',
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
        f"{IN_BATCH}test_a_message_that_cannot_be_dead_lettered_is_deferred",
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
        "a row is dated by the later clock",
        SYNC,
        "as_of, latest = sorted(",
        "latest, as_of = sorted(",
        f"{UNIT}/test_sync.py::test_a_row_is_dated_by_the_earlier_of_the_two_clocks",
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
