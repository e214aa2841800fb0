"""Bank debits as payment methods: SEPA, ACH and Bacs.

At Stripe a debit takes days, and so does the news that it failed. Here it succeeds or fails at
once. https://docs.stripe.com/testing lists the account numbers and the tokens.
"""

from __future__ import annotations

import hashlib

from .tables import Json
from .world import World


def _sepa_debit(number: str) -> Json:
    return {
        "bank_code": number[4:9],
        "branch_code": "",
        "country": number[:2],
        "fingerprint": _fingerprint(number),
        "generated_from": {"charge": None, "setup_attempt": None},
        "last4": number[-4:],
    }


def _us_bank_account(number: str) -> Json:
    return {
        "account_holder_type": "individual",
        "account_type": "checking",
        "bank_name": "STRIPE TEST BANK",
        "financial_connections_account": None,
        "fingerprint": _fingerprint(number),
        "last4": number[-4:],
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": "110000000",
        "status_details": {},
    }


def _bacs_debit(number: str) -> Json:
    return {"fingerprint": _fingerprint(number), "last4": number[-4:], "sort_code": "108800"}


def _fingerprint(number: str) -> str:
    return hashlib.sha256(number.encode()).hexdigest()[:16]


_DETAILS = {
    "sepa_debit": _sepa_debit,
    "us_bank_account": _us_bank_account,
    "bacs_debit": _bacs_debit,
}

#: An account of each type on which a debit succeeds.
GOOD = {
    "sepa_debit": "AT611904300234573201",
    "us_bank_account": "000123456789",
    "bacs_debit": "00012345",
}


def unsaved(world: World, type: str, number: str, outcome: str) -> Json:
    """Return a payment method without a customer. `type` is one of `GOOD`."""
    details = {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}
    return {
        "id": world.id("payment_method"),
        "object": "payment_method",
        "_outcome": outcome,
        "allow_redisplay": "unspecified",
        "billing_details": details,
        "created": world.now(),
        "customer": None,
        "livemode": world.livemode,
        "metadata": {},
        "type": type,
        type: _DETAILS[type](number),
    }
