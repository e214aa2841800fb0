"""The permissions that a restricted key needs, by Stripe's names, for each endpoint.

https://docs.stripe.com/stripe-apps/reference/permissions names them and their resources. It does
not list the endpoints: what belongs to a customer (tax ids, sources) is read as the customer's,
and a product's features as the product's. Writing includes reading, as in the dashboard. Nothing
else is implied here, although Stripe documents that some permissions imply others: a key with
the permissions that are named here works in either case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import StripeError
from .routes import Route

#: The first pattern that a path matches decides.
_RESOURCES = [
    (re.compile(pattern), resource)
    for pattern, resource in (
        (r"/v1/account", "connected_account"),
        (r"/v1/billing_portal/.*", "customer_portal"),
        (r"/v1/checkout/sessions.*", "checkout_session"),
        (r"/v1/coupons.*", "coupon"),
        (r"/v1/(customers/[^/]+/)?payment_methods.*", "payment_method"),
        (r"/v1/customers/[^/]+/subscriptions", "subscription"),
        (r"/v1/customer/[^/]+/entitlements", "entitlement"),
        (r"/v1/customers.*", "customer"),
        (r"/v1/entitlements/.*", "entitlement"),
        (r"/v1/events.*", "event"),
        (r"/v1/invoice.*", "invoice"),
        (r"/v1/prices.*", "plan"),
        (r"/v1/products.*", "product"),
        (r"/v1/promotion_codes.*", "promotion_code"),
        (r"/v1/sources.*", "source"),
        (r"/v1/subscription.*", "subscription"),
        (r"/v1/test_helpers/test_clocks.*", "billing_clock"),
        (r"/v1/webhook_endpoints.*", "webhook"),
    )
]

#: An expanded object needs a permission too. The others that can be expanded belong to what has
#: been requested.
_EXPANDED = {
    "customer": "customer",
    "default_payment_method": "payment_method",
    "default_price": "plan",
    "default_source": "source",
    "feature": "entitlement",
    "invoice": "invoice",
    "latest_invoice": "invoice",
    "price": "plan",
    "product": "product",
    "promotion_code": "promotion_code",
    "subscription": "subscription",
    "subscriptions": "subscription",
    "test_clock": "billing_clock",
}


def needed(route: Route, expand: Iterable[str]) -> list[str]:
    """Return the permissions of a call, the endpoint's own first."""
    access = "read" if route.method == "GET" else "write"
    own = next(name for pattern, name in _RESOURCES if pattern.fullmatch(route.path))
    names = [f"rak_{own}_{access}"]
    for path in expand:
        names += [f"rak_{_EXPANDED[each]}_read" for each in path.split(".") if each in _EXPANDED]
    return list(dict.fromkeys(names))


def check(key: str, held: frozenset[str], wanted: list[str], account: str) -> None:
    """Raise Stripe's 403 unless `held` has the permissions that are wanted."""
    having = held | {
        name.removesuffix("_write") + "_read" for name in held if name[-6:] == "_write"
    }
    missing = [name for name in wanted if name not in having]
    if missing:
        shown = key[:8] + "*" * max(0, len(key) - 12) + key[-4:]
        listed = ", ".join(f"'{name}'" for name in missing)
        noun = "permission" if len(missing) == 1 else "permissions"
        raise StripeError(
            403,
            f"The provided key '{shown}' does not have the required permissions for this endpoint "
            f"on account '{account}'. Having the {listed} {noun} "
            "would allow this request to continue.",
        )
