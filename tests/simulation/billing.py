"""Stripe's billing, as unkind as it can be: a customer's subscriptions and invoices, step by step.

Each step is a function that changes one customer, or one of its subscriptions, and returns the
types of the events that Stripe sends for it: empty where the step does not apply. Billing has a
calendar of its own, `today`. The world's clock only spaces the changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.stripe_model import EPOCH, METADATA_KEY, State

Json = Mapping[str, Any]
Catalog = Mapping[str, tuple[str, ...]]

DAY = 86_400
WEEK, MONTH, YEAR = 7 * DAY, 30 * DAY, 365 * DAY

SUB = "customer.subscription"
SUMMARY = "entitlements.active_entitlement_summary.updated"
CREATED, UPDATED, DELETED = f"{SUB}.created", f"{SUB}.updated", f"{SUB}.deleted"
PAID, FAILED = "invoice.paid", "invoice.payment_failed"

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
    """A customer at Stripe. `lists_in_grace`: whether Stripe lists entitlements while past_due,
    which it does not document."""

    id: str
    rng: Random
    today: int = EPOCH
    subscriptions: dict[str, Json] = field(default_factory=dict)
    profile: Json = field(default_factory=lambda: {"delinquent": False, "metadata": {}})
    entitlements: tuple[str, ...] = ()
    lists_in_grace: bool = True
    on_test_clock: bool = False
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


def _item(c: Customer, price: str, *, end: int | None = None) -> dict[str, Any]:
    _, interval, by_usage = PRICES[price]
    return {
        "id": c.new_id("si"),
        "price": OBJECTS[price],
        "quantity": None if by_usage else c.rng.choice((1, 1, 2, 5)),
        "current_period_start": c.today,
        "current_period_end": end or c.today + interval,
    }


def _line(c: Customer, item: Json, start: int, amount: int, **fields: Any) -> Json:
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


def _charges(c: Customer, item: Json, *, unit: int = 1900) -> Iterator[Json]:
    """The lines that bill the item's period: two where the price has tiers."""
    quantity, start = item["quantity"] or 0, item["current_period_start"]
    tiers = (2, quantity - 2) if item["price"]["id"] == "price_seats" and quantity > 2 else None
    for part in tiers or (quantity,):
        yield _line(c, item, start, unit * part, quantity=part)


def _credit(c: Customer, item: Json) -> Iterator[Json]:
    """What is given back of an item that was billed in advance."""
    if item["quantity"]:
        made = _line(c, item, c.today, c.rng.choice((-900, -900, 0)) * item["quantity"])
        credited = {"proration_details": {"credited_items": {"invoice": "in_before"}}}
        details = made["parent"]["subscription_item_details"]
        yield {**made, "parent": {"subscription_item_details": {**details, **credited}}}


def _invoice(
    c: Customer, name: str, status: str, reason: str, lines: Sequence[Json], total: int | None
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
    times = {"finalized_at": None, "paid_at": None, "voided_at": None}
    times |= invoice["status_transitions"]
    moved = {"paid": "paid_at", "void": "voided_at"}.get(status)
    if status != "draft":
        times["finalized_at"] = times["finalized_at"] or c.today
    return {
        **invoice,
        "status": status,
        "status_transitions": times | ({moved: c.today} if moved else {}),
    }


def _settle(c: Customer, name: str, invoice: Json, status: str) -> None:
    invoices = c.subscriptions[name]["_invoices"]
    c.change(
        name,
        _invoices=tuple(
            _settled(c, e, status) if e["id"] == invoice["id"] else e for e in invoices
        ),
    )


def _unpaid(c: Customer, name: str) -> list[Json]:
    invoices = c.subscriptions[name]["_invoices"]
    return [each for each in invoices if each["status"] in ("open", "uncollectible")]


def _bill(
    c: Customer, name: str, reason: str, lines: Sequence[Json], total: int | None = None
) -> str:
    """Bill the lines: paid, declined, sent, or under way with a bank that answers later."""
    made = _invoice(c, name, "open", reason, lines, total)
    if made["total"] > 0 and made["due_date"]:
        return ""
    outcome = c.rng.random()
    if made["total"] <= 0 or outcome < 0.55:
        _settle(c, name, made, "paid")
        return f"{_recovered(c, name)} {PAID}"
    if outcome < 0.65:
        return ""
    return _declined(c, name)


def _declined(c: Customer, name: str) -> str:
    if c.subscriptions[name]["status"] in ("active", "trialing", "past_due"):
        c.change(name, status="past_due")
        c.profile = {**c.profile, "delinquent": True}
    return f"{FAILED} {UPDATED}"


def _recovered(c: Customer, name: str) -> str:
    """An invoice was paid: mostly the subscription is active again once nothing is unpaid."""
    owes = bool(_unpaid(c, name)) and c.rng.random() < 0.8
    if c.subscriptions[name]["status"] in ("past_due", "unpaid", "incomplete") and not owes:
        c.change(name, status="active")
        c.profile = {**c.profile, "delinquent": False}
    return UPDATED


# The steps of a subscription's life.


def subscribe(c: Customer) -> str:
    if len(c.subscriptions) == 3:
        return ""
    name, rng = c.new_id("sub"), c.rng
    prices = rng.choice(
        (
            rng.sample(sorted(PRICES), rng.choice((1, 1, 2))),
            ("price_pro_yearly", rng.choice(("price_seats", "price_basic"))),
            ("price_seats", "price_overage"),
        )
    )
    items = tuple(_item(c, price) for price in prices)
    status = rng.choice(("active", "active", "active", "trialing", "incomplete"))
    if trial := status == "trialing":
        items = tuple({**item, "current_period_end": c.today + 14 * DAY} for item in items)
    c.subscriptions[name] = {
        "id": name,
        "status": status,
        "items": items,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "trial_end": c.today + 14 * DAY if trial else None,
        "pause_collection": None,
        "collection_method": rng.choice(("charge_automatically",) * 4 + ("send_invoice",)),
        "default_payment_method": rng.choice((None, None, *METHODS)),
        "default_source": None,
        "_invoices": (),
        "_pending": (),
        "_forgotten": rng.random() < 0.1,
    }
    lines = [line for item in items for line in _charges(c, item, unit=0 if trial else 1900)]
    first = _invoice(c, name, "open", "subscription_create", lines, None)
    if trial or (status == "active" and not first["due_date"]):
        _settle(c, name, first, "paid")
    return f"{CREATED} {FAILED if status == 'incomplete' else PAID}"


def first_payment(c: Customer, name: str) -> str:
    (first, *_) = c.subscriptions[name]["_invoices"]
    if c.subscriptions[name]["status"] != "incomplete":
        return ""
    if c.rng.random() < 0.3:
        _settle(c, name, first, "void")
        c.change(name, status="incomplete_expired")
        return UPDATED
    _settle(c, name, first, "paid")
    return f"{_recovered(c, name)} {PAID}"


def renew(c: Customer, name: str) -> str:
    """The items whose period ends first begin a new one. It moves before it is paid."""
    held = c.subscriptions[name]
    if held["status"] not in ("active", "trialing", "past_due"):
        return ""
    end = min(item["current_period_end"] for item in held["items"])
    c.today = max(c.today, end) + 3600
    bound = max(item["current_period_end"] for item in held["items"])
    if (held["cancel_at"] or end + 1) <= end or (held["cancel_at_period_end"] and end == bound):
        return cancel(c, name)
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
            lines.append(_line(c, item, item["current_period_start"], usage, quantity=usage))
        else:
            lines += _charges(c, after)
    status = "active" if held["status"] == "trialing" else held["status"]
    c.change(name, items=tuple(items), status=status, _pending=())
    if c.rng.random() < 0.15:
        _invoice(c, name, "draft", "subscription_cycle", lines, None)
        return UPDATED
    free = 0 if c.rng.random() < 0.05 else None
    return f"{UPDATED} {_bill(c, name, 'subscription_cycle', lines, free)}"


def finalize(c: Customer, name: str) -> str:
    """A draft becomes an invoice, an hour after its renewal."""
    (newest, *others) = c.subscriptions[name]["_invoices"]
    if newest["status"] != "draft":
        return ""
    c.change(name, _invoices=tuple(others))
    return _bill(c, name, "subscription_cycle", newest["lines"])


def hear_late(c: Customer, name: str) -> str:
    """The bank's answer comes after two weeks, or an invoice that was sent falls due."""
    unpaid = _unpaid(c, name)
    if c.subscriptions[name]["status"] != "active" or not unpaid:
        return ""
    c.today = max(c.today, unpaid[0]["due_date"] or unpaid[0]["created"] + 14 * DAY)
    return pay(c, name) if c.rng.random() < 0.3 else _declined(c, name)


def pay(c: Customer, name: str) -> str:
    unpaid = _unpaid(c, name)
    if not unpaid or c.subscriptions[name]["status"] == "incomplete_expired":
        return ""
    for invoice in c.rng.choice((unpaid, unpaid[:1], unpaid[-1:])):
        _settle(c, name, invoice, "paid")
    return f"{PAID} {_recovered(c, name)}"


def write_off(c: Customer, name: str) -> str:
    unpaid = _unpaid(c, name)
    if not unpaid or c.subscriptions[name]["status"] in ("incomplete", "incomplete_expired"):
        return ""
    _settle(c, name, c.rng.choice(unpaid), c.rng.choice(("void", "uncollectible")))
    if not _unpaid(c, name) and c.rng.random() < 0.5:
        return _recovered(c, name)
    return UPDATED


def give_up(c: Customer, name: str) -> str:
    """The retries are over."""
    if c.subscriptions[name]["status"] != "past_due":
        return ""
    if c.rng.random() < 0.4:
        return cancel(c, name)
    c.change(name, status="unpaid")
    return UPDATED


def change_item(c: Customer, name: str) -> str:
    """Another price or quantity. It counts at once, paid or not: prorations are billed now, with
    the next invoice, or never."""
    held, rng = c.subscriptions[name], c.rng
    old = rng.choice(held["items"])
    if not old["current_period_start"] <= c.today < old["current_period_end"]:
        return ""
    if rng.random() < 0.4 and old["quantity"] is not None:
        new = {**old, "quantity": rng.choice((0, 1, 2, 3, 8))}
    else:
        taken = {item["price"]["id"] for item in held["items"]}
        new = {**_item(c, rng.choice(sorted(PRICES.keys() - taken))), "id": old["id"]}
    same = PRICES[new["price"]["id"]][1] == PRICES[old["price"]["id"]][1]
    if same or held["status"] == "trialing":
        new |= {edge: old[f"current_period_{edge[15:]}"] for edge in _EDGES}
    lines = [*_credit(c, old), *_charges(c, {**new, "current_period_start": c.today})]
    c.change(name, items=tuple(new if item is old else item for item in held["items"]))
    if held["status"] == "trialing":
        return UPDATED
    return _prorate(c, name, lines, must=not same)


_EDGES = ("current_period_start", "current_period_end")


def _prorate(c: Customer, name: str, lines: list[Json], *, must: bool = False) -> str:
    how = c.rng.random()
    if lines and (must or how < 0.6):
        return f"{UPDATED} {_bill(c, name, 'subscription_update', lines)}"
    if how < 0.85:
        c.change(name, _pending=(*c.subscriptions[name]["_pending"], *lines))
    return UPDATED


def add_item(c: Customer, name: str) -> str:
    held = c.subscriptions[name]
    taken = [item["price"]["id"] for item in held["items"]]
    if len(taken) == 2 or held["status"] == "trialing":
        return ""
    new = _item(c, c.rng.choice(sorted(PRICES.keys() - set(taken))))
    c.change(name, items=(*held["items"], new))
    return _prorate(c, name, list(_charges(c, new)))


def remove_item(c: Customer, name: str) -> str:
    held = c.subscriptions[name]
    if len(held["items"]) == 1:
        return ""
    gone = c.rng.choice(held["items"])
    c.change(name, items=tuple(item for item in held["items"] if item is not gone))
    return _prorate(c, name, list(_credit(c, gone)))


def schedule(c: Customer, name: str) -> str:
    end = min(item["current_period_end"] for item in c.subscriptions[name]["items"])
    ends = (None, None, c.today + 3 * DAY, end, end + 11 * MONTH)
    c.change(name, cancel_at=c.rng.choice(ends), cancel_at_period_end=c.rng.random() < 0.3)
    return UPDATED


def cancel(c: Customer, name: str) -> str:
    del c.subscriptions[name]
    return DELETED


def pause(c: Customer, name: str) -> str:
    """Pause or resume the subscription or only the collection; rarely a status nobody knows."""
    held = c.subscriptions[name]
    if c.rng.random() < 0.5:
        c.change(name, pause_collection=None if held["pause_collection"] else {"behavior": "void"})
        return UPDATED
    if held["status"] in ("paused", "resting"):
        c.change(name, status="active")
        return f"{SUB}.resumed"
    if held["status"] in ("active", "trialing"):
        c.change(name, status=c.rng.choice(("paused", "paused", "resting")))
        return f"{SUB}.paused"
    return ""


def change_method(c: Customer) -> str:
    rng, settings = c.rng, {"default_payment_method": c.rng.choice(METHODS)}
    c.profile = {**c.profile, "invoice_settings": settings, "default_source": rng.choice(SOURCES)}
    for name in c.subscriptions:
        if rng.random() < 0.3:
            c.change(
                name,
                default_payment_method=rng.choice(METHODS),
                default_source=rng.choice(SOURCES),
            )
    return "payment_method.attached customer.updated"


def grant(c: Customer) -> str:
    given = dict(c.rng.sample(GRANTS, c.rng.randrange(3)))
    c.profile = {**c.profile, "metadata": given}
    return "customer.updated"


#: Each step of a subscription as often as it is listed.
STEPS: Sequence[Callable[[Customer, str], str]] = (
    *(renew,) * 6,
    *(change_item,) * 4,
    *(pay, finalize, hear_late) * 2,
    *(first_payment, write_off, give_up, add_item, remove_item, schedule, cancel, pause),
)


def step(c: Customer, catalog: Catalog) -> str:
    """Draw a step that applies, and take it; return the events."""
    events = ""
    while not events:
        c.today += c.rng.choice((1, 3600, DAY, 5 * DAY))
        kind = c.rng.random()
        if not c.subscriptions or kind < 0.1:
            events = subscribe(c)
        elif kind < 0.2:
            events = c.rng.choice((change_method, grant))(c)
        else:
            events = c.rng.choice(STEPS)(c, c.rng.choice(sorted(c.subscriptions)))
    if c.rng.random() < 0.7:
        before = c.entitlements
        c.list_entitlements(catalog)
        events += f" {SUMMARY}" if before != c.entitlements else ""
    return events
