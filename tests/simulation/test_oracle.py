"""The oracle agrees with the cases, the code agrees with the oracle, and both can be wrong."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from billing import access, projection
from billing.access import decide
from billing.facts import Facts
from billing.stripe_state import StripeReads, fetch
from tests.simulation import access_invariants, oracle, world
from tests.simulation.access_invariants import (
    CommitGivesWhatStripeSays,
    NoAccessBeyondHistory,
    NothingUnpaidToThoseWhoOwe,
    QuietStoreEqualsStripe,
    edges,
    first_difference,
)
from tests.simulation.actors import Memory
from tests.simulation.billing import step
from tests.simulation.design import design
from tests.simulation.exhaustive import explore
from tests.simulation.invariant import Invariant
from tests.simulation.invoicing import (
    CATALOG,
    Customer,
    begin,
    charges,
    credit,
    declined,
    new_invoice,
    new_item,
    next_period,
)
from tests.simulation.lifecycles import LIFECYCLES
from tests.simulation.oracle import FOREVER, may_use
from tests.simulation.script import Change, Script
from tests.simulation.setups import Setup
from tests.simulation.stripe_account import StripeModel
from tests.simulation.stripe_model import (
    EPOCH,
    METADATA_KEY,
    POLICY,
    State,
)

CASES: list[Mapping[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "cases" / "access.json").read_text(encoding="utf-8")
)["cases"]

DAY = 86_400

#: How many customers are drawn: as many as ten seconds allow.
CUSTOMERS = 2000


def test_the_oracle_imports_nothing_of_the_package_that_it_judges() -> None:
    tree = ast.parse(Path(oracle.__file__).read_text(encoding="utf-8"))
    for_types = {
        node
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    imported = {
        name
        for node in set(ast.walk(tree)) - for_types
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    }
    assert not [name for name in imported if name and name.startswith(("billing", "tests"))]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_oracle_answers_as_the_case_says(case: Mapping[str, Any]) -> None:
    policy = replace(POLICY, **case.get("policy", {}))
    answer = may_use(state_of(case), policy, EPOCH)
    assert {
        "products": {name: [n, days(until)] for name, (n, until) in answer.products.items()},
        "features": {name: days(until) for name, until in answer.features.items()},
    } == case["answer"]


def test_the_code_agrees_with_the_oracle_about_thousands_of_customers() -> None:
    differing = [
        f"customer {seed}: {found}"
        for seed, state in enumerate(customers(CUSTOMERS))
        if (found := first_difference(facts_by_pages(state), state, edges(state)))
    ]
    assert differing == []


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("no_later", lambda until, subscription: until),
        ("is_for_nothing", lambda invoice: False),
        ("is_credit", lambda line: False),
        ("charged_type", lambda subscription, state: "card"),
        ("clock_of", lambda state, now: now),
        ("is_billed_by_usage", lambda price, subscription, state: False),
        ("held_products", lambda state: set(state.catalog)),
        ("features_in_grace", lambda state, given: ()),
        ("end_of_grant", lambda text: FOREVER),
    ],
)
def test_an_oracle_with_a_mistake_disagrees_with_the_code(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any
) -> None:
    monkeypatch.setattr(oracle, name, wrong)
    assert any(first_difference(state.facts, state, edges(state)) for state in customers(400))


@pytest.mark.parametrize("part", ["past_due_grace", "delayed_payment", "renewal_slack"])
def test_a_second_more_or_less_of_a_duration_is_noticed(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    longer = replace(POLICY, **{part: getattr(POLICY, part) + 1})
    monkeypatch.setattr(
        access_invariants, "decide", lambda facts, _, now: decide(facts, longer, now)
    )
    assert any(first_difference(state.facts, state, edges(state)) for state in customers(400))


def gives_the_unpaid_item(real: Any, subscription: Any, *more: Any) -> Any:
    """Grace gives what the subscription has now, paid or not."""
    debt = real(subscription, *more)
    items = tuple(projection._item(subscription, each) for each in subscription["items"]["data"])
    return debt and replace(debt, paid=items)


def gives_a_year_too_much(real: Any, *arguments: Any) -> Any:
    """Every item is given a year longer."""
    for held in real(*arguments):
        yield held._replace(until=held.until + 365 * DAY)


@pytest.mark.parametrize(
    ("promise", "module", "name", "mistake"),
    [
        (NothingUnpaidToThoseWhoOwe, projection, "_debt", gives_the_unpaid_item),
        (CommitGivesWhatStripeSays, projection, "_debt", gives_the_unpaid_item),
        (QuietStoreEqualsStripe, access, "_held", gives_a_year_too_much),
        (NoAccessBeyondHistory, access, "_held", gives_a_year_too_much),
    ],
)
def test_each_promise_about_access_notices_a_planted_mistake(
    monkeypatch: pytest.MonkeyPatch, promise: type[Invariant], module: Any, name: str, mistake: Any
) -> None:
    # States remember their facts, so those of the mistake must be others than everybody's.
    changes = LIFECYCLES["an upgrade is declined, then paid"].changes
    setup = Setup(
        script=Script(replace(change, state=replace(change.state)) for change in changes),
        designs=(design(strands=False),),
        start=Memory({}),
        workers=1,
        worker_stops=False,
    )
    monkeypatch.setattr(world, "INVARIANTS", (promise(),))
    assert explore(setup).violation is None
    fresh = Script(replace(change, state=replace(change.state)) for change in changes)
    monkeypatch.setattr(module, name, partial(mistake, getattr(module, name)))
    found = explore(replace(setup, script=fresh, start=Memory({}))).violation
    assert found is not None
    assert found.invariant == promise.__name__


@cache
def customers(count: int) -> list[State]:
    """Customers whose billing went on for some steps, each with a catalog of its own."""
    found = []
    for seed in range(count):
        rng = Random(seed)
        catalog: dict[str, tuple[str, ...]] = dict(CATALOG)
        customer = Customer(
            f"cus_{seed}",
            rng,
            lists_in_grace=rng.random() < 0.5,
            on_test_clock=rng.random() < 0.1,
            max_items=4,
        )
        for number in range(rng.randrange(1, 20)):
            step(customer, catalog)
            if rng.random() < 0.1:
                product = rng.choice(sorted(catalog))
                catalog[product] = (*catalog[product], f"feature_{number}")
        found.append(customer.state(catalog, None))
    return found


def facts_by_pages(state: State) -> Facts:
    """The facts of a state that is read page by page."""
    model = StripeModel(Script([Change(0, state, ())]), max_lag=0)
    model.advance(EPOCH)

    def reading(method: str) -> Any:
        return lambda name, after=None: model.read(method, name, after, EPOCH, 0)[0]

    reads: Any = SimpleNamespace(
        **{name: reading(name) for name in vars(StripeReads) if not name.startswith("_")}
    )
    fetched = fetch(reads, state.id, Facts(), lambda: None)
    return projection.project(fetched, METADATA_KEY).facts


@pytest.mark.parametrize("then", ["swapped for a monthly plan", "removed"])
def test_within_an_invoice_the_period_that_begins_last_decides(then: str) -> None:
    """Seats are added to a yearly plan, to be billed later. Then the item is swapped for a monthly
    plan or removed, so one invoice bills it all, and is paid. The renewal after that fails."""
    customer = Customer("cus_1", Random(1))
    plan = {**new_item(customer, "price_pro_yearly"), "quantity": 1}
    seats = new_item(customer, "price_seats")
    name = begin(customer, "active", (plan, seats))
    more = {**plan, "quantity": 8}
    customer.today += DAY
    lines = [*credit(customer, plan), *billed_from_today(customer, more)]
    customer.today += DAY
    lines += credit(customer, more)
    if then == "removed":
        customer.change(name, items=(seats,))
        expected = set()
    else:
        monthly = new_item(customer, "price_basic") | {"id": plan["id"]}
        lines += billed_from_today(customer, monthly)
        customer.change(name, items=(monthly, seats))
        expected = {"prod_basic"}
    new_invoice(customer, name, "paid", "subscription_update", lines, 100)
    new_invoice(customer, name, "open", "subscription_cycle", next_period(customer, name))
    declined(customer, name)
    state = customer.state(CATALOG, None)
    for given in (may_use(state, POLICY, EPOCH), decide(state.facts, POLICY, EPOCH)):
        assert given.products.keys() == expected | {"prod_seats"}


def billed_from_today(customer: Customer, item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(charges(customer, {**item, "current_period_start": customer.today}))


def days(until: int) -> float:
    return (until - EPOCH) / DAY


def at(days: float | None) -> int | None:
    return None if days is None else EPOCH + int(days * DAY)


def state_of(case: Mapping[str, Any]) -> State:
    """The state of a case of tests/cases/access.json, where EPOCH is now."""
    profile: dict[str, Any] = {"metadata": {}}
    for key, value in case.get("metadata", {}).items():
        profile["metadata"][key] = re.sub(
            r"^\+(\d+)",
            lambda found: f"{datetime.fromtimestamp(EPOCH + int(found[1]) * DAY, UTC):%FT%TZ}",
            value,
        )
    if "test_clock" in case:
        profile["test_clock"] = {"frozen_time": at(case["test_clock"])}
    sold = [item for each in case["subscriptions"] for item in each["items"]]
    billed = [
        line
        for each in case["subscriptions"]
        for invoice in each.get("invoices", ())
        for line in invoice["lines"]
    ]
    return State(
        "cus_case",
        subscriptions=tuple(subscription_of(each) for each in case["subscriptions"]),
        entitlements=tuple(case["entitlements"]),
        catalog={name: tuple(keys) for name, keys in case["product_features"].items()},
        prices={each["price"]: price_of(each) for each in [*billed, *sold]},
        profile=profile,
    )


def price_of(given: Mapping[str, Any]) -> dict[str, Any]:
    usage = "metered" if given["quantity"] is None else "licensed"
    return {
        "id": given["price"],
        "product": given["product"],
        "lookup_key": None,
        "recurring": {"usage_type": usage},
    }


def subscription_of(given: Mapping[str, Any]) -> dict[str, Any]:
    kind = given.get("payment_method")
    return {
        "id": given["id"],
        "status": given["status"],
        "cancel_at": at(given.get("cancel_at")),
        "cancel_at_period_end": given.get("cancel_at_period_end", False),
        "pause_collection": {"behavior": "void"} if given.get("pause_collection") else None,
        "default_payment_method": {"object": "payment_method", "type": kind} if kind else None,
        "items": [
            {
                "id": item["id"],
                "price": price_of(item),
                "quantity": item["quantity"],
                "current_period_start": at(item["period"][0]),
                "current_period_end": at(item["period"][1]),
            }
            for item in given["items"]
        ],
        "_invoices": [
            invoice_of(f"in_{given['id']}_{number}", invoice)
            for number, invoice in enumerate(given.get("invoices", ()))
        ],
    }


def invoice_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    finalized = at(given["finalized"])
    return {
        "id": name,
        "status": given["status"],
        "billing_reason": given["billing_reason"],
        "total": given["total"],
        "due_date": at(given["due"]),
        "status_transitions": {
            "finalized_at": finalized,
            "paid_at": finalized if given["status"] == "paid" else None,
            "voided_at": finalized if given["status"] == "void" else None,
        },
        "lines": [
            {
                "id": f"il_{name}_{number}",
                "amount": -500 if line.get("credit") else 1900,
                "quantity": line["quantity"],
                "period": {"start": finalized or EPOCH, "end": (finalized or EPOCH) + 30 * DAY},
                "parent": {"subscription_item_details": {"subscription_item": line["item"]}},
                "pricing": {"price_details": {"price": line["price"], "product": line["product"]}},
            }
            for number, line in enumerate(given["lines"])
        ],
    }
