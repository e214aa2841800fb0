"""The local Stripe account: three plans, a portal configuration and four demo users.

The official library creates everything, as it would in the sandbox of a real account.
"""

from __future__ import annotations

from dataclasses import dataclass

import stripe


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A product, its monthly price (euro cents per seat) and the lookup keys of its features."""

    name: str
    lookup_key: str
    amount: int
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoUser:
    """A user to sign in as. `subject` is the `sub` of the token and `user_id` in the metadata.

    A user without a plan has no customer in Stripe: the first purchase creates one.
    """

    subject: str
    name: str
    email: str
    plan: str | None
    seats: int = 1
    trial_days: int = 0


FEATURES = {
    "projects": "Unlimited projects",
    "api_access": "API access",
    "priority_support": "Priority support",
    "audit_log": "Audit log",
    "single_sign_on": "Single sign-on",
}

PLANS = (
    Plan(name="Starter", lookup_key="starter_monthly", amount=900, features=("projects",)),
    Plan(
        name="Team",
        lookup_key="team_monthly",
        amount=2400,
        features=("projects", "api_access", "priority_support"),
    ),
    Plan(
        name="Enterprise",
        lookup_key="enterprise_monthly",
        amount=7900,
        features=("projects", "api_access", "priority_support", "audit_log", "single_sign_on"),
    ),
)

DEMO_USERS = (
    DemoUser(
        subject="user_ada",
        name="Ada Okafor",
        email="ada@example.com",
        plan="team_monthly",
        seats=5,
    ),
    DemoUser(
        subject="user_ben",
        name="Ben Lindqvist",
        email="ben@example.com",
        plan="starter_monthly",
        trial_days=14,
    ),
    DemoUser(
        subject="user_chloe",
        name="Chloé Marchand",
        email="chloe@example.com",
        plan="enterprise_monthly",
        seats=20,
    ),
    DemoUser(
        subject="user_dana",
        name="Dana Whitfield",
        email="dana@example.com",
        plan=None,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The ids of what was created.

    Products and prices are keyed by the price's lookup key, features by their own.
    """

    products: dict[str, str]
    prices: dict[str, str]
    features: dict[str, str]
    portal_configuration: str


def create_catalog(client: stripe.StripeClient, *, return_url: str) -> Catalog:
    """Create the features and the plans, and set up the default portal configuration."""
    features = {
        key: client.v1.entitlements.features.create({"lookup_key": key, "name": name}).id
        for key, name in FEATURES.items()
    }
    products: dict[str, str] = {}
    prices: dict[str, str] = {}
    for plan in PLANS:
        product = client.v1.products.create({"name": plan.name})
        for key in plan.features:
            client.v1.products.features.create(product.id, {"entitlement_feature": features[key]})
        price = client.v1.prices.create(
            {
                "product": product.id,
                "currency": "eur",
                "unit_amount": plan.amount,
                "recurring": {"interval": "month"},
                "lookup_key": plan.lookup_key,
            }
        )
        products[plan.lookup_key], prices[plan.lookup_key] = product.id, price.id
    # The API can update the account's default configuration but cannot create it.
    (default,) = client.v1.billing_portal.configurations.list({"is_default": True}).data
    configuration = client.v1.billing_portal.configurations.update(
        default.id,
        {
            "name": "Local",
            "default_return_url": return_url,
            "business_profile": {"headline": "Portcullis, on this machine"},
            "features": {
                "customer_update": {"enabled": True, "allowed_updates": ["email", "tax_id"]},
                "invoice_history": {"enabled": True},
                "payment_method_update": {"enabled": True},
                "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
                "subscription_update": {
                    "enabled": True,
                    "default_allowed_updates": ["price", "quantity"],
                    "proration_behavior": "create_prorations",
                    "products": [
                        {
                            "product": products[key],
                            "prices": [prices[key]],
                            "adjustable_quantity": {"enabled": True, "minimum": 1, "maximum": 500},
                        }
                        for key in products
                    ],
                },
            },
        },
    )
    return Catalog(
        products=products,
        prices=prices,
        features=features,
        portal_configuration=configuration.id,
    )


def create_customer(
    client: stripe.StripeClient,
    subject: str,
    *,
    name: str = "",
    email: str = "",
    card: str | None = "pm_card_visa",
) -> str:
    """Create a customer that belongs to `subject`, with `card` as its default unless it is None.

    Returns the customer's id.
    """
    params: stripe.params.CustomerCreateParams = {"metadata": {"user_id": subject}}
    if name:
        params["name"] = name
    if email:
        params["email"] = email
    customer = client.v1.customers.create(params)
    if card:
        method = client.v1.payment_methods.attach(card, {"customer": customer.id})
        client.v1.customers.update(
            customer.id, {"invoice_settings": {"default_payment_method": method.id}}
        )
    return customer.id


def subscribe(
    client: stripe.StripeClient,
    customer: str,
    price: str,
    *,
    quantity: int = 1,
    trial_days: int = 0,
) -> str:
    """Subscribe `customer` to `price`. Returns the subscription's id."""
    params: stripe.params.SubscriptionCreateParams = {
        "customer": customer,
        "items": [{"price": price, "quantity": quantity}],
    }
    if trial_days:
        params["trial_period_days"] = trial_days
    return client.v1.subscriptions.create(params).id


def create_demo_users(client: stripe.StripeClient, catalog: Catalog) -> dict[str, str]:
    """Create a customer with a subscription for each demo user who has a plan.

    Returns the customer ids by subject.
    """
    customers: dict[str, str] = {}
    for user in DEMO_USERS:
        if user.plan is None:
            continue
        customer = create_customer(client, user.subject, name=user.name, email=user.email)
        subscribe(
            client,
            customer,
            catalog.prices[user.plan],
            quantity=user.seats,
            trial_days=user.trial_days,
        )
        customers[user.subject] = customer
    return customers
