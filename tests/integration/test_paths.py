"""The less common paths on the deployed template, over HTTP: refused requests, dropped events, long
lists, and a portal session without a response from Stripe.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from local.identity import Issuer
from local.journey import Journey, eventually
from local.stack import LocalStack
from tests.integration.contract import problem
from tests.integration.deliveries import (
    JSON,
    EventLog,
    dead_letters,
    post,
    post_unsigned,
    signature,
    worker_paused,
)
from tests.integration.truth import differing, stored

EVENT: dict[str, Any] = {
    "id": "evt_made_up",
    "object": "event",
    "type": "customer.updated",
    "created": 1_800_000_000,
    "livemode": False,
    "data": {"object": {"id": "cus_nobody", "object": "customer"}},
}
BODY = json.dumps(EVENT).encode()


def queued(stack: LocalStack) -> list[str]:
    """Return the messages on both queues about EVENT; confirms of other tests may arrive too."""
    sqs = stack.client("sqs")
    found: list[str] = []
    for url in (stack.deployment.event_queue_url, stack.deployment.dead_letter_queue_url):
        # The visibility timeout is long enough to receive each message only once.
        while messages := sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=5
        ).get("Messages"):
            found += [each["Body"] for each in messages if EVENT["id"] in each["Body"]]
    return found


def test_a_webhook_with_an_invalid_signature_is_a_400_and_queues_nothing(
    stack: LocalStack,
) -> None:
    now, secret = time.time(), stack.webhook_secret
    genuine = signature(BODY, secret, now)
    headers: dict[str, str | bytes] = {
        "empty": "",
        "garbage": "what is this",
        "no signature": f"t={int(now)}",
        "no time": genuine.partition(",")[2],
        "an invalid time": genuine.replace(f"t={int(now)}", "t=soon"),
        "not ASCII": f"t={int(now)},v1=é".encode(),
        "another secret": signature(BODY, "whsec_of_somebody_else", now),
        "another body": signature(BODY + b" ", secret, now),
        "the test scheme": genuine.replace("v1=", "v0="),
        "stale": signature(BODY, secret, now - 301),
        "from the future": signature(BODY, secret, now + 301),
    }
    with worker_paused(stack):
        responses = {name: post(stack, BODY, header=header) for name, header in headers.items()}
        responses["missing"] = post_unsigned(stack, BODY, JSON)
        statuses = {name: response.status_code for name, response in responses.items()}
        assert statuses == dict.fromkeys(responses, 400)
        for response in responses.values():
            problem(response, 400)
        assert queued(stack) == []


@pytest.mark.parametrize(
    "difference",
    [
        {"livemode": True},
        {"account": "acct_of_another"},
        {"type": "charge.succeeded"},
        {"type": "payment_method.detached", "data": {"object": {"id": "pm_1"}}},
    ],
    ids=["other mode", "unknown account", "other type", "detached, without a customer"],
)
def test_a_genuine_webhook_that_needs_no_sync_is_a_200_and_queues_nothing(
    stack: LocalStack, difference: dict[str, Any]
) -> None:
    with worker_paused(stack):
        response = post(stack, EVENT | difference)
        assert (response.status_code, response.json()) == (200, {"received": True})
        assert queued(stack) == []
    assert any("EventDropped" in line for line in stack.logs("IngestWebhook"))


def test_the_signature_is_verified_on_the_exact_bytes_of_a_base64_body_too(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    ada = begin(plan=None)
    stack.wait_until_quiet()
    revision = stored(stack, ada.customer).revision
    about_ada = EVENT | {"created": stack.control.now()}
    about_ada["data"] = {"object": {"id": ada.customer, "object": "customer", "name": "Zoë ✓"}}
    # Unusual white space: a signature of parsed and serialized JSON would not match.
    body = json.dumps(about_ada, indent=3, ensure_ascii=False).encode()
    # API Gateway encodes a body as base64 unless its content type is text.
    assert post(stack, body, content_type="application/octet-stream").status_code == 200
    eventually(lambda: stored(stack, ada.customer).revision, lambda now: now == revision + 1)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/entitlements"), ("POST", "/portal-sessions")]
)
def test_an_invalid_token_is_a_401(stack: LocalStack, method: str, path: str) -> None:
    tokens = {
        "none": "",
        "no token at all": "garbage",
        "expired": stack.token("user_of_tokens", lifetime=-60),
        "signed by another key": Issuer(stack.site.url).token("user_of_tokens"),
        "for another audience": stack.token("user_of_tokens", aud="somebody-else"),
        "by another issuer": stack.token("user_of_tokens", iss="https://issuer.example"),
    }
    for name, token in tokens.items():
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = stack.http.request(method, stack.api_url + path, headers=headers)
        assert response.status_code == 401, name


def test_a_deleted_customer_has_no_portal_and_no_entitlements(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    ada = begin()
    stack.wait_until_quiet()
    assert ada.post("/portal-sessions", {}).status_code == 201
    stack.stripe.v1.customers.delete(ada.customer)
    stack.wait_until_quiet()
    assert ada.post("/portal-sessions", {}).status_code == 404
    seen = ada.entitlements()
    assert (seen["customer"], seen["features"], seen["products"]) == (None, {}, {})
    assert ada.get("/entitlements/projects").json() == {"feature": "projects", "entitled": False}


def test_an_invalid_portal_request_is_refused_without_creating_a_session(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    ada, ben = begin(), begin()
    stack.wait_until_quiet()
    stack.control.clear_requests()
    refused: list[Any] = [
        {"customer": ben.customer},
        {"customer_id": ben.customer},
        {"anything": 1},
        {"return_url": 7},
        {"return_url": "https://elsewhere.example/"},
        {"return_url": f"{stack.site.url}.elsewhere.example/"},
        {"return_url": "javascript:alert(1)"},
        {"flow": {"type": "subscription_cancel"}},
        {"flow": {"type": "no_such_flow"}},
        [],
        "text",
    ]
    for body in refused:
        response = ada.post("/portal-sessions", body)
        problem(response, 400)
        assert ben.customer not in response.text
    assert stack.control.requests("POST", "/v1/billing_portal/sessions") == []
    foreign = {"flow": {"type": "subscription_cancel", "subscription": ben.subscription}}
    assert ada.post("/portal-sessions", foreign).status_code == 404
    assert stack.control.requests("POST", "/v1/billing_portal/sessions") == []


@pytest.mark.parametrize("fault", [429, 500, 503, "the connection is closed", "no response"])
def test_a_portal_session_is_retried_once_and_then_a_503(
    begin: Callable[..., Journey], stack: LocalStack, fault: int | str
) -> None:
    ada = begin(plan=None)
    stack.wait_until_quiet()
    path = "/v1/billing_portal/sessions"

    def create(count: int) -> httpx.Response:
        stack.control.clear_requests()
        if isinstance(fault, int):
            stack.control.fail_calls(fault, count=count, path=path)
        elif fault == "no response":
            stack.control.slow_calls(15, count=count, path=path)
        else:
            stack.control.drop_calls(count=count, path=path)
        return ada.post("/portal-sessions", {})

    assert create(1).status_code == 201
    response = create(2)
    problem(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert len(stack.control.requests("POST", path)) == 2
    assert ada.post("/portal-sessions", {}).status_code == 201


def test_every_page_of_entitlements_and_of_subscriptions_is_read(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    features, subscriptions = 12, 103
    v1 = stack.stripe.v1
    log = EventLog(stack)
    # Only the last webhook is delivered, so one sync must read everything.
    stack.control.lose_deliveries()
    ada = begin(plan=None)
    product = v1.products.create({"name": "A dozen features"}).id
    for number in range(features):
        feature = v1.entitlements.features.create(
            {"lookup_key": f"dozen_{number}", "name": f"Feature {number}"}
        )
        v1.products.features.create(product, {"entitlement_feature": feature.id})
    price = v1.prices.create(
        {
            "product": product,
            "currency": "eur",
            "unit_amount": 100,
            "recurring": {"interval": "month"},
        }
    )
    for _ in range(subscriptions):
        v1.subscriptions.create({"customer": ada.customer, "items": [{"price": price.id}]})
    assert post(stack, log.new()[-1]).status_code == 200
    stack.wait_until_quiet()

    seen = ada.entitlements()
    assert set(seen["features"]) == {f"dozen_{number}" for number in range(features)}
    assert seen["products"][product]["quantity"] == subscriptions
    assert len({each["id"] for each in seen["subscriptions"]}) == subscriptions
    assert differing(stack, [ada.customer]) == {}
    # The end of one subscription revokes nothing that another one grants.
    v1.subscriptions.cancel(seen["subscriptions"][0]["id"])
    assert post(stack, log.new()[-1]).status_code == 200
    stack.wait_until_quiet()
    assert ada.entitlements()["products"][product]["quantity"] == subscriptions - 1
    assert len(ada.features()) == features


def test_the_tests_above_dead_letter_nothing(stack: LocalStack) -> None:
    assert dead_letters(stack) == []
