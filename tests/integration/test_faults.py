"""Faults that must lose nothing, on the deployed template: a killed worker, a failing Stripe, a
stale read, unprocessable messages.
"""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.journey import Journey, eventually
from local.stack import LocalStack
from tests.integration.deliveries import dead_letters, post, worker_paused
from tests.integration.truth import differing, stored

VISIBILITY_SECONDS = 4


@pytest.fixture
def short_visibility(stack: LocalStack) -> Iterator[None]:
    """The messages of a killed worker become visible after seconds, not the template's minutes."""
    sqs, url = stack.client("sqs"), stack.deployment.event_queue_url
    name = "VisibilityTimeout"
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={name: str(VISIBILITY_SECONDS)})
    yield
    sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


def workers(stack: LocalStack, function: str) -> list[int]:
    """Return the processes of this stack's engine that run a function."""
    process = stack.engine._process
    assert process is not None
    variable = f"AWS_LAMBDA_FUNCTION_NAME={stack.deployment.functions[function]}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and variable in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue  # the process has ended, or it belongs to another user
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the worker in /proc")
@pytest.mark.usefixtures("short_visibility")
def test_a_worker_killed_in_the_middle_of_a_batch_loses_nothing(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    people = [begin(plan="starter_monthly") for _ in range(4)]
    stack.wait_until_quiet()
    before = {person.customer: stored(stack, person.customer) for person in people}
    slow = people[0].customer
    with worker_paused(stack):
        for person in people:
            stack.stripe.v1.subscriptions.cancel(person.subscription)
        assert stack.control.wait_until_quiet()
        stack.control.clear_requests()
        stack.control.slow_calls(30, path=f"/v1/customers/{slow}")
    # The other rows are written. This row is not, so no message is acknowledged.
    eventually(
        lambda: [stored(stack, each.customer).revision for each in people[1:]],
        lambda now: now == [before[each.customer].revision + 1 for each in people[1:]],
    )
    assert len(stack.control.requests("GET", f"/v1/customers/{slow}")) == 1
    unacknowledged = stack.queue_depth(stack.deployment.event_queue_url)
    assert unacknowledged >= len(people)
    for pid in workers(stack, "SyncCustomer"):
        os.kill(pid, signal.SIGKILL)
    assert stored(stack, slow) == before[slow]

    stack.wait_until_quiet(timeout=30)
    assert differing(stack, before) == {}
    assert not stored(stack, slow).facts.entitlements
    assert stack.queue_depth(stack.deployment.dead_letter_queue_url) == 0


def test_messages_are_deferred_while_stripe_fails_and_all_are_ingested_afterwards(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    people = [begin(plan="team_monthly") for _ in range(3)]
    stack.wait_until_quiet()
    before = {person.customer: stored(stack, person.customer) for person in people}
    paths = [f"/v1/customers/{person.customer}" for person in people]
    stack.control.clear_requests()
    stack.control.fail_calls(503, count=None, path=paths[0])
    stack.control.fail_calls(429, count=None, path=paths[1])
    stack.control.drop_calls(count=None, path=paths[2])
    for person in people:
        stack.stripe.v1.subscriptions.cancel(
            person.subscription, options={"max_network_retries": 9}
        )
    for path, status in zip(paths, (503, 429, "dropped"), strict=True):
        # The same message causes every attempt: it is neither dropped nor dead-lettered.
        attempts = eventually(lambda path=path: reads(stack, path), lambda now: len(now) >= 3)  # type: ignore[misc]
        assert set(attempts) == {status}
    for customer, row in before.items():
        assert stored(stack, customer) == row
    assert all("api_access" in person.features() for person in people)
    assert stack.queue_depth(stack.deployment.dead_letter_queue_url) == 0
    assert stack.queue_depth(stack.deployment.event_queue_url) >= len(people)

    stack.control.clear_faults()
    stack.wait_until_quiet(timeout=30)
    assert differing(stack, before) == {}
    assert all(person.features() == set() for person in people)
    assert stack.queue_depth(stack.deployment.dead_letter_queue_url) == 0


def test_a_customer_that_stripe_does_not_find_keeps_access_and_is_fetched_again(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    ada = begin(plan="team_monthly")
    stack.wait_until_quiet()
    before = stored(stack, ada.customer)
    path = f"/v1/customers/{ada.customer}"
    stack.control.clear_requests()
    # A read from before the customer's creation returns Stripe's own 404, resource_missing.
    stack.control.stale_reads(seconds=3600, count=2, path=path)
    (item,) = stack.stripe.v1.subscription_items.list({"subscription": ada.subscription}).data
    stack.stripe.v1.subscription_items.update(item.id, {"quantity": 9})
    eventually(lambda: reads(stack, path), lambda now: now[:2] == [404, 404])
    assert stored(stack, ada.customer) == before
    assert "api_access" in ada.features()
    stack.wait_until_quiet()
    assert differing(stack, [ada.customer]) == {}
    ((only,),) = [each.items for each in stored(stack, ada.customer).facts.subscriptions]
    assert only.quantity == 9
    assert stack.queue_depth(stack.deployment.dead_letter_queue_url) == 0


def test_exactly_the_unprocessable_messages_are_dead_lettered(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    assert dead_letters(stack) == []
    ada = begin(plan=None)
    unreadable = [
        (b"\xff\xfe\xfa", "not UTF-8 (base64)"),
        (b"no JSON at all", "not JSON"),
        (b"[1]", "not an object"),
        (b'{"object":"v2.core.event","id":"evt_1"}', "a thin event"),
        (b'{"object":"event","id":"evt_1","type":"customer.updated"}', "not an event"),
        (b"[" * 100_000, "not JSON"),
    ]
    unprocessable = [
        ("neither JSON", "not JSON"),
        ("[]", "not a sync request"),
        ('{"key": 7}', "not a sync request"),
        # A request without a row's key; its spaces are kept.
        (
            '{"up_to": 1,  "cause": {"id": "evt_1", "type": "customer.updated"}}',
            "not a sync request",
        ),
    ]
    sqs = stack.client("sqs")
    with worker_paused(stack):
        # One batch has the unprocessable messages and valid ones, which must still be processed.
        for body, _ in unprocessable:
            sqs.send_message(QueueUrl=stack.deployment.event_queue_url, MessageBody=body)
        ada.subscribe("starter_monthly")
        for raw, _ in unreadable:
            response = post(stack, raw, content_type="application/octet-stream")
            assert (response.status_code, response.json()) == (200, {"received": True})
        assert stack.control.wait_until_quiet()
    stack.wait_until_quiet()
    assert ada.features() == {"projects"}
    assert differing(stack, [ada.customer]) == {}

    found = sorted(dead_letters(stack))
    expected = sorted([*unprocessable, *((_as_text(raw), reason) for raw, reason in unreadable)])
    assert [body for body, _ in found] == [body for body, _ in expected]
    for (_, reason), (_, wanted) in zip(found, expected, strict=True):
        assert reason.startswith(wanted)


def _as_text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode()


def reads(stack: LocalStack, path: str) -> list[int | str | None]:
    """Return the status of each read below this path, except reads without a response so far."""
    statuses = (entry["status"] for entry in stack.control.requests("GET", path))
    return [status for status in statuses if status is not None]
