"""What a customer may buy, and how it is put into a checkout session. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from billing import catalog
from billing.access import has_begun, is_held
from billing.errors import BadRequest
from billing.facts import Subscription
from billing.model import CustomerRow
from billing.stripe_objects import StripeObject, is_metered, product_id

#: Key of a subscription's metadata: the product whose trial it began with.
TRIAL_METADATA_KEY = "portcullis_trial"


def is_for_sale(price: StripeObject, allowed: Collection[str]) -> bool:
    """Whether a subscription to the price (its product expanded) may be bought."""
    product = price["product"]
    return bool(
        catalog.is_allowed(price, allowed)
        and price["active"]
        and price.get("recurring")
        and not product.get("deleted")
        and product["active"]
    )


def trial(product: str, days: int) -> dict[str, Any]:
    """The session's `subscription_data` for a trial. The subscription keeps whose trial it began
    with, whatever its items become."""
    return {"trial_period_days": days, "metadata": {TRIAL_METADATA_KEY: product}}


def has_had(subscriptions: Iterable[StripeObject], product: str) -> bool:
    """Whether one of the customer's subscriptions (all, with all items) gives the product, gave it
    at its end, or began with its trial: a trial is had once."""
    return any(
        product in {product_id(item["price"]) for item in subscription["items"]["data"]}
        or (subscription.get("metadata") or {}).get(TRIAL_METADATA_KEY) == product
        for subscription in subscriptions
        if has_begun(subscription["status"])
    )


def with_session_id(url: str) -> str:
    """`url` with the query parameter that Stripe fills in on the way back, before any fragment."""
    address, hash_sign, fragment = url.partition("#")
    separator = "&" if "?" in address else "?"
    return f"{address}{separator}checkout_session_id={{CHECKOUT_SESSION_ID}}{hash_sign}{fragment}"


def held_subscription(row: CustomerRow, product: str) -> Subscription | None:
    """The customer's subscription to the product, paid for or not."""
    for subscription in row.facts.subscriptions:
        products = {item.product for item in subscription.items}
        if product in products and is_held(subscription.status):
            return subscription
    return None


def line_item(price: StripeObject, quantity: int | None) -> dict[str, Any]:
    """Raises BadRequest for a quantity of a metered price: Stripe accepts none."""
    if not is_metered(price):
        return {"price": price["id"], "quantity": int(quantity or 1)}
    if quantity is not None:
        raise BadRequest("Field quantity is not allowed for a price that is billed by usage.")
    return {"price": price["id"]}


def products_of(session: StripeObject) -> set[str]:
    """The products (ids) that a checkout session sells; none in mode setup."""
    return {product_id(line["price"]) for line in _lines(session) if line.get("price")}


def is_for(session: StripeObject, wanted: Mapping[str, Any]) -> bool:
    """Whether a session sells exactly the line item in the parameters `wanted`, and leads back to
    the same pages."""
    lines, (item,) = _lines(session), wanted["line_items"]
    return (
        all(session.get(name) == wanted[name] for name in ("success_url", "cancel_url"))
        and len(lines) == 1
        and lines[0]["price"]["id"] == item["price"]
        and (is_metered(lines[0]["price"]) or lines[0]["quantity"] == item["quantity"])
    )


def _lines(session: StripeObject) -> Sequence[StripeObject]:
    lines: Sequence[StripeObject] = (session.get("line_items") or {}).get("data", ())
    return lines
