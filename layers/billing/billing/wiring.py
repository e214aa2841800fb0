"""What depends on what: the one object of each function, made once per process.

Imports are inside the functions: a Lambda function loads only what it uses, which is most of its
cold start.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from billing.adapters import telemetry
from billing.adapters.store import DynamoDBStore
from billing.customers import Customers
from billing.keys import CATALOG, OWN_ACCOUNT, CustomerKey, DocumentKey
from billing.settings import STRIPE_API_VERSION, Settings
from billing.timeouts import AWS_ATTEMPTS, AWS_TIMEOUT_SECONDS, STRIPE_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from billing.adapters.queues import SqsQueues
    from billing.adapters.secrets import Secret
    from billing.adapters.stripe_api import StripeApi
    from billing.batch import Batch
    from billing.checkout.sessions import CheckoutSessions
    from billing.configuration.file import Configuration
    from billing.deploy.stripe_setup import StripeSetup
    from billing.ingest import Ingest
    from billing.portal.sessions import PortalSessions
    from billing.sync import Sync

SETTINGS = Settings.from_environment(os.environ)

#: Short timeouts and few retries: every caller has a better plan than to hang.
_AWS = Config(
    connect_timeout=AWS_TIMEOUT_SECONDS[0],
    read_timeout=AWS_TIMEOUT_SECONDS[1],
    retries={"mode": "standard", "total_max_attempts": AWS_ATTEMPTS},
)


@cache
def customers() -> Customers:
    """For get_entitlements and create_portal_session."""
    return Customers(_store(), mode=SETTINGS.mode, issuers=SETTINGS.issuers, clock=time.monotonic)


@cache
def portal_sessions() -> PortalSessions:
    """For create_portal_session."""
    from billing.portal.sessions import PortalSessions

    return PortalSessions(
        customers=customers(),
        stripe=_stripe(interactive=True),
        store=_store(),
        configuration=_configuration(),
        policy=SETTINGS.access_policy,
        return_urls=SETTINGS.return_urls,
        on_behalf_of=SETTINGS.on_behalf_of,
        account=SETTINGS.account,
        mode=SETTINGS.mode,
        clock=time.time,
    )


@cache
def checkout_sessions() -> CheckoutSessions:
    """For create_checkout_session and get_checkout_session."""
    from billing.adapters.stripe_client import with_one_retry
    from billing.checkout.buyers import Buyers
    from billing.checkout.sessions import CheckoutSessions
    from billing.sync import ATTEMPT_BUDGET_MS

    stripe = _stripe(interactive=True)
    sync = _sync(stripe)

    def sync_now(key: CustomerKey) -> None:
        # A person waits, so the sync always begins. A timeout may cut it off at any step, as a
        # crash may: the order of the steps is made for that.
        with_one_retry(lambda: sync(key, (), lambda: ATTEMPT_BUDGET_MS, on_demand=True))

    buyers = Buyers(
        store=_store(),
        stripe=stripe,
        sync=sync_now,
        account=SETTINGS.account,
        mode=SETTINGS.mode,
        issuers=SETTINGS.issuers,
        subject_metadata_key=SETTINGS.subject_metadata_key,
    )
    return CheckoutSessions(
        buyers=buyers,
        stripe=stripe,
        read_catalog=_read_catalog,
        pause=_pause,
        clock=time.time,
        offer=_configuration().checkout,
        policy=SETTINGS.access_policy,
        return_urls=SETTINGS.return_urls,
    )


@cache
def catalog() -> Callable[[], dict[str, Any]]:
    """For get_catalog: a function that returns the response's body."""
    from billing import catalog

    allowed = _configuration().checkout.prices
    return lambda: catalog.response(_read_catalog(), allowed)


@cache
def ingest() -> Ingest:
    """For ingest_webhook."""
    from billing.adapters import signature
    from billing.ingest import Ingest

    return Ingest(
        verify=signature.verify,
        secrets=_secret(SETTINGS.stripe_webhook_secret),
        queue=_queues(),
        livemode=SETTINGS.livemode,
        account=SETTINGS.account,
        clock=time.time,
        report=telemetry.report,
    )


@cache
def batch() -> Batch:
    """For sync_customer."""
    from billing.batch import Batch, threads

    return Batch(
        sync=_sync(_stripe(interactive=False)),
        queue=_queues(),
        parallel=threads,
        clock=time.time,
        jitter=random.random,
        report=telemetry.report,
    )


def stripe_setup(remaining_ms: Callable[[], int]) -> StripeSetup:
    """For stripe_setup: one per invocation, since it watches the time that is left."""
    import stripe

    from billing.adapters import stripe_client
    from billing.adapters.secrets import SigningSecrets
    from billing.adapters.stripe_account import StripeAccount
    from billing.adapters.stripe_api import StripeApi
    from billing.deploy.stripe_setup import CALL_BUDGET_MS, StripeSetup
    from billing.errors import OutOfTime

    key = _secret(SETTINGS.stripe_api_key_secret)

    def connect(account: str) -> stripe.StripeClient:
        if remaining_ms() < CALL_BUDGET_MS:
            raise OutOfTime
        return stripe_client.connect(
            key.current()[0],
            api_base=SETTINGS.stripe_api_base,
            api_version=STRIPE_API_VERSION,
            account=account,
            retries=1,
        )

    products = StripeApi(lambda: connect(SETTINGS.account))
    return StripeSetup(
        # Endpoints and portal configurations belong to the platform, also for a connected account.
        account=StripeAccount(lambda: connect(OWN_ACCOUNT)),
        prices=lambda names: products.list_prices(names)[0],
        api_key=lambda: key.current()[0],
        api_key_secret=SETTINGS.stripe_api_key_secret,
        secrets=SigningSecrets(_aws("secretsmanager"), SETTINGS.stripe_webhook_secret),
        names=_store(),
        queue=_queues(),
        # Read when it is used, so that CloudFormation is told about a mistake in it.
        configuration=_configuration,
        stage=SETTINGS.stage,
        mode=SETTINGS.mode,
        connected_account=SETTINGS.account,
        default_return_url=SETTINGS.return_urls.default,
        clock=time.time,
        report=telemetry.report,
    )


# What they are made of.


@cache
def _aws(service: str) -> Any:
    return boto3.client(service, config=_AWS)  # type: ignore[call-overload]


def _store() -> DynamoDBStore:
    return DynamoDBStore(_aws("dynamodb"), SETTINGS.table_name)


def _queues() -> SqsQueues:
    from billing.adapters.queues import SqsQueues

    return SqsQueues(_aws("sqs"), SETTINGS.event_queue_url, SETTINGS.dead_letter_queue_url)


def _secret(name: str) -> Secret:
    from billing.adapters.secrets import Secret

    return Secret(_aws("secretsmanager"), name, time.monotonic)


@cache
def _configuration() -> Configuration:
    from billing.configuration import file

    return file.load(stage=SETTINGS.stage, mode=SETTINGS.mode)


def _stripe(*, interactive: bool) -> StripeApi:
    from billing.adapters import stripe_client
    from billing.adapters.stripe_api import StripeApi

    key = _secret(SETTINGS.stripe_api_key_secret)

    @cache
    def connect(api_key: str) -> Any:
        return stripe_client.connect(
            api_key,
            api_base=SETTINGS.stripe_api_base,
            api_version=STRIPE_API_VERSION,
            account=SETTINGS.account,
            timeout=(
                stripe_client.INTERACTIVE_TIMEOUT_SECONDS if interactive else STRIPE_TIMEOUT_SECONDS
            ),
            # The one in the cache is up to five minutes old, and may have been revoked since.
            refreshed_key=lambda: key.refreshed()[0],
        )

    return StripeApi(lambda: connect(key.current()[0]))


def _sync(stripe: StripeApi) -> Sync:
    from billing.replicas import CustomerReplica, replicas
    from billing.sync import Sync

    customers = CustomerReplica(
        store=_store(),
        queue=_queues(),
        stripe=stripe,
        policy=SETTINGS.access_policy,
        issuers=SETTINGS.issuers,
        subject_metadata_key=SETTINGS.subject_metadata_key,
        report=telemetry.report,
    )
    return Sync(
        replicas=replicas(
            customers=customers,
            documents=_store(),
            reads=stripe,
            # Read with the catalog: a mistake in the file must not stop the customers' syncs.
            for_sale=lambda: _configuration().checkout.prices,
        ),
        queue=_queues(),
        clock=time.time,
        pause=_pause,
    )


def _read_catalog() -> dict[str, Any]:
    key = DocumentKey(CATALOG, SETTINGS.mode)
    return dict(_store().load_document(key, consistent=False).content)


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 (spreads retries, guards nothing)
