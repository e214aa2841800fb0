"""The first purchase on the deployed template, over HTTP and through the hosted checkout page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from local.journey import Journey, eventually
from local.layer import CONFIGURATION_FILE
from local.stack import LocalStack
from tests.integration.contract import problem

TEAM = {"projects", "api_access", "priority_support"}
TABS = 4

_numbers = count(1)


@pytest.fixture
def newcomer(stack: LocalStack) -> Callable[[], Journey]:
    """Create a subject that does not exist in Stripe."""
    return lambda: Journey(stack, f"buyer_{next(_numbers)}")


def customers_of(stack: LocalStack, subject: str) -> list[str]:
    customers = stack.stripe.v1.customers.list({"limit": 100}).auto_paging_iter()
    plain = [customer.to_dict(for_json=True) for customer in customers]
    return [each["id"] for each in plain if each["metadata"].get("user_id") == subject]


def test_a_subject_who_returns_from_checkout_is_entitled_before_any_webhook_arrives(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    ada = newcomer()
    stack.control.hold_deliveries()
    visit = ada.buy("team_monthly", quantity=3)
    assert "Team" in visit.page().text
    assert ada.come_back(visit.session)["status"] == "open"
    back = urlsplit(visit.pay())
    assert parse_qs(back.query) == {"checkout_session_id": [visit.session]}
    returned = ada.come_back(visit.session)
    assert returned["entitlements"]["payment_method"]["last4"] == "4242"
    assert returned["status"] == "complete"
    assert set(returned["entitlements"]["features"]) == TEAM
    assert [each["quantity"] for each in returned["entitlements"]["products"].values()] == [3]
    assert ada.entitlements() == returned["entitlements"]
    stack.control.deliver_normally()
    stack.control.release_deliveries("reversed")
    stack.wait_until_quiet()
    assert ada.features() == TEAM


def test_a_subject_who_does_not_return_from_checkout_is_entitled_by_the_webhook(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    ada = newcomer()
    ada.buy("starter_monthly").pay()
    eventually(ada.features, lambda now: now == {"projects"})


def test_a_stale_read_of_stripe_does_not_show_a_paid_purchase_as_unpaid(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    ada = newcomer()
    stack.control.hold_deliveries()
    visit = ada.buy("team_monthly")
    visit.pay()
    # The first read of the customer returns its state before the purchase.
    stack.control.stale_reads(changes=1, count=1, path="/v1/customers/")
    assert set(ada.come_back(visit.session)["entitlements"]["features"]) == TEAM


def test_simultaneous_clicks_in_several_tabs_create_one_customer_and_one_session(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    for _ in range(3):
        ada = newcomer()
        with ThreadPoolExecutor(TABS) as tabs:
            sent = [
                tabs.submit(ada.post, "/checkout-sessions", {"price": "team_monthly"})
                for _ in range(TABS)
            ]
            responses = [each.result() for each in sent]
        statuses = {each.status_code for each in responses}
        assert statuses <= {201, 503}, [each.text for each in responses]
        assert len(customers_of(stack, ada.subject)) == 1
        open_sessions = [
            session.id
            for session in stack.stripe.v1.checkout.sessions.list(
                {"customer": customers_of(stack, ada.subject)[0], "status": "open"}
            ).data
        ]
        assert len(open_sessions) == 1
        assert open_sessions[0] in {
            each.json()["id"] for each in responses if each.status_code == 201
        }


def test_a_product_that_the_customer_holds_cannot_be_bought_again(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    ada = newcomer()
    stack.control.hold_deliveries()
    ada.buy("team_monthly").pay()
    detail = problem(ada.post("/checkout-sessions", {"price": "team_monthly"}), 409)
    assert "POST /portal-sessions" in detail
    assert ada.buy("starter_monthly").page().status_code == httpx.codes.OK


def test_a_product_that_was_just_paid_cannot_be_bought_again_while_stripes_reads_are_stale(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    ada = newcomer()
    stack.control.hold_deliveries()
    ada.buy("team_monthly").pay()
    # Both lists return the session as open, and the sync's read returns no subscription.
    for stale, calls in (("/v1/checkout/sessions", 2), ("/v1/customers/", 1)):
        stack.control.stale_reads(changes=1, count=calls, path=stale)
    before = len(stack.control.requests())
    response = ada.post("/checkout-sessions", {"price": "team_monthly", "quantity": 2})
    assert "just been paid" in problem(response, 409)
    made = [(each["method"], each["status"]) for each in stack.control.requests()[before:]]
    assert ("POST", 400) in made, "Stripe refuses to expire a session that is complete"
    # The lists are up to date, the read of the customer is still stale.
    stack.control.stale_reads(changes=1, count=1, path="/v1/customers/")
    response = ada.post("/checkout-sessions", {"price": "team_monthly"})
    assert "just been paid" in problem(response, 409)

    response = ada.post("/checkout-sessions", {"price": "team_monthly"})
    assert "POST /portal-sessions" in problem(response, 409)
    (customer,) = customers_of(stack, ada.subject)
    found = stack.stripe.v1.checkout.sessions.list({"customer": customer}).data
    assert [each.status for each in found] == ["complete"]


@pytest.fixture
def with_trials(stack: LocalStack, tmp_path: Path) -> Iterator[None]:
    """Checkout begins with a trial of 14 days."""
    path = tmp_path / "portcullis.toml"
    before = CONFIGURATION_FILE.read_text()
    path.write_text(before.replace("[checkout]\n", "[checkout]\ntrial_days = 14\n"))
    stack.redeploy(configuration_file=path)
    yield
    stack.redeploy(configuration_file=CONFIGURATION_FILE)


@pytest.mark.usefixtures("with_trials")
def test_a_product_is_tried_once_and_another_product_can_be_tried_too(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    ada = newcomer()

    def bought(price: str) -> tuple[str, str]:
        """Buy it; return the new subscription's id and status."""
        visit = ada.buy(price)
        visit.pay()
        (new,) = ada.come_back(visit.session)["entitlements"]["subscriptions"]
        return new["id"], new["status"]

    first, status = bought("team_monthly")
    assert status == "trialing"
    stack.stripe.v1.subscriptions.cancel(first)
    second, status = bought("team_monthly")
    assert status == "active"
    stack.stripe.v1.subscriptions.cancel(second)
    assert bought("starter_monthly")[1] == "trialing"


def test_only_the_last_of_two_checkouts_for_one_product_can_be_paid(
    newcomer: Callable[[], Journey],
) -> None:
    ada = newcomer()
    first = ada.buy("team_monthly")
    second = ada.buy("team_monthly", quantity=2)
    assert first.page().status_code == httpx.codes.GONE
    second.pay()
    assert ada.come_back(first.session)["status"] == "expired"
    assert set(ada.come_back(second.session)["entitlements"]["features"]) == TEAM


def test_a_product_whose_subscription_has_ended_can_be_bought_again_by_the_same_customer(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    ada = newcomer()
    visit = ada.buy("team_monthly")
    visit.pay()
    bought = ada.come_back(visit.session)["entitlements"]
    stack.stripe.v1.subscriptions.cancel(bought["subscriptions"][0]["id"])
    again = ada.buy("team_monthly")
    again.pay()
    seen = ada.come_back(again.session)["entitlements"]
    assert set(seen["features"]) == TEAM
    assert seen["customer"] == bought["customer"]


def test_a_checkout_after_the_customer_is_deleted_in_stripe_creates_a_new_customer(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    ada = newcomer()
    stack.control.hold_deliveries()
    ada.buy("team_monthly")
    (first,) = customers_of(stack, ada.subject)
    stack.stripe.v1.customers.delete(first)
    visit = ada.buy("team_monthly")
    visit.pay()
    seen = ada.come_back(visit.session)["entitlements"]
    assert set(seen["features"]) == TEAM
    assert seen["customer"] != first


def test_only_its_own_customer_can_retrieve_a_checkout_session(
    newcomer: Callable[[], Journey],
) -> None:
    ada, ben = newcomer(), newcomer()
    visit = ada.buy("team_monthly")
    ben.buy("team_monthly")
    visit.pay()
    for session in (visit.session, "cs_test_unknown", "cus_1"):
        problem(ben.get(f"/checkout-sessions/{session}"), 404)
        problem(newcomer().get(f"/checkout-sessions/{session}"), 404)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "price"),
        ({"price": "gold_monthly"}, "gold_monthly"),
        ({"price": "team_monthly", "customer": "cus_1"}, "customer"),
        ({"price": "team_monthly", "success_url": "https://elsewhere.example/"}, "success_url"),
        ({"price": "team_monthly", "cancel_url": "https://elsewhere.example/"}, "cancel_url"),
    ],
)
def test_a_request_outside_the_contract_is_a_400_that_names_the_field(
    stack: LocalStack, newcomer: Callable[[], Journey], body: dict[str, Any], named: str
) -> None:
    ada = newcomer()
    assert named in problem(ada.post("/checkout-sessions", body), 400)
    assert customers_of(stack, ada.subject) == []


def test_a_price_that_the_configuration_does_not_list_is_refused_even_by_its_id(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    hidden = stack.stripe.v1.prices.create(
        {
            "product": stack.catalog.products["team_monthly"],
            "currency": "eur",
            "unit_amount": 1,
            "recurring": {"interval": "month"},
        }
    )
    assert hidden.id in problem(newcomer().post("/checkout-sessions", {"price": hidden.id}), 400)
    listed = stack.catalog.prices["team_monthly"]
    assert newcomer().buy(listed).page().status_code == httpx.codes.OK


def test_a_repeated_checkout_returns_the_open_session_with_three_calls_to_stripe(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    ada = newcomer()
    first = ada.buy("team_monthly")
    stack.wait_until_quiet()
    before = len(stack.control.requests())
    second = ada.buy("team_monthly")
    assert (second.session, second.url) == (first.session, first.url)
    paths = [(each["method"], each["path"]) for each in stack.control.requests()[before:]]
    assert paths == [
        ("GET", "/v1/prices"),
        ("GET", "/v1/checkout/sessions"),
        ("GET", "/v1/checkout/sessions"),
    ]
    second.pay()
    assert set(ada.come_back(first.session)["entitlements"]["features"]) == TEAM


def test_a_price_that_cannot_be_an_id_is_a_400(newcomer: Callable[[], Journey]) -> None:
    response = newcomer().post("/checkout-sessions", {"price": "price_a/../b"})
    assert "is not for sale" in problem(response, 400)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/prices"), ("POST", "/v1/customers"), ("GET", "/v1/checkout/sessions")],
)
def test_a_failed_call_to_stripe_is_retried_once_and_then_a_503(
    stack: LocalStack, newcomer: Callable[[], Journey], method: str, path: str
) -> None:
    ada, ben = newcomer(), newcomer()
    if path == "/v1/checkout/sessions":
        # Only an existing customer can have sessions.
        ada.buy("starter_monthly")
        ben.buy("starter_monthly")
    stack.control.fail_calls(503, count=1, path=path, method=method)
    ada.buy("team_monthly")
    stack.control.clear_requests()
    stack.control.fail_calls(503, count=None, path=path, method=method)
    response = ben.post("/checkout-sessions", {"price": "team_monthly"})
    problem(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert len(stack.control.requests(method, path)) == 2


def test_a_customer_is_not_created_twice_when_stripes_response_is_lost(
    stack: LocalStack, newcomer: Callable[[], Journey]
) -> None:
    ada = newcomer()
    stack.control.drop_calls(count=1, path="/v1/customers", method="POST", applied=True)
    ada.buy("team_monthly")
    assert len(customers_of(stack, ada.subject)) == 1


def test_a_checkout_without_a_token_is_a_401(stack: LocalStack) -> None:
    for method, path in (("POST", "/checkout-sessions"), ("GET", "/checkout-sessions/cs_test_1")):
        response = stack.http.request(method, stack.api_url + path)
        assert response.status_code == httpx.codes.UNAUTHORIZED


# ---------------------------------------------------------------- the catalog


def catalog(stack: LocalStack) -> dict[str, Any]:
    """Return the public catalog: products by the lookup key of their first price."""
    response = stack.http.get(f"{stack.api_url}/catalog").raise_for_status()
    return {each["prices"][0]["lookup_key"]: each for each in response.json()["products"]}


def test_the_catalog_lists_what_is_for_sale_without_a_token(stack: LocalStack) -> None:
    plans = eventually(lambda: catalog(stack), lambda now: len(now) == 3)
    team = plans["team_monthly"]
    assert team["id"] == stack.catalog.products["team_monthly"]
    assert team["prices"] == [
        {
            "id": stack.catalog.prices["team_monthly"],
            "lookup_key": "team_monthly",
            "currency": "eur",
            "unit_amount": 2400,
            "interval": "month",
            "interval_count": 1,
        }
    ]
    assert {each["lookup_key"] for each in team["features"]} == TEAM
    assert "API access" in {each["name"] for each in team["features"]}


def test_the_catalog_returns_304_for_its_current_etag(stack: LocalStack) -> None:
    eventually(lambda: catalog(stack), lambda now: len(now) == 3)
    first = stack.http.get(f"{stack.api_url}/catalog")
    assert first.headers["cache-control"] == "public, max-age=60"
    again = stack.http.get(
        f"{stack.api_url}/catalog", headers={"if-none-match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (httpx.codes.NOT_MODIFIED, b"")


def test_the_catalog_follows_changes_to_products_and_prices(stack: LocalStack) -> None:
    product = stack.catalog.products["enterprise_monthly"]
    price = stack.catalog.prices["enterprise_monthly"]
    api = stack.stripe.v1
    try:
        api.products.update(product, {"name": "Enterprise, renamed"})
        eventually(
            lambda: catalog(stack),
            lambda now: now.get("enterprise_monthly", {}).get("name") == "Enterprise, renamed",
        )
        api.prices.update(price, {"active": False})
        eventually(lambda: catalog(stack), lambda now: "enterprise_monthly" not in now)
    finally:
        api.prices.update(price, {"active": True})
        api.products.update(product, {"name": "Enterprise"})
    eventually(
        lambda: catalog(stack),
        lambda now: now.get("enterprise_monthly", {}).get("name") == "Enterprise",
    )


def test_an_attached_feature_appears_with_the_next_event_of_its_product(stack: LocalStack) -> None:
    api = stack.stripe.v1
    product = stack.catalog.products["enterprise_monthly"]
    feature = api.entitlements.features.create({"lookup_key": "sandbox", "name": "Sandbox"})
    attached = api.products.features.create(product, {"entitlement_feature": feature.id})
    try:
        api.products.update(product, {"metadata": {"touched": "1"}})
        eventually(
            lambda: catalog(stack),
            lambda now: (
                "sandbox"
                in {
                    each["lookup_key"]
                    for each in now.get("enterprise_monthly", {}).get("features", [])
                }
            ),
        )
    finally:
        api.products.features.delete(product, attached.id)
        api.products.update(product, {"metadata": {"touched": "2"}})
