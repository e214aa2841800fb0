"""What depends on what: each function's one object, made once a process.

Imports are inside: a function loads what it uses and no more, which is most of its cold start.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from billing.adapters import telemetry
from billing.adapters.store import DynamoDBStore
from billing.customers import Customers
from billing.events import Hint
from billing.model import OWN_ACCOUNT, CustomerKey, DocumentKey, Key
from billing.settings import STRIPE_API_VERSION, Settings

if TYPE_CHECKING:
    from billing.adapters.queues import SqsQueues
    from billing.adapters.secrets import Secret
    from billing.adapters.stripe_api import StripeApi
    from billing.batch import Batch
    from billing.checkout import CheckoutSessions
    from billing.deploy.stripe_setup import StripeSetup
    from billing.documents import Fetched
    from billing.ingest import Ingest
    from billing.portal.sessions import PortalSessions
    from billing.sync import Sync

SETTINGS = Settings.from_environment(os.environ)

#: Short waits and few retries: every caller has a better plan than to hang.
_AWS = Config(
    connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2}
)


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


def _stripe(*, interactive: bool) -> StripeApi:
    from billing.adapters import stripe_api

    key = _secret(SETTINGS.stripe_api_key_secret)

    @cache
    def connect(api_key: str) -> Any:
        return stripe_api.client(
            api_key,
            api_base=SETTINGS.stripe_api_base,
            api_version=STRIPE_API_VERSION,
            account=SETTINGS.stripe_account,
            timeout=stripe_api.INTERACTIVE_TIMEOUT if interactive else stripe_api.TIMEOUT,
        )

    return stripe_api.StripeApi(lambda: connect(key.current()[0]))


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 (spreads retries, guards nothing)


def _sync_customer(stripe: StripeApi) -> Sync:
    from billing.sync import Sync

    return Sync(
        store=_store(),
        stripe=stripe,
        queue=_queues(),
        policy=SETTINGS.access_policy,
        issuer=SETTINGS.jwt_issuer,
        subject_metadata_key=SETTINGS.subject_metadata_key,
        pause=_pause,
        report=telemetry.report,
    )


def _catalogue() -> DocumentKey:
    from billing.events import CATALOG

    return DocumentKey(CATALOG, SETTINGS.stripe_account or OWN_ACCOUNT, SETTINGS.mode)


@cache
def customers() -> Customers:
    """For whoever starts from a subject."""
    return Customers(_store(), mode=SETTINGS.mode, issuer=SETTINGS.jwt_issuer, clock=time.monotonic)


@cache
def portal_sessions() -> PortalSessions:
    """For create_portal_session."""
    from billing.configuration import file as configuration_file
    from billing.portal.sessions import PortalSessions

    return PortalSessions(
        customers=customers(),
        stripe=_stripe(interactive=True),
        names=_store(),
        file=configuration_file.load(stage=SETTINGS.stage, mode=SETTINGS.mode),
        allowed_origins=SETTINGS.allowed_origins,
        default_return_url=SETTINGS.default_return_url,
        on_behalf_of=SETTINGS.stripe_on_behalf_of,
        stage=SETTINGS.stage,
        mode=SETTINGS.mode,
    )


@cache
def checkout_sessions() -> CheckoutSessions:
    """For create_checkout_session and get_checkout_session."""
    from billing.adapters.stripe_api import with_one_retry
    from billing.checkout import CheckoutSessions
    from billing.configuration import file as configuration_file
    from billing.sync import ATTEMPT_BUDGET_MS

    stripe, store = _stripe(interactive=True), _store()
    sync = _sync_customer(stripe)

    def sync_now(key: CustomerKey) -> None:
        # A person waits, so it is always begun: whatever step a timeout cuts it off at, the steps
        # before it hold, as after any crash.
        with_one_retry(lambda: sync(key, [Hint.demand(key)], lambda: ATTEMPT_BUDGET_MS))

    return CheckoutSessions(
        store=store,
        stripe=stripe,
        sync=sync_now,
        catalogue=lambda: store.load_document(_catalogue(), consistent=False).content,
        pause=_pause,
        offer=configuration_file.load(stage=SETTINGS.stage, mode=SETTINGS.mode).checkout,
        account=SETTINGS.stripe_account,
        mode=SETTINGS.mode,
        issuer=SETTINGS.jwt_issuer,
        subject_metadata_key=SETTINGS.subject_metadata_key,
        allowed_origins=SETTINGS.allowed_origins,
        default_return_url=SETTINGS.default_return_url,
        stage=SETTINGS.stage,
    )


@cache
def catalogue() -> Callable[[], dict[str, Any]]:
    """For get_catalog: the answer, as the table has it now."""
    from billing import catalog
    from billing.configuration import file as configuration_file

    store = _store()
    allowed = configuration_file.load(stage=SETTINGS.stage, mode=SETTINGS.mode).checkout.prices

    def read() -> dict[str, Any]:
        return catalog.answer(store.load_document(_catalogue(), consistent=False).content, allowed)

    return read


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
    from billing.catalog import content
    from billing.configuration import file as configuration_file
    from billing.documents import DocumentSync, portal_configuration
    from billing.events import CATALOG, CONFIGURATION
    from billing.stripe_state import complete

    stripe = _stripe(interactive=False)

    def fetch_configuration(key: DocumentKey) -> Fetched:
        configuration, as_of = stripe.portal_configuration(key.id)
        return portal_configuration(configuration), as_of

    def fetch_catalogue(_: DocumentKey) -> Fetched:
        offer = configuration_file.load(stage=SETTINGS.stage, mode=SETTINGS.mode).checkout
        prices, as_of = stripe.prices(offer.prices)
        products = {price["product"]["id"] for price in prices}
        features = {
            product: complete(
                stripe.product_features(product, None), partial(stripe.product_features, product)
            )
            for product in products
        }
        return content(prices, features), as_of

    sync_customer = _sync_customer(stripe)
    sync_document = DocumentSync(
        store=_store(),
        fetch={CONFIGURATION: fetch_configuration, CATALOG: fetch_catalogue},
        pause=_pause,
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


def stripe_setup(remaining_ms: Callable[[], int]) -> StripeSetup:
    """For stripe_setup; one per invocation, whose time it keeps."""
    import stripe

    from billing.adapters import stripe_api
    from billing.adapters.secrets import SigningSecrets
    from billing.adapters.stripe_account import StripeAccount
    from billing.configuration import file as configuration_file
    from billing.deploy.stripe_setup import CALL_BUDGET_MS, StripeSetup
    from billing.errors import OutOfTime

    key = _secret(SETTINGS.stripe_api_key_secret)

    def client(account: str) -> stripe.StripeClient:
        if remaining_ms() < CALL_BUDGET_MS:
            raise OutOfTime
        return stripe_api.client(
            key.current()[0],
            api_base=SETTINGS.stripe_api_base,
            api_version=STRIPE_API_VERSION,
            account=account,
            retries=1,
        )

    products = stripe_api.StripeApi(lambda: client(SETTINGS.stripe_account))
    return StripeSetup(
        # Endpoints and portal configurations are the platform's, whosever the customers are.
        account=StripeAccount(lambda: client("")),
        prices=lambda names: products.prices(names)[0],
        api_key=lambda: key.current()[0],
        api_key_secret=SETTINGS.stripe_api_key_secret,
        secrets=SigningSecrets(_aws("secretsmanager"), SETTINGS.stripe_webhook_secret),
        names=_store(),
        queue=_queues(),
        file=lambda: configuration_file.load(stage=SETTINGS.stage, mode=SETTINGS.mode),
        stage=SETTINGS.stage,
        mode=SETTINGS.mode,
        connected_account=SETTINGS.stripe_account,
        default_return_url=SETTINGS.default_return_url,
        clock=time.time,
        report=telemetry.report,
    )
