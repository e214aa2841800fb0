"""The numbers of the core. Some are Stripe's or AWS's own, some are promised in the documents, and
on most of them something outside relies: another number, a queue, a stored row, a client.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest

MINUTE, HOUR, DAY = 60, 3600, 86_400
KIB = 1024

LIMITS: dict[str, dict[str, Any]] = {
    "batch": {
        "MAX_DEFERRAL_SECONDS": 3 * DAY,
        "MAX_NOT_FOUND_SECONDS": HOUR,
        "MAX_RECEIVES_AT_ONCE": 3,
        "MAX_BACKOFF_SECONDS": 15 * MINUTE,
        "MAX_PARALLEL_SYNCS": 5,
    },
    "customers": {"LINK_CACHE_SECONDS": 5 * MINUTE, "MAX_CACHED_LINKS": 10_000},
    "first_format": {"GRACE_SECONDS": 7 * DAY},
    "history": {"MAX_TRANSITIONS": 10, "MAX_NAMES": 50},
    "ingest": {"MAX_BODY_BYTES": 4 * KIB * KIB, "MAX_QUARANTINED_BYTES": 700 * KIB},
    "keys": {"MAX_NAME_CHARACTERS": 255},
    "link": {"MAX_CLAIMANTS": 20},
    "model": {"FORMAT": 2, "MAX_TEXT_BYTES": 800},
    "return_urls": {"MAX_URL_CHARACTERS": 5000},
    "stripe_objects": {"MAX_QUANTITY": 999_999},
    "stripe_state": {"MAX_ENDED_READS": 10},
    "subjects": {"MAX_SUBJECT_BYTES": 256},
    "sync": {
        "MARGIN_SECONDS": MINUTE,
        "CONFIRM_DELAY_SECONDS": 90,
        "MAX_COVERED_AGE_SECONDS": DAY,
        "MAX_COMMIT_CALLS": 8,
        "READ_BUDGET_MS": 58_000,
        "ATTEMPT_BUDGET_MS": 70_000,
        "MAX_ATTEMPTS": 4,
    },
    "timeouts": {
        "STRIPE_TIMEOUT_SECONDS": (2, 8),
        "AWS_TIMEOUT_SECONDS": (1, 1.5),
        "AWS_ATTEMPTS": 2,
        "AWS_BACKOFF_SECONDS": 1,
        "STRIPE_CALL_MS": 10_000,
        "AWS_CALL_MS": 6_000,
    },
    "checkout.earlier": {"FRESH_SECONDS": MINUTE},
    "checkout.sessions": {
        "MAX_REFERENCE_CHARACTERS": 200,
        "MAX_CUSTOMER_ATTEMPTS": 4,
        "MAX_SYNC_ATTEMPTS": 4,
    },
    "configuration.shapes": {
        "MAX_HEADLINE_LENGTH": 60,
        "MAX_NAME_LENGTH": 256,
        "MAX_METADATA_VALUE_LENGTH": 500,
    },
}


@pytest.mark.parametrize("module", LIMITS)
def test_a_limit_is_changed_on_purpose_only(module: str) -> None:
    found = importlib.import_module(f"billing.{module}")
    assert {name: getattr(found, name) for name in LIMITS[module]} == LIMITS[module]
