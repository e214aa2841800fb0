"""Every endpoint is called once. `conftest` checks each response, event and embedded list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local.stripe_simulator.control import Control
from local.stripe_simulator.routes import ROUTES, match
from tests.unit.stripe_simulator.conftest import KEY, Shop

MONTH = 31 * 86_400


class Calls:
    """Calls of the API by their path. Each must succeed."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str) -> Any:
        return self._result(self._http.get("/v1" + path))

    def post(self, path: str, **params: Any) -> Any:
        return self._result(self._http.post("/v1" + path, data=params))

    def delete(self, path: str) -> Any:
        return self._result(self._http.delete("/v1" + path))

    def _result(self, response: httpx.Response) -> Any:
        assert response.status_code == 200, (response.request.url, response.text)
        return response.json()


@pytest.fixture
def calls(control: Control) -> Iterator[Calls]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=control.base_url, headers=headers, trust_env=False) as http:
        yield Calls(http)


def test_every_endpoint_works(calls: Calls, api: Any, shop: Shop, control: Control) -> None:
    _catalog(calls, shop)
    _payment_methods(calls, shop)
    _subscriptions(calls, shop, control)
    _invoices(calls, api, shop)
    _hosted_pages(calls, shop)
    _account(calls)
    called = [match(entry["method"], entry["path"]) for entry in control.requests()]
    seen = {found[0].pattern for found in called if found is not None}
    assert [f"{each.method} {each.path}" for each in ROUTES if each.pattern not in seen] == []


def _catalog(calls: Calls, shop: Shop) -> None:
    product = calls.post("/products", name="Audit")["id"]
    price = calls.post("/prices", product=product, currency="usd", unit_amount=1)["id"]
    calls.post(f"/products/{product}", default_price=price)
    calls.get(f"/products/{product}?expand[]=default_price")
    calls.get("/products?expand[]=data.default_price")
    calls.post(f"/prices/{price}", nickname="once")
    calls.get(f"/prices/{price}?expand[]=product")
    calls.get("/prices?expand[]=data.product")
    calls.delete(f"/products/{calls.post('/products', name='Never sold')['id']}")
    feature = calls.post("/entitlements/features", name="SSO", lookup_key="sso")["id"]
    calls.post(f"/entitlements/features/{feature}", name="Single sign-on")
    calls.get(f"/entitlements/features/{feature}")
    calls.get("/entitlements/features")
    attached = calls.post(f"/products/{product}/features", entitlement_feature=feature)["id"]
    calls.get(f"/products/{product}/features")
    calls.get(f"/products/{product}/features/{attached}")
    calls.delete(f"/products/{product}/features/{attached}")
    coupon = calls.post("/coupons", percent_off=20, duration="once")["id"]
    calls.get(f"/coupons/{coupon}")
    calls.get("/coupons")
    code = {"promotion[type]": "coupon", "promotion[coupon]": coupon}
    calls.get(f"/promotion_codes/{calls.post('/promotion_codes', **code)['id']}")
    calls.delete(f"/coupons/{coupon}")


def _payment_methods(calls: Calls, shop: Shop) -> None:
    customer = calls.post("/customers", email="ada@example.com", tax_exempt="none")["id"]
    card = {"card[number]": "4242424242424242", "card[exp_month]": 1, "card[exp_year]": 2031}
    method = calls.post("/payment_methods", type="card", **card)["id"]
    calls.get(f"/payment_methods/{method}")
    calls.post(f"/payment_methods/{method}/attach", customer=customer)
    calls.post(f"/payment_methods/{method}", **{"card[exp_year]": 2032})
    calls.get(f"/payment_methods?customer={customer}")
    calls.get(f"/customers/{customer}/payment_methods")
    for token in ("pm_card_visa", "pm_success_at", "pm_usBankAccount_success"):
        calls.post(f"/payment_methods/{token}/attach", customer=customer)
    calls.post(f"/payment_methods/{method}/detach")
    for kind in ("sepa_debit", "ach_debit", "ach_credit_transfer"):
        source = calls.post("/sources", type=kind, currency="usd")["id"]
        calls.get(f"/sources/{source}")
        calls.post(f"/customers/{customer}/sources", source=source)
    for token in ("tok_visa", "btok_us_verified"):
        token_source = calls.post(f"/customers/{customer}/sources", source=token)["id"]
    calls.get(f"/customers/{customer}/sources")
    calls.get(f"/customers/{customer}?expand[]=default_source")
    calls.delete(f"/customers/{customer}/sources/{token_source}")
    tax_ids = f"/customers/{customer}/tax_ids"
    tax_id = calls.post(tax_ids, type="eu_vat", value="DE123456789")["id"]
    calls.get(tax_ids)
    calls.get(f"{tax_ids}/{tax_id}")
    calls.get("/customers?expand[]=data.tax_ids")
    calls.get("/customers/search?query=email:'ada@example.com'&expand[]=data.tax_ids")
    calls.delete(f"{tax_ids}/{tax_id}")
    calls.post(f"/customers/{customer}", description="gone soon")
    calls.delete(f"/customers/{customer}")
    calls.get(f"/customers/{customer}")


def _subscriptions(calls: Calls, shop: Shop, control: Control) -> None:
    customer = shop.customer()["id"]
    coupon = calls.post("/coupons", amount_off=100, currency="usd", duration="forever")["id"]
    items = {"items[0][price]": shop.basic_price.id, "discounts[0][coupon]": coupon}
    subscription = calls.post("/subscriptions", customer=customer, **items)["id"]
    expand = "&".join(
        f"expand[]={each}" for each in ("customer", "discounts", "latest_invoice", "test_clock")
    )
    calls.get(f"/subscriptions/{subscription}?{expand}")
    calls.post(f"/subscriptions/{subscription}", **{"pause_collection[behavior]": "void"})
    calls.post(f"/subscriptions/{subscription}", pause_collection="")
    item = calls.post("/subscription_items", subscription=subscription, price=shop.pro_price.id)[
        "id"
    ]
    calls.post(f"/subscription_items/{item}", quantity=2, proration_behavior="always_invoice")
    calls.get(f"/subscription_items/{item}?expand[]=price.product")
    calls.get(f"/subscription_items?subscription={subscription}")
    calls.delete(f"/subscription_items/{item}")
    calls.get(f"/customers/{customer}?expand[]=subscriptions.data.latest_invoice")
    calls.get(f"/customers/{customer}/subscriptions")
    calls.get(f"/customer/{customer}/entitlements")
    entitlements = "/entitlements/active_entitlements"
    held = calls.get(f"{entitlements}?customer={customer}&expand[]=data.feature")["data"][0]["id"]
    calls.get(f"{entitlements}/{held}")
    calls.post(f"/subscriptions/{subscription}/pause", type="subscription")
    calls.get("/subscriptions?status=all")
    calls.post(f"/subscriptions/{subscription}/resume")
    control.advance(MONTH)
    calls.delete(f"/subscriptions/{subscription}")
    now = control.now()
    clock = calls.post("/test_helpers/test_clocks", frozen_time=now)["id"]
    calls.post(f"/test_helpers/test_clocks/{clock}/advance", frozen_time=now + MONTH)
    calls.get(f"/test_helpers/test_clocks/{clock}")


def _invoices(calls: Calls, api: Any, shop: Shop) -> None:
    def unpaid() -> str:
        made = shop.subscription(payment_behavior="default_incomplete")
        return str(made.latest_invoice)

    calls.post(f"/invoices/{unpaid()}/pay")
    calls.post(f"/invoices/{unpaid()}/mark_uncollectible")
    calls.get(f"/invoices/{unpaid()}?expand[]=payments&expand[]=confirmation_secret")
    voided = unpaid()
    calls.post(f"/invoices/{voided}/void")
    calls.get(f"/invoices/{voided}?expand[]=customer")
    calls.get(f"/invoices/{voided}/lines")
    calls.get("/invoices?expand[]=data.discounts")
    payment = calls.get(f"/invoice_payments?invoice={voided}")["data"][0]["id"]
    calls.get(f"/invoice_payments/{payment}?expand[]=invoice")
    kept = shop.subscription()
    api.subscriptions.update(kept.id, {"pause_collection": {"behavior": "keep_as_draft"}})
    calls.post(f"/subscriptions/{kept.id}", **{"billing_cycle_anchor[type]": "now"})
    draft = api.subscriptions.retrieve(kept.id).latest_invoice
    calls.post(f"/invoices/{draft}/finalize")


def _hosted_pages(calls: Calls, shop: Shop) -> None:
    configurations = "/billing_portal/configurations"
    made = shop.portal_configuration(subscription_pause={"enabled": True}).id
    calls.post(configurations, **{"features[invoice_history][enabled]": "true"})
    calls.post(f"{configurations}/{made}", name="ours")
    calls.get(f"{configurations}/{made}")
    calls.get(configurations)
    customer = shop.customer()
    subscription = shop.subscription(customer)
    offered = {"configuration": made}
    after = {
        "flow_data[after_completion][type]": "redirect",
        "flow_data[after_completion][redirect][return_url]": "https://app.example.com/",
    }
    for kind, details in (
        ("payment_method_update", {}),
        ("subscription_cancel", {"subscription": subscription.id}),
        ("subscription_pause", {"subscription": subscription.id}),
        ("subscription_update", {"subscription": subscription.id}),
        (
            "subscription_update_confirm",
            {
                "subscription": subscription.id,
                "items][0][id": subscription["items"].data[0].id,
                "items][0][price": shop.pro_price.id,
            },
        ),
    ):
        flow = {f"flow_data[{kind}][{name}]": value for name, value in details.items()}
        calls.post(
            "/billing_portal/sessions",
            customer=customer.id,
            return_url="https://app.example.com/",
            **{**offered, "flow_data[type]": kind, **flow, **after},
        )
    sessions = "/checkout/sessions"
    opened = calls.post(
        sessions,
        mode="subscription",
        success_url="https://app.example.com/",
        **{"line_items[0][price]": shop.pro_price.id, "line_items[0][quantity]": 2},
    )["id"]
    calls.get(f"{sessions}/{opened}?expand[]=line_items")
    calls.get(f"{sessions}/{opened}/line_items")
    calls.get(f"{sessions}?expand[]=data.line_items")
    calls.post(f"{sessions}/{opened}/expire")


def _account(calls: Calls) -> None:
    endpoints = "/webhook_endpoints"
    made = calls.post(endpoints, url="http://127.0.0.1:9/x", **{"enabled_events[]": "*"})["id"]
    calls.get(f"{endpoints}/{made}")
    calls.post(f"{endpoints}/{made}", description="ours")
    calls.get(endpoints)
    calls.delete(f"{endpoints}/{made}")
    calls.get("/account")
    event = calls.get("/events?limit=100")["data"][0]["id"]
    calls.get(f"/events/{event}")
