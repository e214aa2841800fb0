"""Stripe's objects of a case of tests/cases/access.json, inside a simulator.

with served() as stripe_side:
    customer = stripe_side.build(case, now)
    client = stripe.StripeClient(stripe_side.key, base_addresses={"api": stripe_side.url})
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from local.stripe_simulator import (
    bank_debits,
    catalog,
    customers,
    entitlements,
    features,
    invoices,
    lifecycle,
    subscription_creation,
    test_clocks,
)
from local.stripe_simulator.payment_methods import new_card
from local.stripe_simulator.server import listen, serve
from local.stripe_simulator.simulator import TEST, Simulator
from local.stripe_simulator.tables import Json
from local.stripe_simulator.world import World

Case = Mapping[str, Any]
Result = TypeVar("Result")

CASES: list[Case] = json.loads(
    (Path(__file__).parents[1] / "cases" / "access.json").read_text(encoding="utf-8")
)["cases"]

DAY, HOUR = 86_400, 3600
KEY = "sk_test_cases"
SUBJECT = "user_1"
UNIT_AMOUNT = 1900
CREDIT = 500  # cents of each credit line


def build(world: World, case: Case, now: int) -> str:
    """Create the objects of a case in an empty world. Returns the customer's id.

    `now` is in Unix seconds. The customer is frozen: the simulator's clock renews and cancels
    nothing, and its entitlements stay those that the case lists.
    """
    starts = [item["period"][0] for each in case["subscriptions"] for item in each["items"]]
    with world.clock.pinned_at(now + min(starts, default=0) * DAY), world.changing():
        _catalog(world, case)
        customer = _customer(world, case, now)
        world.frozen.add(customer["id"])
        numbers = iter(range(1, 100))
        for given in case["subscriptions"]:
            _subscription(world, given, customer["id"], now, numbers)
        for key in case["entitlements"]:
            (feature,) = world.tables.all("entitlements.feature", lookup_key=key)
            entitlements.grant(world, customer["id"], feature["id"], key)
    return str(customer["id"])


def _catalog(world: World, case: Case) -> None:
    attached: Mapping[str, list[str]] = case["product_features"]
    sold = [item for each in case["subscriptions"] for item in each["items"]]
    billed = [
        line
        for each in case["subscriptions"]
        for invoice in each.get("invoices", [])
        for line in invoice["lines"]
    ]
    keys = {*case["entitlements"], *(key for each in attached.values() for key in each)}
    made = {
        key: features.create_feature(world, {"name": key, "lookup_key": key})["id"]
        for key in sorted(keys)
    }
    for product in dict.fromkeys([*attached, *(each["product"] for each in [*sold, *billed])]):
        catalog.create_product(world, {"id": product, "name": product})
        for key in attached.get(product, []):
            features.attach_feature(world, {"entitlement_feature": made[key]}, product)
    for each in [*sold, *billed]:
        if world.tables.peek("price", each["price"]) is None:
            catalog.create_price(
                world,
                {
                    "product": each["product"],
                    "currency": "usd",
                    "unit_amount": UNIT_AMOUNT,
                    "recurring": _recurring(each),
                },
                named=each["price"],
            )


def _recurring(item: Mapping[str, Any]) -> Json:
    start, end = item.get("period", (0, 30))
    interval = "week" if end - start <= 7 else "year" if end - start >= 360 else "month"
    if item["quantity"] is None:
        return {"interval": interval, "usage_type": "metered", "meter": "mtr_1"}
    return {"interval": interval}


def _customer(world: World, case: Case, now: int) -> Json:
    metadata = {"user_id": SUBJECT}
    for name, value in case.get("metadata", {}).items():
        first, _, rest = value.partition(" ")
        if first.startswith("+"):
            end = datetime.fromtimestamp(now + int(first) * DAY, UTC)
            first = f"{end:%Y-%m-%dT%H:%M:%SZ}"
        metadata[name] = f"{first} {rest}".rstrip()
    params: Json = {"name": "Ada", "email": "ada@example.com", "metadata": metadata}
    if "test_clock" in case:
        clock = test_clocks.unsaved(world, now + case["test_clock"] * DAY, case["name"])
        params["test_clock"] = world.save(clock)["id"]
    return customers.create_customer(world, params)


def _subscription(
    world: World, given: Mapping[str, Any], customer: str, now: int, numbers: Iterator[int]
) -> None:
    at_end = given.get("cancel_at_period_end", False)
    params: Json = {
        "items": [
            {"price": each["price"], "quantity": each["quantity"]} for each in given["items"]
        ],
        "collection_method": given.get("collection_method", "charge_automatically"),
        "billing_mode": {"type": "classic" if at_end else "flexible"},
    }
    if "payment_method" in given:
        params["default_payment_method"] = _payment_method(world, given["payment_method"], customer)
    owner = world.tables.draft("customer", customer)
    assert owner is not None
    starts = [each["period"][0] for each in given["items"]]
    with world.clock.pinned_at(now + min(starts) * DAY):
        subscription = subscription_creation.unsaved(world, params, owner, named=given["id"])
    for item, each in zip(subscription["items"], given["items"], strict=True):
        item["id"] = each["id"]
        item["current_period_start"] = now + each["period"][0] * DAY
        item["current_period_end"] = now + each["period"][1] * DAY
    if "cancel_at" in given:
        subscription["cancel_at"] = now + given["cancel_at"] * DAY
    subscription["cancel_at_period_end"] = at_end
    if at_end or "cancel_at" in given:
        subscription["canceled_at"] = subscription["created"]
        subscription["cancellation_details"]["reason"] = "cancellation_requested"
    if given.get("pause_collection"):
        subscription["pause_collection"] = {"behavior": "void", "resumes_at": None}
    if given["status"] == "trialing":
        first = subscription["items"][0]
        subscription["trial_start"] = first["current_period_start"]
        subscription["trial_end"] = first["current_period_end"]
    _invoices(world, subscription, given.get("invoices", []), now, numbers)
    if given["status"] in _ENDS_AS:
        world.save(subscription, "customer.subscription.created")
        _ENDS_AS[given["status"]](world, given["id"])
    else:
        subscription["status"] = given["status"]
        world.save(subscription, "customer.subscription.created")


#: Statuses with details of their own, which the billing engine sets.
_ENDS_AS: dict[str, Callable[[World, str], Json]] = {
    "paused": partial(lifecycle.pause, why="pause_requested"),
    "canceled": lifecycle.cancel,
}


def _payment_method(world: World, kind: str, customer: str) -> str:
    """Create a method whose charges fail, so that an open invoice stays open."""
    if kind == "card":
        method = new_card(world, "4000000000000341", 12, 2034)
    else:
        method = bank_debits.unsaved(world, kind, bank_debits.BAD[kind])
    return str(world.save({**method, "customer": customer})["id"])


def _invoices(
    world: World,
    subscription: Json,
    given: list[Mapping[str, Any]],
    now: int,
    numbers: Iterator[int],
) -> None:
    """Create the invoices, of which `given` has the newest first, and set `latest_invoice`."""
    named = [(f"in_{next(numbers)}", each) for each in given]
    billed: dict[tuple[str, str], Json] = {}
    created = subscription["created"]
    for invoice, each in reversed(named):
        finalized = each["finalized"]
        created = created + HOUR if finalized is None else now + finalized * DAY
        with world.clock.pinned_at(created):
            prorated = each["billing_reason"] == "subscription_update"
            lines = [
                _line(world, subscription, line, amount, billed, prorated=prorated)
                for line, amount in zip(each["lines"], _amounts(each), strict=True)
            ]
            invoices.draft(world, subscription, lines, each["billing_reason"], named=invoice)
            _settle_invoice(world, subscription, invoice, each["status"])
        stored = world.tables.draft("invoice", invoice)
        assert stored is not None
        stored["due_date"] = None if each["due"] is None else now + each["due"] * DAY
        world.save(stored)
        subscription["latest_invoice"] = invoice
        for line, made in zip(each["lines"], lines, strict=True):
            if not line.get("credit"):
                billed[line["item"], line["price"]] = made


def _line(
    world: World,
    subscription: Json,
    given: Mapping[str, Any],
    amount: int,
    billed: Mapping[tuple[str, str], Json],
    *,
    prorated: bool,
) -> Json:
    """Return a line, which may name an item that the subscription no longer has."""
    owners = [each for each in subscription["items"] if each["id"] == given["item"]]
    item = {**(owners or subscription["items"])[0]}
    item |= {"id": given["item"], "price": given["price"], "quantity": given["quantity"]}
    credit = given.get("credit", False)
    made = invoices.line(world, subscription, item, amount, proration=credit or prorated)
    if credit and (before := billed.get((given["item"], given["price"]))):
        made["parent"]["subscription_item_details"]["proration_details"]["credited_items"] = {
            "invoice": before["invoice"],
            "invoice_line_items": [before["id"]],
        }
    return made


def _amounts(invoice: Mapping[str, Any]) -> list[int]:
    """Return the lines' amounts, in cents. Their sum is the invoice's total."""
    is_credit = [line.get("credit", False) for line in invoice["lines"]]
    rest, debits = invoice["total"] + CREDIT * sum(is_credit), is_credit.count(False)
    amounts = [-CREDIT if credit else rest // debits for credit in is_credit]
    if debits:
        amounts[is_credit.index(False)] += rest % debits
    return amounts


def _settle_invoice(world: World, subscription: Json, invoice: str, status: str) -> None:
    if status == "draft":
        return
    finalized = invoices.finalize(world, invoice)
    if status == "paid" and finalized["status"] != "paid":
        invoices.mark_paid(world, invoice)
    elif status == "void":
        invoices.void(world, invoice)
    elif subscription["collection_method"] == "charge_automatically" and status != "paid":
        invoices.attempt(world, invoice, subscription)
    if status == "uncollectible":
        invoices.mark_uncollectible(world, invoice)


@dataclass(frozen=True)
class Served:
    """A simulator that runs in this process. `key` is an API key of its test mode."""

    url: str
    key: str
    simulator: Simulator
    loop: asyncio.AbstractEventLoop

    @property
    def world(self) -> World:
        """Test mode. It is another world after each `build`: a world holds one case."""
        return self.simulator.worlds[TEST]

    def build(self, case: Case, now: int) -> str:
        """Empty the account and create the objects of a case. Returns the customer's id."""

        async def rebuild() -> str:
            await self.simulator.reset()
            return build(self.world, case, now)

        return self.run(rebuild)

    def run(self, do: Callable[[], Awaitable[Result]]) -> Result:
        """Run `do` on the simulator's event loop: its state has no locks."""

        async def call() -> Result:
            return await do()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(timeout=30)


@contextmanager
def served() -> Iterator[Served]:
    """Serve a simulator on loopback until the end of the block."""
    simulator = Simulator(seed=11)
    listener = listen(0)
    server = serve(simulator, listener)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(server.serve(sockets=[listener]),)
    )
    thread.start()
    try:
        yield Served(simulator.base_url, KEY, simulator, loop)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        loop.close()
