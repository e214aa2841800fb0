"""The hosted portal over HTTP: what a customer does on the page shows in the API."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import stripe

from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import Shop

RETURN = "https://app.example.com/account"


def event_types(api: Any) -> list[str]:
    return [event.type for event in api.events.list({"limit": 100})]


def open_portal(shop: Shop, customer: Any, **features: Any) -> Any:
    configuration = shop.portal_configuration(**features)
    return shop.portal(customer.id, configuration=configuration.id)


def flow(kind: str, subscription: Any = None, **more: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"type": kind}
    if subscription is not None:
        data[kind] = {"subscription": subscription.id}
    return {**data, **more}


def test_the_page_shows_plans_invoices_card_and_return_link_escaped(
    shop: Shop, browser: httpx.Client
) -> None:
    customer = shop.customer(name="<script>alert(1)</script>")
    shop.subscription(customer, shop.pro_price)
    session = open_portal(shop, customer)
    page = browser.get(session.url)
    assert page.status_code == 200
    assert "Pro &lt;b&gt;&amp;" in page.text
    assert "<script>" not in page.text
    for shown in ("$30.00", "•••• 4242", "-0001", RETURN, "Cancel plan", "Update plan"):
        assert shown in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"


def test_creating_a_session_sends_an_event(api: Any, shop: Shop) -> None:
    open_portal(shop, shop.customer())
    assert event_types(api)[0] == "billing_portal.session.created"


def test_cancelling_at_period_end_sets_cancel_at_and_can_be_undone(
    api: Any, shop: Shop, browser: httpx.Client, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    url = open_portal(shop, customer).url
    form = browser.get(f"{url}/subscriptions/{subscription.id}/cancel")
    assert "You keep everything until" in form.text
    done = browser.post(
        f"{url}/subscriptions/{subscription.id}/cancel",
        data={"feedback": "too_expensive", "comment": "sorry"},
    )
    assert (done.status_code, done.headers["location"]) == (303, url.removeprefix(control.base_url))
    ending = api.subscriptions.retrieve(subscription.id)
    assert ending.cancel_at == subscription["items"].data[0].current_period_end
    assert ending.cancel_at_period_end is False
    assert ending.cancellation_details.feedback == "too_expensive"
    assert event_types(api)[0] == "customer.subscription.updated"
    assert shop.keys(customer.id) == ["export"]
    assert "Don’t cancel plan" in browser.get(url).text
    assert browser.post(f"{url}/subscriptions/{subscription.id}/reactivate").status_code == 303
    assert api.subscriptions.retrieve(subscription.id).cancel_at is None


def test_cancelling_items_of_several_periods_ends_with_the_latest(
    api: Any, shop: Shop, browser: httpx.Client, control: Control
) -> None:
    yearly = shop.price(shop.pro.id, 30000, "pro_yearly", "year")
    customer = shop.customer()
    subscription = api.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": shop.basic_price.id}, {"price": yearly.id}],
        }
    )
    ends = [item.current_period_end for item in subscription["items"].data]
    url = open_portal(shop, customer).url
    path = f"{url}/subscriptions/{subscription.id}/cancel"
    last = datetime.fromtimestamp(max(ends), UTC)
    assert f"You keep everything until {last:%B} {last.day}, {last.year}" in browser.get(path).text
    assert browser.post(path).status_code == 303
    ending = api.subscriptions.retrieve(subscription.id)
    assert (ending.cancel_at, ending.cancel_at_period_end) == (max(ends), False)
    control.advance(days=40)
    assert api.subscriptions.retrieve(subscription.id).status == "active"


def test_a_classic_subscription_gets_cancel_at_period_end(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer, billing_mode={"type": "classic"})
    url = open_portal(shop, customer).url
    browser.post(f"{url}/subscriptions/{subscription.id}/cancel")
    ending = api.subscriptions.retrieve(subscription.id)
    assert ending.cancel_at_period_end is True
    assert ending.cancel_at is not None
    browser.post(f"{url}/subscriptions/{subscription.id}/reactivate")
    assert api.subscriptions.retrieve(subscription.id).cancel_at_period_end is False


def test_cancelling_immediately_ends_the_subscription(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    url = open_portal(
        shop, customer, subscription_cancel={"enabled": True, "mode": "immediately"}
    ).url
    browser.post(f"{url}/subscriptions/{subscription.id}/cancel")
    assert api.subscriptions.retrieve(subscription.id).status == "canceled"
    assert shop.keys(customer.id) == []
    assert "no plan" in browser.get(url).text


def test_the_plan_and_quantity_change_only_as_the_configuration_allows(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    url = f"{open_portal(shop, customer).url}/subscriptions/{subscription.id}/update"
    form = browser.get(url)
    assert f'value="{shop.pro_price.id}"' in form.text
    changed = browser.post(url, data={"price": shop.pro_price.id, "quantity": "4"})
    assert changed.status_code == 303
    (item,) = api.subscriptions.retrieve(subscription.id)["items"].data
    assert (item.price.id, item.quantity) == (shop.pro_price.id, 4)
    assert shop.keys(customer.id) == ["export", "priority"]
    assert browser.post(url, data={"quantity": "10"}).status_code == 400
    hidden = shop.price(shop.pro.id, 1, "hidden")
    assert browser.post(url, data={"price": hidden.id}).status_code == 403
    assert browser.post(url, data={"price": shop.basic_price.id}).status_code == 303
    assert shop.keys(customer.id) == ["export"]


def test_a_new_card_becomes_the_default_and_a_bad_one_fails_at_the_renewal(
    api: Any, shop: Shop, browser: httpx.Client, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    url = open_portal(shop, customer).url
    card = {"exp_month": "7", "exp_year": "31", "cvc": "123"}
    refused = browser.post(f"{url}/payment-method", data={**card, "number": "4000000000000002"})
    assert refused.status_code == 402
    assert "Your card was declined." in refused.text
    wrong = browser.post(f"{url}/payment-method", data={**card, "number": "1234"})
    assert (wrong.status_code, "incorrect" in wrong.text) == (402, True)
    number = "4000 0000 0000 0341"
    assert browser.post(f"{url}/payment-method", data={**card, "number": number}).status_code == 303
    found = api.customers.retrieve(
        customer.id, {"expand": ["invoice_settings.default_payment_method"]}
    ).invoice_settings.default_payment_method.card
    assert (found.last4, found.exp_month, found.exp_year) == ("0341", 7, 2031)
    assert event_types(api)[:2] == ["customer.updated", "payment_method.attached"]
    control.advance(days=32)
    assert api.subscriptions.retrieve(subscription.id).status == "past_due"


def test_tax_ids_and_the_name_are_changed_as_allowed(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    customer = shop.customer()
    url = open_portal(shop, customer).url
    tax_id = {"type": "eu_vat", "value": "DE123456789"}
    assert browser.post(f"{url}/tax-ids", data=tax_id).status_code == 303
    assert [each.value for each in api.customers.tax_ids.list(customer.id)] == ["DE123456789"]
    assert event_types(api)[0] == "customer.tax_id.created"
    assert browser.post(f"{url}/customer", data={"name": "Grace"}).status_code == 303
    assert api.customers.retrieve(customer.id).name == "Grace"
    assert browser.post(f"{url}/customer", data={"phone": "1"}).status_code == 403
    bad = browser.post(f"{url}/tax-ids", data={"type": "eu_vat", "value": "DE1"})
    assert bad.status_code == 400


def test_a_disabled_feature_is_refused_and_not_shown(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    url = open_portal(
        shop,
        customer,
        subscription_cancel={"enabled": False},
        payment_method_update={"enabled": False},
        invoice_history={"enabled": False},
    ).url
    page = browser.get(url).text
    assert "Cancel plan" not in page
    assert "Invoice history" not in page
    assert browser.post(f"{url}/subscriptions/{subscription.id}/cancel").status_code == 403
    assert browser.get(f"{url}/payment-method").status_code == 403
    assert api.subscriptions.retrieve(subscription.id).cancel_at is None


def test_a_customer_cannot_change_the_subscription_of_another(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    mine, other = shop.customer(), shop.customer()
    foreign = shop.subscription(other)
    url = open_portal(shop, mine).url
    for act in ("cancel", "update", "reactivate"):
        assert browser.post(f"{url}/subscriptions/{foreign.id}/{act}").status_code == 403
    assert api.subscriptions.retrieve(foreign.id).cancel_at is None


def test_a_session_expires_when_it_is_unused_or_idle(
    shop: Shop, browser: httpx.Client, control: Control
) -> None:
    control.settings(portal_unused_seconds=0.1, portal_idle_seconds=0.3)
    customer = shop.customer()
    used, unused = shop.portal(customer.id).url, shop.portal(customer.id).url
    assert browser.get(used).status_code == 200
    time.sleep(0.15)
    assert browser.get(used).status_code == 200
    assert browser.get(unused).status_code == 410
    time.sleep(0.35)
    assert browser.get(used).status_code == 410
    assert browser.get("/p/session/test_nonsense").status_code == 410


def test_a_cancel_flow_starts_at_its_step_and_ends_with_a_redirect(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    after = {"type": "redirect", "redirect": {"return_url": "https://app.example.com/bye"}}
    session = shop.portal(
        customer.id,
        flow_data=flow("subscription_cancel", subscription, after_completion=after),
    )
    assert 'id="cancel-form"' in browser.get(session.url).text
    done = browser.post(f"{session.url}/subscriptions/{subscription.id}/cancel")
    assert done.headers["location"] == "https://app.example.com/bye"
    assert api.subscriptions.retrieve(subscription.id).cancel_at is not None
    assert "Current plan" in browser.get(session.url).text


def test_a_retention_offer_keeps_the_customer(api: Any, shop: Shop, browser: httpx.Client) -> None:
    coupon = api.coupons.create({"percent_off": 25, "duration": "forever", "name": "Please stay"})
    customer = shop.customer()
    subscription = shop.subscription(customer)
    data = flow("subscription_cancel", subscription)
    data["subscription_cancel"]["retention"] = {
        "type": "coupon_offer",
        "coupon_offer": {"coupon": coupon.id},
    }
    session = shop.portal(customer.id, flow_data=data)
    assert "25% off" in browser.get(session.url).text
    taken = browser.post(f"{session.url}/subscriptions/{subscription.id}/retention")
    assert taken.status_code == 303
    kept = api.subscriptions.retrieve(subscription.id, {"expand": ["discounts"]})
    assert kept.cancel_at is None
    assert kept.discounts[0].source.coupon == coupon.id


def test_a_confirm_flow_makes_exactly_its_change_and_shows_the_confirmation(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    configuration = shop.portal_configuration()
    item = {
        "id": subscription["items"].data[0].id,
        "price": shop.pro_price.id,
        "quantity": 2,
    }
    session = shop.portal(
        customer.id,
        configuration=configuration.id,
        flow_data={
            "type": "subscription_update_confirm",
            "subscription_update_confirm": {"subscription": subscription.id, "items": [item]},
            "after_completion": {
                "type": "hosted_confirmation",
                "hosted_confirmation": {"custom_message": "Enjoy <Pro>"},
            },
        },
    )
    page = browser.get(session.url).text
    assert "Confirm your updates" in page
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    done = browser.post(f"{session.url}/subscriptions/{subscription.id}/update", data=fields)
    assert done.headers["location"].endswith("/confirmation")
    assert "Enjoy &lt;Pro&gt;" in browser.get(f"{session.url}/confirmation").text
    (changed,) = api.subscriptions.retrieve(subscription.id)["items"].data
    assert (changed.price.id, changed.quantity) == (shop.pro_price.id, 2)


def test_a_subscription_is_paused_and_resumed_on_the_page(
    api: Any, shop: Shop, browser: httpx.Client
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    url = open_portal(shop, customer, subscription_pause={"enabled": True}).url
    browser.post(f"{url}/subscriptions/{subscription.id}/pause")
    assert api.subscriptions.retrieve(subscription.id).status == "paused"
    browser.post(f"{url}/subscriptions/{subscription.id}/resume")
    assert api.subscriptions.retrieve(subscription.id).status == "active"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"return_url": "javascript:alert(1)"}, "return_url"),
        ({"configuration": "bpc_none"}, "configuration"),
        ({"flow_data": {"type": "subscription_cancel"}}, "flow_data[subscription_cancel]"),
        ({"flow_data": {"type": "subscription_pause"}}, "flow_data[type]"),
        (
            {
                "flow_data": {
                    "type": "subscription_cancel",
                    "subscription_cancel": {"subscription": "sub_none"},
                }
            },
            "flow_data[subscription_cancel][subscription]",
        ),
        (
            {
                "flow_data": {
                    "type": "payment_method_update",
                    "after_completion": {"type": "redirect"},
                }
            },
            "flow_data[after_completion][redirect]",
        ),
        ({"locale": "tlh"}, "locale"),
    ],
)
def test_an_invalid_session_is_a_400_that_names_the_parameter(
    shop: Shop, change: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        shop.portal(shop.customer().id, **change)
    assert (caught.value.http_status, caught.value.param) == (400, param)


def test_a_flow_for_the_subscription_of_another_customer_is_a_400(shop: Shop) -> None:
    foreign = shop.subscription()
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        shop.portal(shop.customer().id, flow_data=flow("subscription_cancel", foreign))


def test_without_a_return_url_the_configuration_must_have_one(api: Any, shop: Shop) -> None:
    customer = shop.customer()
    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        api.billing_portal.sessions.create({"customer": customer.id})
    configuration = api.billing_portal.configurations.create(
        {
            "features": {"invoice_history": {"enabled": True}},
            "default_return_url": "https://a.b/c",
            "name": "small",
        }
    )
    session = api.billing_portal.sessions.create(
        {"customer": customer.id, "configuration": configuration.id}
    )
    assert session.return_url == "https://a.b/c"


def test_configurations_are_updated_and_listed_and_send_events(api: Any, shop: Shop) -> None:
    made = shop.portal_configuration()
    api.billing_portal.configurations.update(made.id, {"name": "main", "active": False})
    assert event_types(api)[:2] == [
        "billing_portal.configuration.updated",
        "billing_portal.configuration.created",
    ]
    (default,) = api.billing_portal.configurations.list({"active": True}).data
    assert default.is_default is True
    with pytest.raises(stripe.InvalidRequestError, match="not active"):
        shop.portal(shop.customer().id, configuration=made.id)
