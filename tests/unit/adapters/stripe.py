"""Stripe's adapters, connected to a wire as the wiring connects them to Stripe."""

from __future__ import annotations

from typing import Any

from billing.adapters.stripe_account import StripeAccount
from billing.adapters.stripe_api import StripeApi
from billing.adapters.stripe_client import connect
from billing.settings import STRIPE_API_VERSION
from tests.unit.adapters.wire import Wire


def connected(wire: Wire, *, account: str = "own", **options: Any) -> StripeApi:
    client = connect(
        "sk_test_x",
        api_base=wire.url,
        api_version=STRIPE_API_VERSION,
        account=account,
        **options,
    )
    return StripeApi(lambda: client)


def connected_account(wire: Wire) -> StripeAccount:
    client = connect("sk_test_x", api_base=wire.url, api_version=STRIPE_API_VERSION, account="own")
    return StripeAccount(lambda: client)
