"""The first purchase on the deployed template, over HTTP and through the hosted checkout page."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from local.journey import Journey, eventually
from local.stack import LocalStack

TEAM = {"projects", "api_access", "priority_support"}
AT_ONCE = 4

_numbers = count(1)


@pytest.fixture
def stranger(stack: LocalStack) -> Callable[[], Journey]:
    """Make a subject that Stripe has never heard of."""
    return lambda: Journey(stack, f"buyer_{next(_numbers)}")


def customers_of(stack: LocalStack, subject: str) -> list[str]:
    everybody = stack.stripe.v1.customers.list({"limit": 100}).auto_paging_iter()
    plain = [customer.to_dict(for_json=True) for customer in everybody]
    return [each["id"] for each in plain if each["metadata"].get("user_id") == subject]


def problem(answer: httpx.Response, status: int) -> str:
    """The detail of a problem answer with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def test_back_from_checkout_one_is_entitled_before_any_webhook_has_come(
    stack: LocalStack, stranger: Callable[[], Journey]
) -> None:
    ada = stranger()
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


def test_who_does_not_come_back_is_entitled_by_the_webhook(
    stack: LocalStack, stranger: Callable[[], Journey]
) -> None:
    ada = stranger()
    ada.buy("starter_monthly").pay()
    eventually(ada.features, lambda now: now == {"projects"})


def test_a_read_of_stripe_that_lags_does_not_show_a_paying_user_as_unpaid(
    stack: LocalStack, stranger: Callable[[], Journey]
) -> None:
    ada = stranger()
    stack.control.hold_deliveries()
    visit = ada.buy("team_monthly")
    visit.pay()
    # The first read of the customer sees it as it was before the purchase.
    stack.control.stale_reads(changes=1, count=1, path="/v1/customers/")
    assert set(ada.come_back(visit.session)["entitlements"]["features"]) == TEAM


def test_clicks_at_once_in_several_tabs_give_one_customer_and_one_session(
    stack: LocalStack, stranger: Callable[[], Journey]
) -> None:
    for _ in range(3):
        ada = stranger()
        with ThreadPoolExecutor(AT_ONCE) as tabs:
            sent = [
                tabs.submit(ada.post, "/checkout-sessions", {"price": "team_monthly"})
                for _ in range(AT_ONCE)
            ]
            answers = [each.result() for each in sent]
        assert {answer.status_code for answer in answers} <= {201, 503}, [a.text for a in answers]
        assert len(customers_of(stack, ada.subject)) == 1
        open_ones = [
            session.id
            for session in stack.stripe.v1.checkout.sessions.list(
                {"customer": customers_of(stack, ada.subject)[0], "status": "open"}
            ).data
        ]
        assert len(open_ones) == 1
        assert open_ones[0] in {a.json()["id"] for a in answers if a.status_code == 201}


def test_what_one_already_holds_is_changed_in_the_portal_and_not_bought_again(
    stack: LocalStack, stranger: Callable[[], Journey]
) -> None:
    ada = stranger()
    stack.control.hold_deliveries()
    ada.buy("team_monthly").pay()
    detail = problem(ada.post("/checkout-sessions", {"price": "team_monthly"}), 409)
    assert "POST /portal-sessions" in detail
    assert ada.buy("starter_monthly").page().status_code == httpx.codes.OK


def test_of_two_checkouts_for_one_product_only_the_last_can_be_paid(
    stranger: Callable[[], Journey],
) -> None:
    ada = stranger()
    first = ada.buy("team_monthly")
    second = ada.buy("team_monthly", quantity=2)
    assert first.page().status_code == httpx.codes.GONE
    second.pay()
    assert ada.come_back(first.session)["status"] == "expired"
    assert set(ada.come_back(second.session)["entitlements"]["features"]) == TEAM


def test_after_the_subscription_has_ended_it_can_be_bought_again_by_the_same_customer(
    stack: LocalStack, stranger: Callable[[], Journey]
) -> None:
    ada = stranger()
    visit = ada.buy("team_monthly")
    visit.pay()
    bought = ada.come_back(visit.session)["entitlements"]
    stack.stripe.v1.subscriptions.cancel(bought["subscriptions"][0]["id"])
    again = ada.buy("team_monthly")
    again.pay()
    seen = ada.come_back(again.session)["entitlements"]
    assert set(seen["features"]) == TEAM
    assert seen["customer"] == bought["customer"]


def test_a_customer_deleted_in_stripe_is_followed_by_a_new_one(
    stack: LocalStack, stranger: Callable[[], Journey]
) -> None:
    ada = stranger()
    stack.control.hold_deliveries()
    ada.buy("team_monthly")
    (first,) = customers_of(stack, ada.subject)
    stack.stripe.v1.customers.delete(first)
    visit = ada.buy("team_monthly")
    visit.pay()
    seen = ada.come_back(visit.session)["entitlements"]
    assert set(seen["features"]) == TEAM
    assert seen["customer"] != first


def test_a_checkout_session_is_its_customers_alone(stranger: Callable[[], Journey]) -> None:
    ada, ben = stranger(), stranger()
    visit = ada.buy("team_monthly")
    ben.buy("team_monthly")
    visit.pay()
    for asked in (visit.session, "cs_test_unknown", "cus_1"):
        problem(ben.get(f"/checkout-sessions/{asked}"), 404)
        problem(stranger().get(f"/checkout-sessions/{asked}"), 404)


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
def test_what_is_not_of_the_contract_is_a_400_that_names_it(
    stack: LocalStack, stranger: Callable[[], Journey], body: dict[str, Any], named: str
) -> None:
    ada = stranger()
    assert named in problem(ada.post("/checkout-sessions", body), 400)
    assert customers_of(stack, ada.subject) == []


def test_a_price_in_stripe_that_is_not_listed_is_refused_even_by_its_id(
    stack: LocalStack, stranger: Callable[[], Journey]
) -> None:
    hidden = stack.stripe.v1.prices.create(
        {
            "product": stack.catalog.products["team_monthly"],
            "currency": "eur",
            "unit_amount": 1,
            "recurring": {"interval": "month"},
        }
    )
    assert hidden.id in problem(stranger().post("/checkout-sessions", {"price": hidden.id}), 400)
    listed = stack.catalog.prices["team_monthly"]
    assert stranger().buy(listed).page().status_code == httpx.codes.OK


def test_a_double_click_leads_to_one_live_page_at_the_cost_of_three_calls(
    stack: LocalStack, stranger: Callable[[], Journey]
) -> None:
    ada = stranger()
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


def test_a_price_that_cannot_be_an_id_is_a_400(stranger: Callable[[], Journey]) -> None:
    answer = stranger().post("/checkout-sessions", {"price": "price_a/../b"})
    assert "is not for sale" in problem(answer, 400)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/prices"), ("POST", "/v1/customers"), ("GET", "/v1/checkout/sessions")],
)
def test_stripe_down_is_retried_once_and_then_a_503(
    stack: LocalStack, stranger: Callable[[], Journey], method: str, path: str
) -> None:
    ada, ben = stranger(), stranger()
    if path == "/v1/checkout/sessions":
        # Only a customer who exists already can have sessions.
        ada.buy("starter_monthly")
        ben.buy("starter_monthly")
    stack.control.fail_calls(503, count=1, path=path, method=method)
    ada.buy("team_monthly")
    stack.control.clear_requests()
    stack.control.fail_calls(503, count=None, path=path, method=method)
    answer = ben.post("/checkout-sessions", {"price": "team_monthly"})
    problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert len(stack.control.requests(method, path)) == 2


def test_a_customer_whose_creation_was_answered_to_nobody_is_not_created_twice(
    stack: LocalStack, stranger: Callable[[], Journey]
) -> None:
    ada = stranger()
    stack.control.drop_calls(count=1, path="/v1/customers", method="POST", applied=True)
    ada.buy("team_monthly")
    assert len(customers_of(stack, ada.subject)) == 1


def test_without_a_token_nothing_is_sold(stack: LocalStack) -> None:
    for method, path in (("POST", "/checkout-sessions"), ("GET", "/checkout-sessions/cs_test_1")):
        answer = stack.http.request(method, stack.api_url + path)
        assert answer.status_code == httpx.codes.UNAUTHORIZED


# ---------------------------------------------------------------- the catalogue


def catalogue(stack: LocalStack) -> dict[str, Any]:
    """The public catalogue: products by the lookup key of their first price."""
    answer = stack.http.get(f"{stack.api_url}/catalog").raise_for_status()
    return {each["prices"][0]["lookup_key"]: each for each in answer.json()["products"]}


def test_the_catalogue_says_to_everybody_what_is_for_sale(stack: LocalStack) -> None:
    plans = eventually(lambda: catalogue(stack), lambda now: len(now) == 3)
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


def test_the_catalogue_is_cached_by_its_tag(stack: LocalStack) -> None:
    eventually(lambda: catalogue(stack), lambda now: len(now) == 3)
    first = stack.http.get(f"{stack.api_url}/catalog")
    assert first.headers["cache-control"] == "public, max-age=60"
    again = stack.http.get(
        f"{stack.api_url}/catalog", headers={"if-none-match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (httpx.codes.NOT_MODIFIED, b"")


def test_the_catalogue_follows_products_and_prices(stack: LocalStack) -> None:
    product = stack.catalog.products["enterprise_monthly"]
    price = stack.catalog.prices["enterprise_monthly"]
    api = stack.stripe.v1
    try:
        api.products.update(product, {"name": "Enterprise, renamed"})
        eventually(
            lambda: catalogue(stack),
            lambda now: now.get("enterprise_monthly", {}).get("name") == "Enterprise, renamed",
        )
        api.prices.update(price, {"active": False})
        eventually(lambda: catalogue(stack), lambda now: "enterprise_monthly" not in now)
    finally:
        api.prices.update(price, {"active": True})
        api.products.update(product, {"name": "Enterprise"})
    eventually(
        lambda: catalogue(stack),
        lambda now: now.get("enterprise_monthly", {}).get("name") == "Enterprise",
    )


def test_a_feature_that_is_attached_comes_with_the_products_next_event(stack: LocalStack) -> None:
    api = stack.stripe.v1
    product = stack.catalog.products["enterprise_monthly"]
    feature = api.entitlements.features.create({"lookup_key": "sandbox", "name": "Sandbox"})
    attached = api.products.features.create(product, {"entitlement_feature": feature.id})
    try:
        api.products.update(product, {"metadata": {"touched": "1"}})
        eventually(
            lambda: catalogue(stack),
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
