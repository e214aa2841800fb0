"""Each portal flow on the deployed template: to its hosted page and back, and every refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from billing.portal.flows import FLOWS
from local.journey import Journey, eventually
from local.stack import LocalStack
from tests.integration.contract import problem

CARD = {"number": "5555555555554444", "exp_month": "12", "exp_year": "2034", "cvc": "123"}


@pytest.fixture(scope="module")
def coupon(deployed: LocalStack) -> str:
    """The coupon that local/portcullis.toml lets a flow name."""
    created = deployed.stripe.v1.coupons.create(
        {"id": "stay_with_us", "percent_off": 20, "duration": "once"}
    )
    return created.id


def ready(journey: Journey) -> Journey:
    """Return the journey once the table has its subscription."""
    eventually(journey.entitlements, lambda now: bool(now["subscriptions"]))
    return journey


def submit(stack: LocalStack, url: str, path: str, form: Mapping[str, str]) -> httpx.Response:
    response = stack.http.post(url + path, data=form)
    assert response.status_code == httpx.codes.SEE_OTHER, response.text
    return response


@dataclass(frozen=True)
class Completion:
    """How a person completes a flow in the portal: the form on its page, and the result in the
    entitlements. `fields` returns the flow's own fields for the customer's subscription."""

    path: str
    form: Mapping[str, str]
    shows: Callable[[dict[str, Any]], bool]
    fields: Callable[[Journey], dict[str, Any]] = lambda ada: {"subscription": ada.subscription}


#: One for each flow that can be requested.
COMPLETIONS: dict[str, Completion] = {
    "payment_method_update": Completion(
        "/payment-method",
        CARD,
        lambda now: now["payment_method"]["last4"] == "4444",
        fields=lambda _: {},
    ),
    "customer_update": Completion(
        "/customer",
        {"email": "new@example.com"},
        lambda now: now["customer"] is not None,
        fields=lambda _: {},
    ),
    "subscription_cancel": Completion(
        "/subscriptions/{subscription}/cancel",
        {},
        lambda now: now["subscriptions"][0]["cancel_at"] is not None,
    ),
    "subscription_pause": Completion(
        "/subscriptions/{subscription}/pause", {}, lambda now: now["features"] == {}
    ),
    "subscription_update": Completion(
        "/subscriptions/{subscription}/update",
        {"quantity": "7"},
        lambda now: quantities(now) == [7],
    ),
    "subscription_update_confirm": Completion(
        "/subscriptions/{subscription}/update",
        {"quantity": "7", "confirmed": "true", "price": "{enterprise}"},
        lambda now: quantities(now) == [7] and "audit_log" in now["features"],
        fields=lambda ada: {
            "subscription": ada.subscription,
            "items": [{"id": item_of(ada), "price": "enterprise_monthly", "quantity": 7}],
        },
    ),
}


def quantities(now: dict[str, Any]) -> list[int]:
    return [product["quantity"] for product in now["products"].values()]


def item_of(journey: Journey) -> str:
    subscription = journey.stack.stripe.v1.subscriptions.retrieve(journey.subscription)
    return str(subscription["items"]["data"][0]["id"])


@pytest.mark.parametrize("kind", FLOWS)
def test_every_flow_leads_to_its_page_and_back_to_its_return_url(
    stack: LocalStack, begin: Callable[..., Journey], kind: str
) -> None:
    completion = COMPLETIONS[kind]
    ada = ready(begin())
    back = f"{stack.site.url}/back"
    flow = {
        "type": kind,
        **completion.fields(ada),
        "after_completion": {"type": "redirect", "return_url": back},
    }
    response = ada.post("/portal-sessions", {"flow": flow})
    assert response.status_code == httpx.codes.CREATED, response.text
    assert response.headers["cache-control"] == "no-store"
    url = response.json()["url"]
    assert stack.http.get(url, follow_redirects=True).status_code == httpx.codes.OK
    enterprise = stack.catalog.prices["enterprise_monthly"]
    form = {name: value.format(enterprise=enterprise) for name, value in completion.form.items()}
    done = submit(stack, url, completion.path.format(subscription=ada.subscription), form)
    assert done.headers["location"] == back
    eventually(ada.entitlements, completion.shows)


def test_a_hosted_confirmation_shows_the_custom_message_of_the_flow(
    stack: LocalStack, begin: Callable[..., Journey]
) -> None:
    ada = ready(begin())
    after = {"type": "hosted_confirmation", "custom_message": "See you soon <3"}
    flow = {
        "type": "subscription_cancel",
        "subscription": ada.subscription,
        "after_completion": after,
    }
    url = ada.post("/portal-sessions", {"flow": flow}).json()["url"]
    submit(stack, url, f"/subscriptions/{ada.subscription}/cancel", {})
    page = stack.http.get(f"{url}/confirmation")
    assert "See you soon &lt;3" in page.text


def test_a_retention_coupon_is_offered_before_the_cancellation(
    stack: LocalStack, begin: Callable[..., Journey], coupon: str
) -> None:
    ada = ready(begin())
    flow = {
        "type": "subscription_cancel",
        "subscription": ada.subscription,
        "retention": {"coupon": coupon},
    }
    url = ada.post("/portal-sessions", {"flow": flow}).json()["url"]
    submit(stack, url, f"/subscriptions/{ada.subscription}/retention", {})
    kept = stack.stripe.v1.subscriptions.retrieve(ada.subscription)
    assert kept.cancel_at is None
    assert kept.discounts


def test_a_request_can_name_its_configuration(
    stack: LocalStack, begin: Callable[..., Journey]
) -> None:
    ada = ready(begin())
    response = ada.post("/portal-sessions", {"configuration": "invoices_only"})
    assert response.status_code == httpx.codes.CREATED
    page = stack.http.get(response.json()["url"], follow_redirects=True)
    assert f"/subscriptions/{ada.subscription}/cancel" not in page.text
    default = stack.http.get(ada.visit().url, follow_redirects=True)
    assert f"/subscriptions/{ada.subscription}/cancel" in default.text


def refused(journey: Journey, status: int, words: str, **body: Any) -> None:
    assert words in problem(journey.post("/portal-sessions", body), status)


def test_an_object_of_another_customer_is_a_404(begin: Callable[..., Journey]) -> None:
    ada, ben = ready(begin()), ready(begin())
    flow: dict[str, Any] = {"type": "subscription_cancel", "subscription": ben.subscription}
    refused(ada, 404, "no such subscription", flow=flow)
    flow = {
        "type": "subscription_update_confirm",
        "subscription": ada.subscription,
        "items": [{"id": item_of(ben), "price": "enterprise_monthly"}],
    }
    refused(ada, 404, "no such item", flow=flow)


def test_a_flow_that_the_portal_would_refuse_is_a_409(
    stack: LocalStack, begin: Callable[..., Journey]
) -> None:
    ada = ready(begin())
    cancel = {"type": "subscription_cancel", "subscription": ada.subscription}
    update = {"type": "subscription_update", "subscription": ada.subscription}
    refused(ada, 409, "does not offer", flow=cancel, configuration="invoices_only")
    price = stack.catalog.prices["starter_monthly"]
    stack.stripe.v1.subscription_items.create({"subscription": ada.subscription, "price": price})
    refused(ada, 409, "several products", flow=update)
    ada.visit().cancel()
    refused(ada, 409, "already scheduled to end", flow=cancel)
    ben = ready(begin())
    stack.control.schedule(ben.subscription)
    for kind in ("subscription_update", "subscription_pause"):
        refused(ben, 409, "scheduled", flow={"type": kind, "subscription": ben.subscription})
    stack.stripe.v1.subscriptions.cancel(ada.subscription)
    refused(ada, 409, "has ended", flow=cancel)


def test_a_value_that_the_request_may_not_name_is_a_400(
    begin: Callable[..., Journey], coupon: str
) -> None:
    ada = ready(begin())
    cancel = {"type": "subscription_cancel", "subscription": ada.subscription}
    refused(ada, 400, "configuration", configuration="no such")
    refused(ada, 400, "coupon", flow={**cancel, "retention": {"coupon": "FREE100"}})
    elsewhere = {"type": "redirect", "return_url": "https://evil.example/"}
    refused(ada, 400, "allowed origin", flow={**cancel, "after_completion": elsewhere})
    refused(ada, 400, "customer", customer=ada.customer)


def test_a_price_that_the_portal_does_not_offer_is_a_409(
    stack: LocalStack, begin: Callable[..., Journey]
) -> None:
    ada = ready(begin())
    price = stack.stripe.v1.prices.create(
        {
            "currency": "eur",
            "unit_amount": 1,
            "recurring": {"interval": "month"},
            "product": stack.catalog.products["enterprise_monthly"],
        }
    )
    flow = {
        "type": "subscription_update_confirm",
        "subscription": ada.subscription,
        "items": [{"id": item_of(ada), "price": price.id}],
    }
    refused(ada, 409, "does not offer this flow", flow=flow)


def test_a_portal_session_for_a_deleted_customer_is_a_404_with_the_reason(
    stack: LocalStack, begin: Callable[..., Journey]
) -> None:
    ada = ready(begin())
    # A pending webhook would otherwise sync the deletion.
    stack.wait_until_quiet()
    stack.control.hold_deliveries()
    stack.stripe.v1.customers.delete(ada.customer)
    refused(ada, 404, "deleted in Stripe")
    stack.control.deliver_normally()
    stack.control.release_deliveries()
    eventually(ada.entitlements, lambda now: now["customer"] is None)
    refused(ada, 404, "No Stripe customer")


def test_a_change_of_a_subscription_billed_by_usage_is_a_409(
    stack: LocalStack, begin: Callable[..., Journey]
) -> None:
    price = stack.stripe.v1.prices.create(
        {
            "currency": "eur",
            "unit_amount": 1,
            "recurring": {"interval": "month", "usage_type": "metered"},
            "product": stack.catalog.products["team_monthly"],
        }
    )
    ada = begin(plan=None)
    created = stack.stripe.v1.subscriptions.create(
        {"customer": ada.customer, "items": [{"price": price.id}]}
    )
    eventually(ada.entitlements, lambda now: bool(now["subscriptions"]))
    refused(ada, 409, "usage", flow={"type": "subscription_update", "subscription": created.id})
