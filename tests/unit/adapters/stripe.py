"""Stripe's adapters, connected to a wire as the wiring connects them to Stripe."""

from __future__ import annotations

from typing import Any

import stripe

from billing.adapters.stripe_account import StripeAccount
from billing.adapters.stripe_api import StripeApi
from billing.adapters.stripe_client import connect
from billing.keys import OWN_ACCOUNT
from billing.settings import STRIPE_API_VERSION
from tests.unit.adapters.wire import Wire


def connected(wire: Wire, **options: Any) -> StripeApi:
    client = _client(wire, **options)
    return StripeApi(lambda: client)


def connected_account(wire: Wire) -> StripeAccount:
    client = _client(wire)
    return StripeAccount(lambda: client)


def _client(
    wire: Wire,
    *,
    account: str = OWN_ACCOUNT,
    api_version: str = STRIPE_API_VERSION,
    **options: Any,
) -> stripe.StripeClient:
    return connect(
        "sk_test_x", api_base=wire.url, api_version=api_version, account=account, **options
    )
