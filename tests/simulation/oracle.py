"""The access rules a second time, slow and obvious: from Stripe's own objects to what may be used.

It shares no code with the package and none of its structure: no facts, no fetch, only a whole
`State`. Each function is one sentence of the rules. Where this and billing.access.decide differ,
one of them is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from billing.access import AccessPolicy
    from tests.simulation.stripe_model import State

Json = Mapping[str, Any]

FOREVER = 253_402_300_799  # 9999-12-31T23:59:59Z

#: https://docs.stripe.com/payments/bank-debits, and the types of legacy sources.
BANK_DEBITS = (
    "ach_debit",
    "acss_debit",
    "au_becs_debit",
    "bacs_debit",
    "bank_account",
    "nz_bank_account",
    "sepa_debit",
    "us_bank_account",
)


class Answer(NamedTuple):
    """What may be used at one moment: (quantity, until) of each product, `until` of each feature.
    What has ended is not in it."""

    products: dict[str, tuple[int, int]]
    features: dict[str, int]


class Given(NamedTuple):
    """A product that one subscription item gives until a time. `quantity` None: metered."""

    product: str
    quantity: int | None
    until: int
    in_grace: bool


def may_use(state: State, policy: AccessPolicy, now: float) -> Answer:
    """What the customer may use at `now`, in epoch seconds."""
    if state.deleted:
        return Answer({}, {})
    now = clock_of(state, now)
    given = [
        each
        for subscription in state.subscriptions
        for each in gives(subscription, state, policy)
        if now < each.until
    ]
    features = [
        *listed_features(state, given),
        *features_in_grace(state, given),
        *granted_features(state),
    ]
    return Answer(
        products_of(given),
        {
            name: max(until for other, until in features if other == name)
            for name, end in features
            if now < end
        },
    )


def clock_of(state: State, now: float) -> float:
    """A customer on a test clock is judged by that clock's frozen time."""
    clock = state.profile.get("test_clock")
    return float(clock["frozen_time"]) if clock else now


# What a subscription gives.


def gives(subscription: Json, state: State, policy: AccessPolicy) -> list[Given]:
    """An active or trialing subscription gives its items, a past_due one what was last paid for,
    and any other nothing. The policy may say that paused collection gives nothing either."""
    if subscription.get("pause_collection") and not policy.pause_collection_keeps_access:
        return []
    if subscription["status"] in ("active", "trialing"):
        return in_good_standing(subscription, policy)
    if subscription["status"] == "past_due":
        return in_grace(subscription, state, policy)
    return []


def in_good_standing(subscription: Json, policy: AccessPolicy) -> list[Given]:
    """Each item is given to its own period's end and the renewal slack."""
    return [
        Given(
            item["price"]["product"],
            None if metered(item["price"]) else item["quantity"],
            no_later(item["current_period_end"] + policy.renewal_slack, subscription),
            in_grace=False,
        )
        for item in subscription["items"]
    ]


def in_grace(subscription: Json, state: State, policy: AccessPolicy) -> list[Given]:
    """What was last paid for is given for the days of grace after the debt began. Who pays by bank
    debit hears of a failure late, and has the more days for it."""
    until = debt_began(subscription) + policy.past_due_grace
    if charged_type(subscription, state) in BANK_DEBITS:
        until += policy.delayed_payment
    until = no_later(until, subscription)
    return [
        Given(product, quantity, until, in_grace=True)
        for product, quantity in last_paid_for(subscription, state)
    ]


def no_later(until: int, subscription: Json) -> int:
    """A scheduled end is a bound, never an extension. `cancel_at` and `cancel_at_period_end` may
    both be set: the earlier counts."""
    if subscription["cancel_at"] is not None:
        until = min(until, subscription["cancel_at"])
    if subscription["cancel_at_period_end"]:
        until = min(until, max(item["current_period_end"] for item in subscription["items"]))
    return until


def metered(price: Json) -> bool:
    return bool(price.get("recurring") and price["recurring"]["usage_type"] == "metered")


def charged_type(subscription: Json, state: State) -> str | None:
    """The type of what a subscription is charged to: its own, or the customer's default."""
    settings = state.profile.get("invoice_settings") or {}
    for method in (
        subscription.get("default_payment_method"),
        subscription.get("default_source"),
        settings.get("default_payment_method"),
        state.profile.get("default_source"),
    ):
        if method:
            kind = method["type"] if method["object"] in ("payment_method", "source") else None
            return str(kind or method["object"])
    return None


# The debt of a past_due subscription.


def is_unpaid(invoice: Json) -> bool:
    return invoice["status"] in ("open", "uncollectible")


def is_for_nothing(invoice: Json) -> bool:
    """An invoice that asks for no money proves no payment. A subscription's first does: a trial
    begins with one."""
    return bool(invoice["total"] <= 0) and invoice["billing_reason"] != "subscription_create"


def proves_payment(invoice: Json) -> bool:
    return invoice["status"] == "paid" and not is_for_nothing(invoice)


def the_run(subscription: Json) -> list[Json]:
    """The debt: from the newest invoice back to the oldest unpaid one since the last payment.
    Drafts, void ones and those for nothing in between are passed over, and are in it."""
    since_last_payment: list[Json] = []
    for invoice in subscription["_invoices"]:
        if proves_payment(invoice):
            break
        since_last_payment.append(invoice)
    while since_last_payment and not is_unpaid(since_last_payment[-1]):
        since_last_payment.pop()
    return since_last_payment


def debt_began(subscription: Json) -> int:
    """With the oldest invoice of the run: when it was due, else finalized. Where nothing is owed,
    when the newest settled invoice was settled. Where nothing was ever billed, with the last
    period."""
    if run := the_run(subscription):
        oldest = run[-1]
        return int(oldest["due_date"] or oldest["status_transitions"]["finalized_at"])
    for invoice in subscription["_invoices"]:
        if invoice["status"] == "paid":
            return int(invoice["status_transitions"]["paid_at"])
        if invoice["status"] == "void":
            return int(invoice["status_transitions"]["voided_at"])
    return max(int(item["current_period_start"]) for item in subscription["items"])


# What was last paid for.


def last_paid_for(subscription: Json, state: State) -> list[tuple[str, int | None]]:
    """Each subscription item as the newest paid invoice bills it that bills it at all."""
    invoices = lines_that_decide(subscription)
    found = []
    for item in sorted({item_of(line) for lines in invoices for line in lines} - {""}):
        of_item = [[line for line in lines if item_of(line) == item] for lines in invoices]
        found += billed_by(next(filter(None, of_item)), subscription, state)
    return found


def lines_that_decide(subscription: Json) -> list[list[Json]]:
    """The lines of the paid invoices, newest first, back to the newest that billed a whole period.
    Items of a longer period were billed before that. So the search goes on for those that are
    still there, until each was billed and a payment is proven, or to the subscription's first."""
    current = {item["id"] for item in subscription["items"]}
    found: list[list[Json]] = []
    whole = proven = False
    for invoice in paid_invoices(subscription):
        lines = [line for line in invoice["lines"] if not whole or item_of(line) in current]
        found.append(lines)
        whole |= invoice["billing_reason"] in ("subscription_create", "subscription_cycle")
        proven |= proves_payment(invoice)
        billed = {item_of(line) for lines in found for line in lines}
        if whole and proven and current <= billed:
            break
    return found


def paid_invoices(subscription: Json) -> list[Json]:
    """The paid invoices, newest first. One for nothing within the run does not count: a swap of
    plans at no cost pays no debt."""
    owed = the_run(subscription)
    return [i for i in subscription["_invoices"] if i["status"] == "paid" and i not in owed]


def item_of(line: Json) -> str:
    """The subscription item that a line bills; empty where it bills none."""
    details = line["parent"].get("subscription_item_details") or {}
    return str(details.get("subscription_item") or "")


def billed_by(
    lines: Sequence[Json], subscription: Json, state: State
) -> list[tuple[str, int | None]]:
    """The product and quantity for which one invoice bills one item. The period that begins last
    decides. If it has nothing but credits, the item was given back. Else a charge counts before a
    credit, and the lines of a price's tiers add up."""
    newest = max(line["period"]["start"] for line in lines)
    charges = [line for line in lines if line["period"]["start"] == newest and not is_credit(line)]
    if not charges:
        return []
    details = charges[0]["pricing"]["price_details"]
    if is_billed_by_usage(details["price"], subscription, state):
        return [(details["product"], None)]
    same = [c for c in charges if c["pricing"]["price_details"]["price"] == details["price"]]
    return [(details["product"], sum(line["quantity"] for line in same))]


def is_credit(line: Json) -> bool:
    """A credit gives money back, or, where nothing was paid, names the lines that it takes back."""
    prorated = line["parent"]["subscription_item_details"].get("proration_details") or {}
    return bool(line["amount"] < 0 or prorated.get("credited_items"))


def is_billed_by_usage(price: str, subscription: Json, state: State) -> bool:
    """A line does not say whether its quantity is a usage: its price does, if Stripe has it."""
    current = [item["price"] for item in subscription["items"] if item["price"]["id"] == price]
    known = [*current, *([state.prices[price]] if price in state.prices else [])]
    return bool(known) and metered(known[0])


# Products.


def products_of(given: Sequence[Given]) -> dict[str, tuple[int, int]]:
    """Quantities of licensed items add up, and the longest end counts. A metered item counts as
    one where no licensed item gives the product. A quantity of 0 gives none."""
    found = {}
    for product in {each.product for each in given}:
        counted = [each for each in given if each.product == product and each.quantity != 0]
        if counted:
            licensed = sum(each.quantity or 0 for each in counted)
            found[product] = (licensed or 1, max(each.until for each in counted))
    return found


# Features.


def listed_features(state: State, given: Sequence[Given]) -> Iterator[tuple[str, int]]:
    """Stripe's active entitlements say which features; the products that carry one say until when.
    What no held product explains ends with the first item that ends."""
    held = held_products(state)
    for feature in state.entitlements:
        carriers = {product for product in held if feature in features_of(product, state)}
        if carriers:
            ends = [each.until for each in given if each.product in carriers]
            choose: Callable[[list[int]], int] = max
        else:
            ends, choose = [each.until for each in given], min
        if ends:
            yield feature, choose(ends)


def held_products(state: State) -> set[str]:
    """The products of all current items, paid or not, and all that is billed by the paid invoices
    that decide. A subscription whose first payment never came, or that has ended, holds nothing."""
    held = set()
    for subscription in state.subscriptions:
        if subscription["status"] in ("incomplete", "incomplete_expired", "canceled"):
            continue
        held |= {item["price"]["product"] for item in subscription["items"]}
        if subscription["status"] == "past_due":
            lines = [line for lines in lines_that_decide(subscription) for line in lines]
            held |= {line["pricing"]["price_details"]["product"] for line in lines if item_of(line)}
    return held


def features_in_grace(state: State, given: Sequence[Given]) -> Iterator[tuple[str, int]]:
    """Stripe may list nothing of a product while its payment is due: then what is attached to it
    counts. Where it lists any of it, its word holds."""
    for each in given:
        attached = features_of(each.product, state)
        if each.in_grace and each.quantity != 0 and not set(attached) & set(state.entitlements):
            yield from ((feature, each.until) for feature in attached)


def features_of(product: str, state: State) -> Sequence[str]:
    return state.catalog.get(product, ())


# Grants.


def granted_features(state: State) -> Iterator[tuple[str, int]]:
    """`grant.<feature>` in the customer's metadata = `2027-01-31 reason`. What cannot be read
    grants nothing."""
    for key, value in (state.profile.get("metadata") or {}).items():
        feature = re.fullmatch(r"grant\.(.+)", key)
        until = end_of_grant(value.split()[0]) if value.split() else None
        if feature and until is not None:
            yield feature[1], until


def end_of_grant(text: str) -> int | None:
    """`forever`, a time with its zone, or a date, which lasts to the end of that day in UTC."""
    if text == "forever":
        return FOREVER
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
            return int((day + timedelta(days=1)).timestamp())
        return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp())
    except ValueError:
        return None
