"""Mistakes of one place in the code or in the template, each with the test that must notice it."""

from __future__ import annotations

from tests.mutants.edits.deployment import DEPLOYMENT
from tests.mutants.edits.edit import Edit
from tests.mutants.edits.facts import FACTS
from tests.mutants.edits.messages import MESSAGES, POOL
from tests.mutants.edits.requests import READERS, WEBHOOKS
from tests.mutants.edits.secrets import KEYS_AND_SECRETS
from tests.mutants.edits.stripe_calls import CALLS
from tests.mutants.edits.stripe_connection import CONNECTION
from tests.mutants.edits.table import TABLE

__all__ = ["EDITS", "Edit"]

EDITS: tuple[Edit, ...] = (
    *TABLE,
    *MESSAGES,
    *POOL,
    *KEYS_AND_SECRETS,
    *CONNECTION,
    *CALLS,
    *FACTS,
    *WEBHOOKS,
    *READERS,
    *DEPLOYMENT,
)
