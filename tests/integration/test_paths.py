"""What is asked of every path, asked of the deployed template over HTTP: refusals, drops, long
lists, and Stripe not answering the portal.
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
    """The messages on either queue about EVENT; confirms of other tests may come meanwhile."""
    sqs = stack.client("sqs")
    found: list[str] = []
    for url in (stack.deployment.event_queue_url, stack.deployment.dead_letter_queue_url):
        # Each is hidden just long enough to be seen once.
        while messages := sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=5
        ).get("Messages"):
            found += [each["Body"] for each in messages if EVENT["id"] in each["Body"]]
    return found


def test_a_webhook_whose_signature_does_not_hold_is_a_400_and_queues_nothing(
    stack: LocalStack,
) -> None:
    now, secret = time.time(), stack.webhook_secret
    genuine = signature(BODY, secret, now)
    headers: dict[str, str | bytes] = {
        "empty": "",
        "garbage": "what is this",
        "no signature": f"t={int(now)}",
        "no time": genuine.partition(",")[2],
        "a time that is none": genuine.replace(f"t={int(now)}", "t=soon"),
        "not ASCII": f"t={int(now)},v1=é".encode(),
        "another secret": signature(BODY, "whsec_of_somebody_else", now),
        "another body": signature(BODY + b" ", secret, now),
        "the test scheme": genuine.replace("v1=", "v0="),
        "stale": signature(BODY, secret, now - 301),
        "from the future": signature(BODY, secret, now + 301),
    }
    with worker_paused(stack):
        answers = {name: post(stack, BODY, header=header) for name, header in headers.items()}
        answers["missing"] = post_unsigned(stack, BODY, JSON)
        assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(
            answers, 400
        )
        for answer in answers.values():
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == 400
        assert queued(stack) == []


@pytest.mark.parametrize(
    "unlike_ours",
    [
        {"livemode": True},
        {"account": "acct_of_another"},
        {"type": "charge.succeeded"},
        {"type": "payment_method.detached", "data": {"object": {"id": "pm_1"}}},
    ],
    ids=["other mode", "unknown account", "other type", "detached, nobody named"],
)
def test_a_genuine_webhook_that_is_none_of_ours_is_a_200_and_queues_nothing(
    stack: LocalStack, unlike_ours: dict[str, Any]
) -> None:
    with worker_paused(stack):
        answer = post(stack, EVENT | unlike_ours)
        assert (answer.status_code, answer.json()) == (200, {"received": True})
        assert queued(stack) == []
    assert any("EventDropped" in line for line in stack.logs("IngestWebhook"))


def test_the_exact_bytes_are_verified_also_when_they_arrive_as_base64(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    ada = begin(plan=None)
    stack.wait_until_quiet()
    revision = stored(stack, ada.customer).revision
    about_ada = EVENT | {"created": stack.control.now()}
    about_ada["data"] = {"object": {"id": ada.customer, "object": "customer", "name": "Zoë ✓"}}
    # Unusual white space: verifying what was parsed and written again would fail.
    body = json.dumps(about_ada, indent=3, ensure_ascii=False).encode()
    # API Gateway hands over as base64 whatever its type does not call text.
    assert post(stack, body, content_type="application/octet-stream").status_code == 200
    eventually(lambda: stored(stack, ada.customer).revision, lambda now: now == revision + 1)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/entitlements"), ("POST", "/portal-sessions")]
)
def test_a_token_that_does_not_hold_is_a_401(stack: LocalStack, method: str, path: str) -> None:
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
        answer = stack.http.request(method, stack.api_url + path, headers=headers)
        assert answer.status_code == 401, name


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


def test_a_request_for_the_portal_that_is_wrong_is_refused_and_asks_stripe_for_nothing(
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
        answer = ada.post("/portal-sessions", body)
        assert answer.status_code == 400, body
        assert answer.headers["content-type"] == "application/problem+json"
        assert ben.customer not in answer.text
    assert stack.control.requests("POST", "/v1/billing_portal/sessions") == []
    foreign = {"flow": {"type": "subscription_cancel", "subscription": ben.subscription}}
    assert ada.post("/portal-sessions", foreign).status_code == 404
    assert stack.control.requests("POST", "/v1/billing_portal/sessions") == []


@pytest.mark.parametrize("misfortune", [429, 500, 503, "the connection is cut", "no answer"])
def test_the_portal_asks_stripe_once_more_and_then_answers_503(
    begin: Callable[..., Journey], stack: LocalStack, misfortune: int | str
) -> None:
    ada = begin(plan=None)
    stack.wait_until_quiet()
    path = "/v1/billing_portal/sessions"

    def strike(count: int) -> httpx.Response:
        stack.control.clear_requests()
        if isinstance(misfortune, int):
            stack.control.fail_calls(misfortune, count=count, path=path)
        elif misfortune == "no answer":
            stack.control.slow_calls(15, count=count, path=path)
        else:
            stack.control.drop_calls(count=count, path=path)
        return ada.post("/portal-sessions", {})

    assert strike(1).status_code == 201
    answer = strike(2)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(stack.control.requests("POST", path)) == 2
    assert ada.post("/portal-sessions", {}).status_code == 201


def test_every_page_of_entitlements_and_of_subscriptions_is_read(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    features, subscriptions = 12, 103
    v1 = stack.stripe.v1
    log = EventLog(stack)
    # Only the last webhook is delivered: what is asked for is one sync of it all.
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
    # Losing one never takes what another gives.
    v1.subscriptions.cancel(seen["subscriptions"][0]["id"])
    assert post(stack, log.new()[-1]).status_code == 200
    stack.wait_until_quiet()
    assert ada.entitlements()["products"][product]["quantity"] == subscriptions - 1
    assert len(ada.features()) == features


def test_nothing_above_was_dead_lettered(stack: LocalStack) -> None:
    assert dead_letters(stack) == []
