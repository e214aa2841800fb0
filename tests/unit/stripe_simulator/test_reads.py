"""The reads of a sync: a customer with everything expanded, its invoices, ended subscriptions."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import Shop


def test_invoices_of_a_subscription_are_listed_newest_first_with_their_lines(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    shop.subscription(customer)
    control.advance(days=100)
    found = api.invoices.list({"subscription": subscription.id, "limit": 2})
    assert (len(found.data), found.has_more) == (2, True)
    rest = api.invoices.list(
        {"subscription": subscription.id, "limit": 2, "starting_after": found.data[-1].id}
    )
    assert (len(rest.data), rest.has_more) == (2, False)
    created = [invoice.created for invoice in [*found.data, *rest.data]]
    assert created == sorted(created, reverse=True)
    for invoice in found.data:
        (line,) = invoice.lines.data
        details = line.parent.subscription_item_details
        assert details.subscription_item == subscription["items"].data[0].id
        assert line.pricing.price_details.price == shop.basic_price.id
        assert line.pricing.price_details.product == shop.basic.id


def test_an_invoice_embeds_ten_lines_and_lists_them_all_in_pages(api: Any, shop: Shop) -> None:
    prices = [shop.price(shop.basic.id, 100 + n, f"k{n}").id for n in range(12)]
    subscription = api.subscriptions.create(
        {"customer": shop.customer().id, "items": [{"price": price} for price in prices]}
    )
    (invoice,) = api.invoices.list({"subscription": subscription.id}).data
    assert (len(invoice.lines.data), invoice.lines.has_more) == (10, True)
    assert invoice.lines.url == f"/v1/invoices/{invoice.id}/lines"
    page = api.invoices.line_items.list(invoice.id, {"limit": 5})
    assert (len(page.data), page.has_more) == (5, True)
    listed = [line.pricing.price_details.price for line in page.auto_paging_iter()]
    assert listed == prices
    with pytest.raises(stripe.InvalidRequestError, match="No such invoice"):
        api.invoices.line_items.list("in_nothing")


def test_a_canceled_subscription_says_when_and_why_it_ended(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer)
    api.subscriptions.cancel(
        subscription.id, {"cancellation_details": {"feedback": "unused", "comment": "bye"}}
    )
    (listed,) = api.subscriptions.list({"customer": customer.id, "status": "all"}).data
    for found in (listed, api.subscriptions.retrieve(subscription.id)):
        assert found.status == "canceled"
        assert abs(found.ended_at - control.now()) <= 5
        details = found.cancellation_details
        assert (details.reason, details.feedback) == ("cancellation_requested", "unused")


def test_a_product_that_is_sold_can_be_deleted_and_its_features_are_then_missing(
    api: Any, shop: Shop, control: Control
) -> None:
    customer = shop.customer()
    subscription = shop.subscription(customer, shop.pro_price)
    with pytest.raises(stripe.InvalidRequestError, match="user-created prices"):
        api.products.delete(shop.pro.id)
    control.delete_product(shop.pro.id)
    for call in (api.products.features.list, api.products.retrieve):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            call(shop.pro.id)
        assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    kept = api.subscriptions.retrieve(subscription.id)["items"].data[0].price
    assert (kept.id, kept.product, kept.active) == (shop.pro_price.id, shop.pro.id, False)
    with pytest.raises(stripe.InvalidRequestError, match="No such price"):
        api.prices.retrieve(kept.id)
    assert [price.id for price in api.prices.list()] == [shop.basic_price.id]
    types = [event.type for event in api.events.list({"limit": 2})]
    assert types == ["product.deleted", "price.deleted"]
    assert shop.keys(customer.id) == ["export", "priority"]
    control.advance(days=40)
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        control.delete_product("prod_nothing")
