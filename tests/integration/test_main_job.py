"""The main job on the deployed template: sign in, open the portal, make a change, come back."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from local.journey import Journey, eventually
from local.stack import LocalStack
from tests.integration.contract import problem

TEAM = {"projects", "api_access", "priority_support"}


def test_a_new_subscription_entitles_its_subject_and_nobody_else(
    begin: Callable[..., Journey],
) -> None:
    bystander = begin(plan=None)
    ada = begin(plan="team_monthly", seats=3)
    seen = eventually(ada.entitlements, lambda now: set(now["features"]) == TEAM)
    assert [each["quantity"] for each in seen["products"].values()] == [3]
    eventually(bystander.entitlements, lambda now: now["customer"] == bystander.customer)
    assert bystander.features() == set()


def test_a_cancellation_in_the_portal_keeps_access_and_shows_when_it_ends(
    begin: Callable[..., Journey],
) -> None:
    ada = begin()
    eventually(ada.features, lambda now: now == TEAM)
    ada.visit().cancel()
    seen = eventually(ada.entitlements, lambda now: bool(now["subscriptions"][0]["cancel_at"]))
    assert set(seen["features"]) == TEAM
    (subscription,) = seen["subscriptions"]
    assert subscription["cancel_at"] == subscription["current_period_end"]
    assert all(each["until"] == subscription["cancel_at"] for each in seen["features"].values())


def test_an_upgrade_in_the_portal_shows_without_a_new_sign_in(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    ada = begin(plan="starter_monthly")
    eventually(ada.features, lambda now: now == {"projects"})
    ada.visit().update(price=stack.catalog.prices["enterprise_monthly"])
    eventually(ada.features, lambda now: {"audit_log", "single_sign_on"} <= now)


def test_a_new_card_shows_as_the_payment_method(begin: Callable[..., Journey]) -> None:
    ada = begin()
    eventually(ada.entitlements, lambda now: bool(now["payment_method"]))
    ada.visit().pay_by("5555555555554444")
    seen = eventually(ada.entitlements, lambda now: now["payment_method"]["last4"] == "4444")
    assert seen["payment_method"]["brand"] == "mastercard"


def test_a_change_of_the_customer_or_its_tax_ids_shows_in_the_answer(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    ada = begin()
    eventually(ada.features, lambda now: now == TEAM)
    customers = stack.stripe.v1.customers
    customers.update(ada.customer, {"metadata": {"grant.audit_log": "2099-12-31 pilot"}})
    seen = eventually(ada.entitlements, lambda now: "audit_log" in now["features"])
    assert seen["features"]["audit_log"] == {"until": "2100-01-01T00:00:00Z", "source": "grant"}
    assert ada.get("/entitlements/audit_log").json()["entitled"] is True
    customers.update(ada.customer, {"metadata": {"grant.audit_log": ""}})
    eventually(ada.features, lambda now: now == TEAM)

    added = customers.tax_ids.create(ada.customer, {"type": "eu_vat", "value": "DE123456789"})
    eventually(
        ada.entitlements, lambda now: [each["type"] for each in now["tax_ids"]] == ["eu_vat"]
    )
    customers.tax_ids.delete(ada.customer, added.id)
    eventually(ada.entitlements, lambda now: now["tax_ids"] == [])


def test_a_portal_session_is_a_404_for_a_subject_without_a_customer(stack: LocalStack) -> None:
    response = Journey(stack, "user_without_customer").post("/portal-sessions", {})
    problem(response, httpx.codes.NOT_FOUND)
