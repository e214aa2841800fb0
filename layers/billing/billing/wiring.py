"""What depends on what: each function's one object, made once a process.

Imports are inside: a function loads what it uses and no more, which is most of its cold start.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from billing import telemetry
from billing.customers import Customers
from billing.events import Hint
from billing.model import CustomerKey, DocumentKey, Key
from billing.settings import STRIPE_API_VERSION, Settings
from billing.store import DynamoDBStore

if TYPE_CHECKING:
    from billing.batch import Batch
    from billing.ingest import Ingest
    from billing.portal import PortalSessions
    from billing.queues import SqsQueues
    from billing.secret_store import Secret
    from billing.stripe_api import StripeApi

SETTINGS = Settings.from_environment(os.environ)

#: Short waits and few retries: every caller has a better plan than to hang.
_AWS = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
)


@cache
def _aws(service: str) -> Any:
    return boto3.client(service, config=_AWS)  # type: ignore[call-overload]


def _store() -> DynamoDBStore:
    return DynamoDBStore(_aws("dynamodb"), SETTINGS.table_name)


def _queues() -> SqsQueues:
    from billing.queues import SqsQueues

    return SqsQueues(_aws("sqs"), SETTINGS.event_queue_url, SETTINGS.dead_letter_queue_url)


def _secret(name: str) -> Secret:
    from billing.secret_store import Secret

    return Secret(_aws("secretsmanager"), name, time.monotonic)


def _stripe() -> StripeApi:
    from billing import stripe_api

    key = _secret(SETTINGS.stripe_api_key_secret)

    @cache
    def connect(api_key: str) -> Any:
        return stripe_api.client(
            api_key,
            api_base=SETTINGS.stripe_api_base,
            api_version=STRIPE_API_VERSION,
            account=SETTINGS.stripe_account,
        )

    return stripe_api.StripeApi(lambda: connect(key.current()[0]))


@cache
def customers() -> Customers:
    """For whoever starts from a subject."""
    return Customers(_store(), mode=SETTINGS.mode, issuer=SETTINGS.jwt_issuer, clock=time.monotonic)


@cache
def portal_sessions() -> PortalSessions:
    """For create_portal_session."""
    from billing.portal import PortalSessions

    return PortalSessions(
        customers=customers(),
        stripe=_stripe(),
        allowed_origins=SETTINGS.allowed_origins,
        default_return_url=SETTINGS.default_return_url,
        stage=SETTINGS.stage,
    )


@cache
def ingest() -> Ingest:
    """For ingest_webhook."""
    from billing.ingest import Ingest

    return Ingest(
        secrets=_secret(SETTINGS.stripe_webhook_secret),
        queue=_queues(),
        livemode=SETTINGS.livemode,
        account=SETTINGS.stripe_account or None,
        clock=time.time,
        report=telemetry.report,
    )


@cache
def batch() -> Batch:
    """For sync_customer."""
    from billing.batch import Batch, threads
    from billing.documents import DocumentSync, Fetched, portal_configuration
    from billing.events import CONFIGURATION
    from billing.sync import Sync

    def pause(attempt: int) -> None:
        time.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 (spreads retries, guards nothing)

    stripe = _stripe()

    def fetch_configuration(key: DocumentKey) -> Fetched:
        configuration, as_of = stripe.portal_configuration(key.id)
        return portal_configuration(configuration), as_of

    sync_customer = Sync(
        store=_store(),
        stripe=stripe,
        queue=_queues(),
        policy=SETTINGS.access_policy,
        issuer=SETTINGS.jwt_issuer,
        subject_metadata_key=SETTINGS.subject_metadata_key,
        pause=pause,
        report=telemetry.report,
    )
    sync_document = DocumentSync(
        store=_store(), fetch={CONFIGURATION: fetch_configuration}, pause=pause
    )

    def sync(key: Key, hints: Sequence[Hint], remaining_ms: Callable[[], int]) -> None:
        match key:
            case CustomerKey():
                sync_customer(key, hints, remaining_ms)
            case DocumentKey():
                sync_document(key, hints, remaining_ms)

    return Batch(
        sync=sync,
        queue=_queues(),
        side_by_side=threads,
        clock=time.time,
        jitter=random.random,
        report=telemetry.report,
    )
