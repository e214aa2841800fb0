"""When a feature that is attached to a product reaches the customers who have the product."""

from __future__ import annotations

from typing import Any

import pytest

from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import Shop

SUMMARY = "entitlements.active_entitlement_summary.updated"


def summaries(api: Any, customer: Any) -> int:
    found = api.events.list({"type": SUMMARY, "limit": 100}).auto_paging_iter()
    return sum(event.data.object["customer"] == customer.id for event in found)


def attach(api: Any, shop: Shop, key: str = "audit") -> Any:
    feature = api.entitlements.features.create({"name": key, "lookup_key": key})
    return api.products.features.create(shop.basic.id, {"entitlement_feature": feature.id})


def test_an_attached_feature_reaches_a_new_subscription_at_once_with_an_event(
    api: Any, shop: Shop
) -> None:
    attach(api, shop)
    customer = shop.customer()
    shop.subscription(customer)
    assert shop.keys(customer.id) == ["audit", "export"]
    assert summaries(api, customer) == 1


def test_an_attached_feature_reaches_an_existing_subscription_at_its_renewal_without_an_event(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    attach(api, shop)
    assert shop.keys(customer.id) == ["export"]
    # Another change of the subscription does not bring it forward.
    api.subscriptions.update(subscription.id, {"metadata": {"note": "1"}})
    control.advance(days=20)
    assert shop.keys(customer.id) == ["export"]
    control.advance(days=12)
    assert shop.keys(customer.id) == ["audit", "export"]
    assert api.events.list({"type": SUMMARY, "created": {"gte": control.now() - 86_400}}).data == []


def test_a_second_subscription_of_the_customer_brings_the_feature_at_once(
    api: Any, shop: Shop
) -> None:
    customer = shop.customer()
    shop.subscription(customer)
    attach(api, shop)
    shop.subscription(customer)
    assert shop.keys(customer.id) == ["audit", "export"]
    assert summaries(api, customer) == 2


def test_another_price_of_the_product_brings_the_feature_at_once(api: Any, shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    attach(api, shop)
    clone = shop.price(shop.basic.id, 1000, "clone")
    item = subscription["items"].data[0].id
    api.subscriptions.update(subscription.id, {"items": [{"id": item, "price": clone.id}]})
    assert shop.keys(customer.id) == ["audit", "export"]
    assert summaries(api, customer) == 2


@pytest.mark.parametrize("renewed", [False, True])
def test_a_detached_feature_is_lost_at_once_and_attached_again_it_waits_again(
    api: Any, shop: Shop, control: Control, renewed: bool
) -> None:
    customer = shop.customer()
    attached = attach(api, shop)
    shop.subscription(customer)
    if renewed:
        control.advance(days=32)
    before = summaries(api, customer)
    api.products.features.delete(shop.basic.id, attached.id)
    assert shop.keys(customer.id) == ["export"]
    assert summaries(api, customer) == before + 1
    api.products.features.create(
        shop.basic.id, {"entitlement_feature": attached.entitlement_feature.id}
    )
    assert shop.keys(customer.id) == ["export"]


def test_what_a_payment_brings_back_is_announced(api: Any, shop: Shop, control: Control) -> None:
    control.settings(entitlements_during_past_due=False)
    customer = shop.customer()
    subscription = shop.subscription(customer)
    attach(api, shop)
    control.payment_outcome(customer.id, "fail")
    control.advance(days=32)
    assert shop.keys(customer.id) == []
    before = summaries(api, customer)
    control.payment_outcome(customer.id, None)
    api.invoices.pay(api.subscriptions.retrieve(subscription.id).latest_invoice)
    assert shop.keys(customer.id) == ["audit", "export"]
    assert summaries(api, customer) == before + 1
