"""What Stripe bills with: prices, the items of a customer's subscriptions, and their invoices.

Everything is immutable but the customer: each of its states shares what did not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.stripe_model import EPOCH, METADATA_KEY, PAGE_SIZE, State

Json = Mapping[str, Any]
Catalog = Mapping[str, tuple[str, ...]]

DAY = 86_400
WEEK, MONTH, YEAR = 7 * DAY, 30 * DAY, 365 * DAY

#: The features of each product. `prod_pro` has three, so its entitlements fill two pages.
CATALOG: Catalog = {
    "prod_basic": ("export",),
    "prod_pro": ("export", "reports", "sso"),
    "prod_seats": ("seats",),
}

#: Each price with its product, its interval in seconds, and whether it is billed by usage.
PRICES: Mapping[str, tuple[str, int, bool]] = {
    "price_basic": ("prod_basic", MONTH, False),
    "price_basic_weekly": ("prod_basic", WEEK, False),
    "price_pro": ("prod_pro", MONTH, False),
    "price_pro_yearly": ("prod_pro", YEAR, False),
    "price_seats": ("prod_seats", MONTH, False),
    "price_overage": ("prod_seats", MONTH, True),
    # Nothing is known of these: Stripe no longer has the product of the first and the two others.
    "price_of_deleted": ("prod_deleted", MONTH, False),
    "price_forgotten": ("prod_basic", MONTH, False),
    "price_forgotten_usage": ("prod_pro", MONTH, True),
}


def _price(name: str) -> Json:
    product, _, by_usage = PRICES[name]
    recurring = {"usage_type": "metered" if by_usage else "licensed"}
    return {"id": name, "product": product, "lookup_key": None, "recurring": recurring}


OBJECTS: Mapping[str, Json] = {name: _price(name) for name in PRICES}
KNOWN_PRICES = {name: OBJECTS[name] for name in PRICES if "forgotten" not in name}

METHODS: tuple[Json | None, ...] = (
    None,
    {"object": "payment_method", "type": "card", "card": {"brand": "visa"}},
    {"object": "payment_method", "type": "sepa_debit", "sepa_debit": {"last4": "3000"}},
    {"object": "payment_method", "type": "us_bank_account", "us_bank_account": {}},
)
SOURCES: tuple[Json | None, ...] = (
    None,
    {"object": "card", "brand": "visa", "last4": "4242"},
    {"object": "bank_account", "last4": "6789"},
    {"object": "source", "type": "ach_debit", "ach_debit": {}},
)
GRANTS = (
    ("grant.sso", "2027-01-31 pilot"),
    ("grant.reports", "forever founders"),
    ("grant.export", "2026-11-05T12:00:00Z"),
    ("grant.priority", "2026-12-01T00:30:00+02:00 support"),
    ("grant.sso", "soon"),
    ("grant.", "forever"),
    ("grant.seats", "2027-02-30"),
    ("grant.seats", ""),
)


@dataclass
class Customer:
    """A customer at Stripe.

    lists_in_grace  whether Stripe lists entitlements while past_due: it does not document that
    max_items       of one subscription. They fit on one page by default: with more pages, a change
                    between two reads may yield a mixture that Stripe never had
    """

    id: str
    rng: Random
    today: int = EPOCH
    subscriptions: dict[str, Json] = field(default_factory=dict)
    profile: Json = field(default_factory=lambda: {"delinquent": False, "metadata": {}})
    entitlements: tuple[str, ...] = ()
    lists_in_grace: bool = True
    on_test_clock: bool = False
    max_items: int = PAGE_SIZE
    serial: int = 0

    def state(self, catalog: Catalog, claim: str | None) -> State:
        """The customer as it is now. Its entitlements are as `list_entitlements` left them."""
        metadata = {**self.profile["metadata"], **({METADATA_KEY: claim} if claim else {})}
        clock = {"test_clock": {"frozen_time": self.today}} if self.on_test_clock else {}
        return State(
            self.id,
            subscriptions=tuple(self.subscriptions.values()),
            entitlements=self.entitlements,
            catalog=catalog,
            prices=KNOWN_PRICES,
            profile={**self.profile, "metadata": metadata, **clock},
        )

    def list_entitlements(self, catalog: Catalog) -> None:
        """Stripe recomputes the active entitlements. Until then they are what they were."""
        listed = ("active", "trialing", *(["past_due"] if self.lists_in_grace else []))
        held = [each for each in self.subscriptions.values() if each["status"] in listed]
        products = {item["price"]["product"] for each in held for item in each["items"]}
        self.entitlements = tuple(sorted({f for p in products for f in catalog.get(p, ())}))

    def change(self, name: str, **fields: Any) -> None:
        self.subscriptions[name] = {**self.subscriptions[name], **fields}

    def new_id(self, kind: str) -> str:
        self.serial += 1
        return f"{kind}_{self.id}_{self.serial}"


# Items, lines and invoices.


def new_item(c: Customer, price: str, *, end: int | None = None) -> dict[str, Any]:
    _, interval, by_usage = PRICES[price]
    return {
        "id": c.new_id("si"),
        "price": OBJECTS[price],
        "quantity": None if by_usage else c.rng.choice((1, 1, 2, 5)),
        "current_period_start": c.today,
        "current_period_end": end or c.today + interval,
    }


def line_of(c: Customer, item: Json, start: int, amount: int, **fields: Any) -> Json:
    price = item["price"]
    return {
        "id": c.new_id("il"),
        "amount": amount,
        "quantity": item["quantity"] or 0,
        "period": {"start": start, "end": item["current_period_end"]},
        "parent": {"subscription_item_details": {"subscription_item": item["id"]}},
        "pricing": {"price_details": {"price": price["id"], "product": price["product"]}},
        **fields,
    }


def charges(c: Customer, item: Json, *, unit: int = 1900) -> Iterator[Json]:
    """The lines that bill the item's period: two where the price has tiers."""
    quantity, start = item["quantity"] or 0, item["current_period_start"]
    tiers = (2, quantity - 2) if item["price"]["id"] == "price_seats" and quantity > 2 else None
    for part in tiers or (quantity,):
        yield line_of(c, item, start, unit * part, quantity=part)


def credit(c: Customer, item: Json) -> Iterator[Json]:
    """What is given back of an item that was billed in advance."""
    if item["quantity"]:
        made = line_of(c, item, c.today, c.rng.choice((-900, -900, 0)) * item["quantity"])
        credited = {"proration_details": {"credited_items": {"invoice": "in_before"}}}
        details = made["parent"]["subscription_item_details"]
        yield {**made, "parent": {"subscription_item_details": {**details, **credited}}}


def new_invoice(
    c: Customer,
    name: str,
    status: str,
    reason: str,
    lines: Sequence[Json],
    total: int | None = None,
) -> Json:
    sent = c.subscriptions[name]["collection_method"] == "send_invoice"
    made = {
        "id": c.new_id("in"),
        "billing_reason": reason,
        "total": sum(line["amount"] for line in lines) if total is None else total,
        "created": c.today,
        "due_date": c.today + MONTH if sent else None,
        "lines": tuple(lines),
        **_settled(c, {"status_transitions": {}}, status),
    }
    c.change(name, _invoices=(made, *c.subscriptions[name]["_invoices"]))
    return made


def _settled(c: Customer, invoice: Json, status: str) -> Json:
    """The invoice, with another status from today on."""
    times: dict[str, int | None] = {"finalized_at": None, "paid_at": None, "voided_at": None}
    times |= invoice["status_transitions"]
    moved = {"paid": "paid_at", "void": "voided_at"}.get(status)
    if status != "draft":
        times["finalized_at"] = times["finalized_at"] or c.today
    return {
        **invoice,
        "status": status,
        "status_transitions": times | ({moved: c.today} if moved else {}),
    }


def settle(c: Customer, name: str, invoice: Json, status: str) -> None:
    invoices = c.subscriptions[name]["_invoices"]
    c.change(
        name,
        _invoices=tuple(
            _settled(c, e, status) if e["id"] == invoice["id"] else e for e in invoices
        ),
    )


def unpaid_of(c: Customer, name: str) -> list[Json]:
    invoices = c.subscriptions[name]["_invoices"]
    return [each for each in invoices if each["status"] in ("open", "uncollectible")]


# What happens to a subscription.


def begin(c: Customer, status: str, items: Sequence[Json], **fields: Any) -> str:
    """A subscription with its first invoice, which is paid unless it is sent or incomplete. Returns
    its id."""
    name = c.new_id("sub")
    trial = c.today + 14 * DAY if status == "trialing" else None
    if trial:
        items = [{**item, "current_period_end": trial} for item in items]
    c.subscriptions[name] = {
        "id": name,
        "status": status,
        "items": tuple(items),
        "cancel_at": None,
        "cancel_at_period_end": False,
        "trial_end": trial,
        "pause_collection": None,
        "collection_method": "charge_automatically",
        "default_payment_method": None,
        "default_source": None,
        "_invoices": (),
        "_pending": (),
        "_forgotten": False,
        **fields,
    }
    lines = [line for item in items for line in charges(c, item, unit=0 if trial else 1900)]
    first = new_invoice(c, name, "open", "subscription_create", lines)
    if trial or (status == "active" and not first["due_date"]):
        settle(c, name, first, "paid")
    return name


def next_period(c: Customer, name: str) -> list[Json]:
    """The items whose period ends first begin a new one. Returns the lines that are due."""
    held = c.subscriptions[name]
    end = min(item["current_period_end"] for item in held["items"])
    c.today = max(c.today, end + 3600)
    items, lines = [], list(held["_pending"])
    for item in held["items"]:
        if item["current_period_end"] != end:
            items.append(item)
            continue
        interval = PRICES[item["price"]["id"]][1]
        after = {**item, "current_period_start": end, "current_period_end": end + interval}
        items.append(after)
        if item["quantity"] is None:
            usage = c.rng.choice((0, 3, 700))
            lines.append(line_of(c, item, item["current_period_start"], usage, quantity=usage))
        else:
            lines += charges(c, after)
    status = "active" if held["status"] == "trialing" else held["status"]
    c.change(name, items=tuple(items), status=status, _pending=())
    return lines


def declined(c: Customer, name: str) -> None:
    """A payment failed, or none came in time."""
    if c.subscriptions[name]["status"] in ("active", "trialing", "past_due"):
        c.change(name, status="past_due")
        c.profile = {**c.profile, "delinquent": True}


def recovered(c: Customer, name: str) -> None:
    """Nothing is owed any more."""
    if c.subscriptions[name]["status"] in ("past_due", "unpaid", "incomplete"):
        c.change(name, status="active")
        c.profile = {**c.profile, "delinquent": False}
