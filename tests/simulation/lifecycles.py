"""Lifecycles: what customers go through, in a few events each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.simulation.billed_lifecycles import BILLED, CUS
from tests.simulation.billing import SUB, SUMMARY
from tests.simulation.invoicing import CATALOG, MONTH
from tests.simulation.script import Script
from tests.simulation.scripts import script
from tests.simulation.states import state, subscription
from tests.simulation.stripe_model import EPOCH, State


def _lifecycles() -> dict[str, Script]:
    def sub(status: str, *products: str, **more: Any) -> dict[str, Any]:
        return subscription("sub_1", status, *(products or ("prod_basic",)), **more)

    def one(*subscriptions: Mapping[str, Any], **more: Any) -> State:
        return state(CUS, *subscriptions, claim="user_1", **more)

    created, updated = f"{SUB}.created", f"{SUB}.updated"
    soon = EPOCH + 14 * 86400
    card = {
        "invoice_settings": {
            "default_payment_method": {
                "object": "payment_method",
                "type": "card",
                "card": {"brand": "visa"},
            }
        }
    }
    more_features = {**CATALOG, "prod_basic": ("export", "priority")}
    born = (0.0, one(), "customer.created")
    return {
        "trial to paid": script(
            born,
            (0, one(sub("trialing", trial_end=soon)), created),
            (1, one(sub("trialing", trial_end=soon), **card), "payment_method.attached"),
            (40, one(sub("active", trial_end=soon), **card), f"{updated} invoice.paid"),
        ),
        "upgrade": script(
            (0, one(sub("active")), created),
            (0, one(sub("active", "prod_pro")), f"{updated} {SUMMARY}"),
            (0, one(sub("active", "prod_pro", quantity=3)), f"{updated} invoice.paid"),
        ),
        "downgrade": script(
            (0, one(sub("active", "prod_pro")), created),
            (70, one(sub("active", "prod_basic")), f"{updated} {SUMMARY}"),
            (20, one(sub("active", "prod_basic", period=2)), f"{updated} invoice.paid"),
        ),
        "cancel at period end, then reactivate": script(
            (0, one(sub("active")), f"{created} invoice.paid"),
            (0, one(sub("active", cancel_at=EPOCH + MONTH)), updated),
            (5, one(sub("active")), updated),
            (70, one(sub("active", cancel_at_period_end=True)), updated),
        ),
        "cancel now": script(
            (0, one(sub("active", "prod_pro")), f"{created} invoice.paid"),
            (30, one(), f"{SUB}.deleted {SUMMARY}"),
            (0, one(subscription("sub_2", "incomplete", "prod_basic")), created),
        ),
        "past due, then paid": script(
            (0, one(sub("active")), created),
            (30, one(sub("past_due", period=2), delinquent=True), "invoice.payment_failed"),
            (0, one(sub("past_due", period=2), delinquent=True), updated),
            (65, one(sub("active", period=2)), f"invoice.paid {updated}"),
        ),
        "pause, then resume": script(
            (0, one(sub("active")), created),
            (10, one(sub("paused")), f"{SUB}.paused {SUMMARY}"),
            (0, one(sub("active")), f"{SUB}.resumed {SUMMARY}"),
        ),
        "customer deleted": script(
            born,
            (0, one(sub("active")), f"{created} invoice.paid"),
            (0, one(), f"{SUB}.deleted"),
            (0, State(CUS, deleted=True), "customer.deleted"),
        ),
        "two subscriptions": script(
            (0, one(sub("active")), created),
            (
                0,
                one(sub("active"), subscription("sub_2", "active", "prod_seats", quantity=5)),
                f"{created} {SUMMARY}",
            ),
            (62, one(subscription("sub_2", "active", "prod_seats", quantity=5)), f"{SUB}.deleted"),
            (0, one(subscription("sub_2", "active", "prod_seats", "prod_basic")), updated),
        ),
        "feature added to a product": script(
            (0, one(sub("active")), f"{created} {SUMMARY}"),
            (45, one(sub("active"), catalog=more_features), SUMMARY),
            (0, one(sub("past_due", period=2), catalog=more_features), f"{updated} {SUMMARY}"),
        ),
    }


LIFECYCLES = _lifecycles() | BILLED
