"""A past_due customer read over the wire: which invoices count, and the requests that takes."""

from __future__ import annotations

from typing import Any

import pytest

from billing import stripe_state
from billing.facts import Facts
from billing.projection import project
from tests.unit.adapters.stripe import connected
from tests.unit.adapters.wire import Response, Sent, page, wired
from tests.unit.stripe_objects import DAY, NOW, customer, invoice, subscription


def listed(*objects: dict[str, Any]) -> Response:
    return Response({**page().body, "data": list(objects)})


def facts_and_requests(*invoices: dict[str, Any]) -> tuple[Facts, list[str]]:
    """What is kept of a customer whose only subscription has these invoices, newest first."""
    owner = customer(
        subscriptions=listed(subscription("past_due")).body,
        tax_ids=page().body,
    )

    def respond(sent: Sent) -> Response:
        match sent.path:
            case "/v1/customers/cus_1":
                return Response(owner)
            case "/v1/invoices":
                return listed(*invoices)
            case _:
                return page()

    with wired() as wire:
        wire.respond = respond
        state = stripe_state.fetch(connected(wire), "cus_1", Facts(), lambda: None)
        return project(state, "user_id").facts, [sent.path for sent in wire.sent]


@pytest.mark.parametrize(
    ("status", "since"),
    [
        ("draft", NOW - DAY),
        ("void", NOW - DAY),
        ("open", NOW - 9 * DAY),
        ("uncollectible", NOW - 9 * DAY),
    ],
)
def test_the_debt_begins_with_the_oldest_invoice_that_still_asks_for_money(
    status: str, since: int
) -> None:
    facts, requests = facts_and_requests(
        invoice("open", finalized=NOW - DAY),
        invoice(status, finalized=NOW - 9 * DAY),
        invoice("paid", finalized=NOW - 30 * DAY),
    )
    (owing,) = facts.subscriptions
    assert owing.debt is not None
    assert owing.debt.since == since
    assert [item.product for item in owing.debt.paid] == ["prod_team"]
    assert requests == [
        "/v1/customers/cus_1",
        "/v1/invoices",
        "/v1/entitlements/active_entitlements",
        "/v1/products/prod_team/features",
    ]
