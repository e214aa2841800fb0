"""What every API call shares: keys, parameters, ids, pages, expansion, versions, idempotency."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import stripe

from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import KEY, Shop, client_at

WORKER_EXPAND = [
    "subscriptions",
    "subscriptions.data.latest_invoice",
    "tax_ids",
    "invoice_settings.default_payment_method",
]


def refused(call: Any, *args: Any) -> stripe.InvalidRequestError:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        call(*args)
    return caught.value


def test_a_wrong_key_is_a_401(control: Control) -> None:
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key"):
        client_at(control.base_url, "nonsense").v1.customers.list()


def test_a_missing_key_is_a_401(control: Control) -> None:
    response = httpx.get(control.base_url + "/v1/customers", trust_env=False)
    assert response.status_code == 401
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_live_and_test_mode_do_not_see_each_other(control: Control, api: Any) -> None:
    live = client_at(control.base_url, "rk_live_1").v1
    made = live.customers.create()
    assert made.livemode is True
    assert refused(api.customers.retrieve, made.id).http_status == 404
    assert api.customers.list().data == []
    assert live.accounts.retrieve_current().id == api.accounts.retrieve_current().id


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"address": {"planet": "x"}}, "parameter_unknown", "address[planet]"),
        ({"balance": "much"}, "parameter_invalid_integer", "balance"),
        ({"tax_exempt": "maybe"}, None, "tax_exempt"),
        ({"email": ""}, "parameter_invalid_empty", "email"),
        ({"preferred_locales": "de"}, None, "preferred_locales"),
        ({"address": "here"}, None, "address"),
        ({"email": {"a": "b"}}, None, "email"),
        ({"metadata": {"k" * 41: "v"}}, None, f"metadata[{'k' * 41}]"),
        ({"tax_id_data": [{"type": "eu_vat"}]}, "parameter_missing", "tax_id_data[0][value]"),
    ],
)
def test_an_invalid_parameter_is_a_400_that_names_it(
    api: Any, params: dict[str, Any], code: str | None, param: str
) -> None:
    error = refused(api.customers.create, params)
    assert (error.http_status, error.code, error.param) == (400, code, param)
    assert error.request_id is not None


def test_a_missing_object_is_a_404_in_the_path_and_a_400_in_a_parameter(
    api: Any, shop: Shop
) -> None:
    error = refused(api.customers.retrieve, "cus_nobody")
    assert (error.http_status, error.code, error.param) == (404, "resource_missing", "id")
    error = refused(
        api.subscriptions.create,
        {"customer": "cus_nobody", "items": [{"price": shop.basic_price.id}]},
    )
    assert (error.http_status, error.code, error.param) == (400, "resource_missing", "customer")


def test_an_unknown_path_is_a_404_in_stripes_shape(control: Control) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    response = httpx.get(control.base_url + "/v1/rockets", headers=headers, trust_env=False)
    assert response.status_code == 404
    assert response.json()["error"]["message"].startswith("Unrecognized request URL")


def test_a_deleted_customer_is_a_200_stub_that_can_no_longer_be_used(api: Any, shop: Shop) -> None:
    customer = shop.customer(tax_id_data=[{"type": "eu_vat", "value": "DE123456789"}])
    subscription = shop.subscription(customer)
    api.customers.delete(customer.id)
    found = api.customers.retrieve(customer.id, {"expand": WORKER_EXPAND})
    assert found.to_dict() == {"id": customer.id, "object": "customer", "deleted": True}
    assert api.subscriptions.retrieve(subscription.id).status == "canceled"
    assert refused(api.customers.update, customer.id, {"name": "x"}).http_status == 404
    assert refused(shop.portal, customer.id).param == "customer"
    assert customer.id not in [each.id for each in api.customers.list()]
    types = [event.type for event in api.events.list({"limit": 3})]
    assert types[1] == "customer.deleted"
    assert "customer.subscription.deleted" in types


def test_the_workers_expanded_customer_has_everything_in_one_call(api: Any, shop: Shop) -> None:
    customer = shop.customer(tax_id_data=[{"type": "eu_vat", "value": "DE123456789"}])
    kept = shop.subscription(customer)
    api.subscriptions.cancel(shop.subscription(customer).id)
    found = api.customers.retrieve(customer.id, {"expand": WORKER_EXPAND})
    assert [each.id for each in found.subscriptions.data] == [kept.id]
    assert found.subscriptions.has_more is False
    assert found.subscriptions.data[0].latest_invoice.status == "paid"
    assert found.tax_ids.data[0].value == "DE123456789"
    assert found.invoice_settings.default_payment_method.card.last4 == "4242"


def test_a_customer_with_more_than_ten_subscriptions_embeds_ten_and_has_more(
    api: Any, shop: Shop
) -> None:
    customer = shop.customer()
    made = [shop.subscription(customer).id for _ in range(12)]
    found = api.customers.retrieve(customer.id, {"expand": ["subscriptions"]})
    assert [each.id for each in found.subscriptions.data] == made[:1:-1]
    assert found.subscriptions.has_more is True
    listed = api.subscriptions.list({"customer": customer.id, "limit": 5})
    assert sorted(each.id for each in listed.auto_paging_iter()) == sorted(made)


@pytest.mark.parametrize(
    ("expand", "reason"),
    [
        (["subscriptions.data.latest_invoice.customer.tax_ids"], "more than 4 levels"),
        (["nonsense"], "cannot be expanded"),
        (["email"], "cannot be expanded"),
        (["subscriptions.latest_invoice"], "cannot be expanded"),
        (["data.subscriptions"], "cannot be expanded"),
    ],
)
def test_an_expansion_that_is_not_possible_is_a_400(
    api: Any, shop: Shop, expand: list[str], reason: str
) -> None:
    error = refused(api.customers.retrieve, shop.customer().id, {"expand": expand})
    assert error.http_status == 400
    assert reason in str(error)


def test_a_list_expands_below_data_only(api: Any, shop: Shop) -> None:
    customer = shop.customer()
    shop.subscription(customer)
    query = {"customer": customer.id, "status": "all", "limit": 100}
    listed = api.subscriptions.list({**query, "expand": ["data.latest_invoice"]})
    assert listed.data[0].latest_invoice.amount_paid == 1000
    assert refused(api.subscriptions.list, {**query, "expand": ["latest_invoice"]})
    assert refused(api.subscriptions.list, {**query, "expand": ["data.items.data.price.product"]})


def test_pages_follow_the_cursors_in_both_directions(api: Any) -> None:
    made = [api.customers.create().id for _ in range(5)]
    first = api.customers.list({"limit": 2})
    assert [each.id for each in first.data] == [made[4], made[3]]
    assert first.has_more is True
    assert first.url == "/v1/customers"
    second = api.customers.list({"limit": 2, "starting_after": made[3]})
    assert [each.id for each in second.data] == [made[2], made[1]]
    back = api.customers.list({"limit": 2, "ending_before": made[1]})
    assert [each.id for each in back.data] == [made[3], made[2]]
    assert back.has_more is True
    assert [each.id for each in api.customers.list({"limit": 2}).auto_paging_iter()] == made[::-1]


@pytest.mark.parametrize("limit", [0, 101, "many"])
def test_a_limit_outside_1_to_100_is_a_400(api: Any, limit: Any) -> None:
    assert refused(api.customers.list, {"limit": limit}).param == "limit"


def test_the_same_idempotency_key_replays_and_other_parameters_are_refused(api: Any) -> None:
    options = {"idempotency_key": "once"}
    first = api.customers.create({"name": "Ada"}, options)
    again = api.customers.create({"name": "Ada"}, options)
    assert again.id == first.id
    assert len(api.customers.list().data) == 1
    with pytest.raises(stripe.IdempotencyError):
        api.customers.create({"name": "Grace"}, options)


def test_a_malformed_version_is_a_400(control: Control) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Invalid Stripe API version"):
        client_at(control.base_url, stripe_version="soon").v1.customers.list()


def test_responses_contain_the_real_date_a_request_id_and_the_version(
    api: Any, control: Control
) -> None:
    control.advance(days=400)
    headers = api.customers.list().last_response.headers
    assert abs(parsedate_to_datetime(headers["date"]).timestamp() - time.time()) < 60
    assert headers["request-id"].startswith("req_")
    assert headers["stripe-version"] == stripe.api_version


def test_the_request_log_counts_the_reads_of_one_kind(api: Any, control: Control) -> None:
    made = api.customers.create()
    control.clear_requests()
    api.customers.retrieve(made.id, {"expand": ["tax_ids"]})
    api.customers.list()
    (entry,) = control.requests("GET", f"/v1/customers/{made.id}")
    assert entry["params"] == {"expand": {"0": "tax_ids"}}
    assert entry["status"] == 200
    assert len(control.requests()) == 2


def test_a_failed_call_leaves_nothing_behind(api: Any, shop: Shop) -> None:
    customer = shop.customer("pm_card_chargeCustomerFail")
    before = [event.id for event in api.events.list({"limit": 100})]
    with pytest.raises(stripe.CardError):
        shop.subscription(customer, payment_behavior="error_if_incomplete")
    assert api.subscriptions.list({"customer": customer.id, "status": "all"}).data == []
    assert [event.id for event in api.events.list({"limit": 100})] == before


def test_more_than_ten_entitlements_have_several_pages(api: Any, shop: Shop) -> None:
    for number in range(13):
        feature = api.entitlements.features.create({"name": "n", "lookup_key": f"k{number:02}"})
        api.products.features.create(shop.basic.id, {"entitlement_feature": feature.id})
    customer = shop.customer()
    shop.subscription(customer)
    page = api.entitlements.active_entitlements.list({"customer": customer.id})
    assert (len(page.data), page.has_more) == (10, True)
    assert len(shop.keys(customer.id)) == 14
    one = page.data[0]
    assert api.entitlements.active_entitlements.retrieve(one.id).lookup_key == one.lookup_key
    (event,) = api.events.list({"type": "entitlements.active_entitlement_summary.updated"}).data
    assert len(event.data.object["entitlements"]["data"]) == 10
    assert event.data.object["entitlements"]["has_more"] is True


def test_events_are_filtered_by_type_and_time_and_kept_for_30_days(
    api: Any, control: Control
) -> None:
    api.customers.create()
    api.products.create({"name": "x"})
    assert [e.type for e in api.events.list({"types": ["customer.created"]})] == [
        "customer.created"
    ]
    assert [e.type for e in api.events.list({"type": "product.*"})] == ["product.created"]
    later = control.now() + 5
    assert api.events.list({"created": {"gte": later}}).data == []
    control.advance(days=31)
    assert api.events.list().data == []


def test_an_event_names_the_request_that_caused_it(api: Any) -> None:
    made = api.customers.create({}, {"idempotency_key": "abc"})
    (event,) = api.events.list({"type": "customer.created"}).data
    assert event.request.id == made.last_response.request_id
    assert event.request.idempotency_key == "abc"
    assert event.data.object["id"] == made.id


def test_product_features_can_be_listed_and_removed(api: Any, shop: Shop) -> None:
    customer = shop.customer()
    shop.subscription(customer, shop.pro_price)
    attached = api.products.features.list(shop.pro.id).data
    assert sorted(a.entitlement_feature.lookup_key for a in attached) == ["export", "priority"]
    assert refused(
        api.products.features.create, shop.pro.id, {"entitlement_feature": shop.feature.id}
    )
    api.products.features.delete(shop.pro.id, attached[0].id)
    assert len(shop.keys(customer.id)) == 1


def test_a_webhook_endpoints_secret_is_shown_once(api: Any) -> None:
    made = api.webhook_endpoints.create({"url": "https://a.b/c", "enabled_events": ["*"]})
    assert made.secret.startswith("whsec_")
    assert not hasattr(api.webhook_endpoints.retrieve(made.id), "secret")
    assert api.webhook_endpoints.update(made.id, {"disabled": True}).status == "disabled"
    assert refused(api.webhook_endpoints.create, {"url": "https://a.b/c", "enabled_events": ["x"]})
