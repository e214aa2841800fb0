"""Stripe's billing, as unkind as it can be: a customer's subscriptions and invoices, step by step.

Each step is a function that changes one customer, or one of its subscriptions, and returns the
types of the events that Stripe sends for it: empty where the step does not apply. Billing has a
calendar of its own, `today`. The world's clock only spaces the changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulation.invoicing import (
    DAY,
    GRANTS,
    METHODS,
    MONTH,
    PRICES,
    SOURCES,
    Catalog,
    Customer,
    Json,
    begin,
    charges,
    credit,
    declined,
    line_of,
    new_invoice,
    new_item,
    next_period,
    recovered,
    settle,
    unpaid_of,
)

SUB = "customer.subscription"
SUMMARY = "entitlements.active_entitlement_summary.updated"
CREATED, UPDATED, DELETED = f"{SUB}.created", f"{SUB}.updated", f"{SUB}.deleted"
PAID, FAILED = "invoice.paid", "invoice.payment_failed"

#: The parent of a line that bills no subscription item: something sold on the side.
ONE_OFF: Json = {"subscription_item_details": None, "invoice_item_details": {}}


def _bill(
    c: Customer, name: str, reason: str, lines: Sequence[Json], total: int | None = None
) -> str:
    """Bill the lines: paid, declined, sent, or under way with a bank that answers later."""
    made = new_invoice(c, name, "open", reason, lines, total)
    if made["total"] > 0 and made["due_date"]:
        return ""
    outcome = c.rng.random()
    if made["total"] <= 0 or outcome < 0.55:
        settle(c, name, made, "paid")
        return f"{_recovered(c, name)} {PAID}"
    if outcome < 0.65:
        return ""
    return _declined(c, name)


def _declined(c: Customer, name: str) -> str:
    declined(c, name)
    return f"{FAILED} {UPDATED}"


def _recovered(c: Customer, name: str) -> str:
    """An invoice was paid: mostly the subscription is active again once nothing is unpaid."""
    if not unpaid_of(c, name) or c.rng.random() < 0.2:
        recovered(c, name)
    return UPDATED


# The steps of a subscription's life.


def subscribe(c: Customer) -> str:
    if len(c.subscriptions) == 3:
        return ""
    rng = c.rng
    prices = rng.choice(
        (
            rng.sample(sorted(PRICES), rng.choice((1, 1, 2))),
            ("price_pro_yearly", rng.choice(("price_seats", "price_basic"))),
            ("price_seats", "price_overage"),
        )
    )
    status = rng.choice(("active", "active", "active", "trialing", "incomplete"))
    begin(
        c,
        status,
        tuple(new_item(c, price) for price in prices),
        collection_method=rng.choice((*["charge_automatically"] * 4, "send_invoice")),
        default_payment_method=rng.choice((None, None, *METHODS)),
        _forgotten=rng.random() < 0.1,
    )
    return f"{CREATED} {FAILED if status == 'incomplete' else PAID}"


def first_payment(c: Customer, name: str) -> str:
    (first, *_) = c.subscriptions[name]["_invoices"]
    if c.subscriptions[name]["status"] != "incomplete":
        return ""
    if c.rng.random() < 0.3:
        settle(c, name, first, "void")
        c.change(name, status="incomplete_expired")
        return UPDATED
    settle(c, name, first, "paid")
    return f"{_recovered(c, name)} {PAID}"


def renew(c: Customer, name: str) -> str:
    """The next period begins before it is paid, unless the subscription was to end by then."""
    held = c.subscriptions[name]
    if held["status"] not in ("active", "trialing", "past_due"):
        return ""
    end = min(item["current_period_end"] for item in held["items"])
    bound = max(item["current_period_end"] for item in held["items"])
    if (held["cancel_at"] or end + 1) <= end or (held["cancel_at_period_end"] and end == bound):
        return cancel(c, name)
    lines = next_period(c, name)
    if c.rng.random() < 0.1:
        lines.append(line_of(c, held["items"][0], c.today, 500, parent=ONE_OFF))
    if c.rng.random() < 0.15:
        new_invoice(c, name, "draft", "subscription_cycle", lines)
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
    unpaid = unpaid_of(c, name)
    if c.subscriptions[name]["status"] != "active" or not unpaid:
        return ""
    c.today = max(c.today, unpaid[0]["due_date"] or unpaid[0]["created"] + 14 * DAY)
    return pay(c, name) if c.rng.random() < 0.3 else _declined(c, name)


def pay(c: Customer, name: str) -> str:
    unpaid = unpaid_of(c, name)
    if not unpaid or c.subscriptions[name]["status"] == "incomplete_expired":
        return ""
    for invoice in c.rng.choice((unpaid, unpaid[:1], unpaid[-1:])):
        settle(c, name, invoice, "paid")
    return f"{PAID} {_recovered(c, name)}"


def write_off(c: Customer, name: str) -> str:
    unpaid = unpaid_of(c, name)
    if not unpaid or c.subscriptions[name]["status"] in ("incomplete", "incomplete_expired"):
        return ""
    settle(c, name, c.rng.choice(unpaid), c.rng.choice(("void", "uncollectible")))
    if not unpaid_of(c, name) and c.rng.random() < 0.5:
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
    if not _is_current(c, old):
        return ""
    if rng.random() < 0.4 and old["quantity"] is not None:
        new = {**old, "quantity": rng.choice((0, 1, 2, 3, 8))}
    else:
        taken = {item["price"]["id"] for item in held["items"]}
        new = {**new_item(c, rng.choice(sorted(PRICES.keys() - taken))), "id": old["id"]}
    same = PRICES[new["price"]["id"]][1] == PRICES[old["price"]["id"]][1]
    if same or held["status"] == "trialing":
        new |= {edge: old[f"current_period_{edge[15:]}"] for edge in _EDGES}
    lines = [*credit(c, old), *charges(c, {**new, "current_period_start": c.today})]
    c.change(name, items=tuple(new if item is old else item for item in held["items"]))
    if held["status"] == "trialing":
        return UPDATED
    return _prorate(c, name, lines, must=not same)


def _is_current(c: Customer, item: Json) -> bool:
    start: int = item["current_period_start"]
    return start <= c.today < int(item["current_period_end"])


_EDGES = ("current_period_start", "current_period_end")


def _prorate(c: Customer, name: str, lines: list[Json], *, must: bool = False) -> str:
    how = c.rng.random()
    pending = (*c.subscriptions[name]["_pending"], *lines)
    if lines and (must or how < 0.6):
        c.change(name, _pending=())
        return f"{UPDATED} {_bill(c, name, 'subscription_update', pending)}"
    if how < 0.85:
        c.change(name, _pending=pending)
    return UPDATED


def add_item(c: Customer, name: str) -> str:
    held = c.subscriptions[name]
    taken = [item["price"]["id"] for item in held["items"]]
    if len(taken) >= c.max_items or held["status"] == "trialing":
        return ""
    price = c.rng.choice(sorted(PRICES.keys() - set(taken)))
    ends = [
        item["current_period_end"]
        for item in held["items"]
        if PRICES[item["price"]["id"]][1] == PRICES[price][1]
        and item["current_period_end"] > c.today
    ]
    new = new_item(c, price, end=min(ends, default=None))
    c.change(name, items=(*held["items"], new))
    return _prorate(c, name, list(charges(c, new)))


def remove_item(c: Customer, name: str) -> str:
    held = c.subscriptions[name]
    if len(held["items"]) == 1:
        return ""
    gone = c.rng.choice(held["items"])
    if not _is_current(c, gone):
        return ""
    c.change(name, items=tuple(item for item in held["items"] if item is not gone))
    return _prorate(c, name, list(credit(c, gone)))


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
