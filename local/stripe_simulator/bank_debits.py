"""Bank debits as payment methods: SEPA, ACH and Bacs.

At Stripe a debit takes days, and so does the news that it failed. Here it succeeds or fails at
once. https://docs.stripe.com/testing lists the account numbers and the tokens.
"""

from __future__ import annotations

import hashlib

from .errors import invalid, missing_parameter
from .fields import completed
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

# For each type, an account on which a debit succeeds and one on which it fails.
GOOD = {
    "sepa_debit": "AT611904300234573201",
    "us_bank_account": "000123456789",
    "bacs_debit": "00012345",
}
BAD = {
    "sepa_debit": "AT861904300235473202",
    "us_bank_account": "000111111113",
    "bacs_debit": "22222227",
}

TOKENS = {
    "pm_success_at": ("sepa_debit", GOOD),
    "pm_failed_at": ("sepa_debit", BAD),
    "pm_usBankAccount_success": ("us_bank_account", GOOD),
    "pm_usBankAccount_accountClosed": ("us_bank_account", BAD),
    "pm_bacsDebit_success": ("bacs_debit", GOOD),
    "pm_bacsDebit_insufficientFunds": ("bacs_debit", BAD),
}


def number_of(type: str, params: Json) -> str:
    """Return the account that a request names. Raises Stripe's 400 unless it is a test account."""
    name = "iban" if type == "sepa_debit" else "account_number"
    param = f"{type}[{name}]"
    if name not in params:
        raise missing_parameter(param)
    number = str(params[name]).replace(" ", "")
    if number not in (GOOD[type], BAD[type]):
        raise invalid(
            f"The simulator knows two accounts: {GOOD[type]}, and {BAD[type]}, which fails.",
            param,
            "account_number_invalid",
        )
    return number


def unsaved(world: World, type: str, number: str) -> Json:
    """Return a payment method without a customer. `type` is one of `GOOD`."""
    details = {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}
    return completed(
        {
            "id": world.id("payment_method"),
            "object": "payment_method",
            "_outcome": "fail" if number == BAD[type] else "succeed",
            "allow_redisplay": "unspecified",
            "billing_details": details,
            "created": world.now(),
            "livemode": world.livemode,
            "metadata": {},
            "type": type,
            type: _DETAILS[type](number),
        }
    )
