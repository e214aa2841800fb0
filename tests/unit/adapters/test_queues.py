"""SQS: each call as it is sent, and what the worker receives of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from billing.adapters.queues import SqsQueues
from billing.batch import Message
from billing.errors import QueueUnavailable
from tests.unit.adapters.aws import client
from tests.unit.adapters.wire import Response, Wire, aws_error
from tests.unit.fakes import request

EVENTS = "https://sqs.us-east-1.amazonaws.com/123456789012/events"
DEAD_LETTERS = "https://sqs.us-east-1.amazonaws.com/123456789012/dead-letters"

MESSAGE = Message(id="m1", receipt="r1", body="b", sent_at=0, receives=1)

#: A body whose every character has to arrive: a person may send it again from the queue's console.
UNCHANGED = ' {"key": "CUS#own#test#cus_1",\n"é": "\\u0000"}\t\n'

#: Every method, as (the call, the SQS operation, its request).
CALLS: dict[str, tuple[Callable[[SqsQueues], None], str, dict[str, Any]]] = {
    "send": (
        lambda queues: queues.send(request()),
        "SendMessage",
        {"QueueUrl": EVENTS, "MessageBody": request().to_message(), "DelaySeconds": 0},
    ),
    "send later": (
        lambda queues: queues.send(request(), 90),
        "SendMessage",
        {"QueueUrl": EVENTS, "MessageBody": request().to_message(), "DelaySeconds": 90},
    ),
    "hide": (
        lambda queues: queues.hide(MESSAGE, 240),
        "ChangeMessageVisibility",
        {"QueueUrl": EVENTS, "ReceiptHandle": "r1", "VisibilityTimeout": 240},
    ),
    "dead_letter": (
        lambda queues: queues.dead_letter(UNCHANGED, "customer_not_found"),
        "SendMessage",
        {
            "QueueUrl": DEAD_LETTERS,
            "MessageBody": UNCHANGED,
            "MessageAttributes": {
                "reason": {"DataType": "String", "StringValue": "customer_not_found"}
            },
        },
    ),
}


def call(wire: Wire, name: str) -> None:
    CALLS[name][0](SqsQueues(client("sqs", wire), EVENTS, DEAD_LETTERS))


@pytest.mark.parametrize("name", CALLS)
def test_each_call_to_sqs_is_one_request_for_the_right_queue(wire: Wire, name: str) -> None:
    call(wire, name)
    _, operation, sent = CALLS[name]
    assert wire.only.operation == operation
    assert wire.only.json == sent


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "response",
    [
        aws_error("ThrottlingException"),
        aws_error("RequestThrottled"),
        aws_error("OverLimit"),
        aws_error("QueueDoesNotExist"),
        aws_error("AccessDeniedException"),
        aws_error("MessageNotInflight"),
        Response({}, 503),
    ],
    ids=lambda response: response.body.get("__type", "503"),
)
def test_no_error_of_sqs_is_taken_for_a_success(wire: Wire, name: str, response: Response) -> None:
    wire.responds(response)
    with pytest.raises(QueueUnavailable):
        call(wire, name)


@pytest.mark.parametrize("name", CALLS)
def test_an_sqs_that_cannot_be_reached_is_unavailable(wire: Wire, name: str) -> None:
    wire.url = "http://127.0.0.1:9"
    with pytest.raises(QueueUnavailable, match="EndpointConnectionError"):
        call(wire, name)


def test_the_worker_can_read_what_the_queues_send(aws: None) -> None:
    sqs = client("sqs")
    events = sqs.create_queue(QueueName="events")["QueueUrl"]
    dead_letters = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    queues = SqsQueues(sqs, events, dead_letters)
    queues.send(request())
    queues.send(request("evt_later"), 900)
    (received,) = sqs.receive_message(
        QueueUrl=events, AttributeNames=["All"], MaxNumberOfMessages=10
    )["Messages"]
    message = Message.from_record(
        {
            "messageId": received["MessageId"],
            "receiptHandle": received["ReceiptHandle"],
            "body": received["Body"],
            "attributes": received["Attributes"],
        }
    )
    assert message.body == request().to_message()
    assert message.receives == 1
    queues.hide(message, 0)
    assert sqs.receive_message(QueueUrl=events)["Messages"]
    queues.dead_letter("the body", "its reason")
    (stored,) = sqs.receive_message(QueueUrl=dead_letters, MessageAttributeNames=["All"])[
        "Messages"
    ]
    assert stored["Body"] == "the body"
    assert stored["MessageAttributes"]["reason"]["StringValue"] == "its reason"
