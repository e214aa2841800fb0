"""Stripe's events: the effect of each type."""

from __future__ import annotations

from pathlib import Path

from billing.events import EFFECTS, Effect

WEBHOOKS = Path(__file__).parents[2] / "events" / "webhooks"

#: By the beginning of the type. Every other type is about a customer.
OTHERS = {
    "billing_portal.configuration.": Effect.SYNC_CONFIGURATION,
    "billing_portal.session.": Effect.AUDIT,
    "price.": Effect.SYNC_CATALOG,
    "product.": Effect.SYNC_CATALOG,
}


def effect_of(event_type: str) -> Effect:
    found = [effect for begins, effect in OTHERS.items() if event_type.startswith(begins)]
    return found[0] if found else Effect.SYNC_CUSTOMER


def test_every_recorded_webhook_is_about_what_its_type_says() -> None:
    recorded = [path.stem for path in WEBHOOKS.glob("*.json")]
    assert {name: effect_of(name) for name in recorded} == EFFECTS
