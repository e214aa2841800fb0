"""The access rules by example: each case of tests/cases/access.json, from Stripe to the reader.

Stripe's objects are in the simulator, read over HTTP through the official library and the deployed
adapter. The sync writes the row into DynamoDB's protocol (moto), and the reader's own code answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import boto3
import httpx
import pytest
from moto import mock_aws

from billing.access import AccessPolicy
from billing.adapters import stripe_client
from billing.adapters.store import DynamoDBStore
from billing.adapters.stripe_api import StripeApi
from billing.customers import Customers
from billing.keys import CustomerKey
from billing.model import CustomerRow
from billing.responses import entitlement, entitlements
from billing.settings import STRIPE_API_VERSION
from billing.sync import ATTEMPT_BUDGET_MS
from tests.integration.case_objects import CASES, DAY, SUBJECT, Served, served
from tests.unit.fakes import MemoryQueue, Reports, sync_of
from tests.unit.stripe_objects import POLICY

ISSUER = "https://issuer/"
NOW = int(time.time())
TABLE = "entitlements"


@pytest.fixture(scope="module")
def stripe_side() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBStore]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-central-1")
        client.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield DynamoDBStore(client, TABLE)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_reader_answers_as_the_case_says(
    stripe_side: Served, store: DynamoDBStore, case: Mapping[str, Any]
) -> None:
    customer = stripe_side.build(case, NOW)
    row = synced(stripe_side, store, customer)
    policy = policy_of(case)
    response = entitlements(SUBJECT, row, policy, NOW)
    assert response["customer"] == customer
    products = {
        name: [product["quantity"], days(product["until"])]
        for name, product in response["products"].items()
    }
    features = {name: days(feature["until"]) for name, feature in response["features"].items()}
    assert {"products": products, "features": features} == case["answer"]
    for feature in {key for keys in case["product_features"].values() for key in keys}:
        alone = entitlement(feature, row, policy, NOW)
        assert alone["entitled"] is (feature in features)


def test_a_deleted_product_of_a_past_due_subscription_holds_up_nothing(
    stripe_side: Served, store: DynamoDBStore
) -> None:
    """Stripe answers 404 for its features; what else was bought is given all the same."""
    (case,) = [
        case for case in CASES if case["name"].startswith("seats whose invoice was declined")
    ]
    customer = stripe_side.build(case, NOW)
    deleted = httpx.post(
        f"{stripe_side.url}/_simulator/products/delete", json={"product": "prod_team"}
    )
    assert deleted.status_code == httpx.codes.OK, deleted.text
    row = synced(stripe_side, store, customer)
    response = entitlements(SUBJECT, row, POLICY, NOW)
    assert {name: each["quantity"] for name, each in response["products"].items()} == {
        "prod_team": 5
    }


def synced(stripe_side: Served, store: DynamoDBStore, customer: str) -> CustomerRow | None:
    """The row that the reader finds for the subject, after one sync of the customer."""
    client = stripe_client.connect(
        stripe_side.key,
        api_base=stripe_side.url,
        api_version=STRIPE_API_VERSION,
        account="own",
    )
    sync = sync_of(
        store=store,
        stripe=StripeApi(lambda: client),
        queue=MemoryQueue(),
        report=Reports(),
        issuers=(ISSUER,),
        clock=time.time,
    )
    key = CustomerKey("own", "test", customer)
    sync(key, (), lambda: ATTEMPT_BUDGET_MS, on_demand=True)
    return Customers(store, mode="test", issuers=(ISSUER,), clock=time.monotonic).of(SUBJECT)


def policy_of(case: Mapping[str, Any]) -> AccessPolicy:
    return replace(POLICY, **case.get("policy", {}))


def days(time: str) -> float:
    """Days from now, exact to the second."""
    seconds = datetime.fromisoformat(time).timestamp() - NOW
    return seconds / DAY
