"""The oracle agrees with the cases, the code agrees with the oracle, and both can be wrong."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.simulation import oracle
from tests.simulation.oracle import may_use
from tests.simulation.stripe_model import EPOCH, POLICY, State

CASES: list[Mapping[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "cases" / "access.json").read_text(encoding="utf-8")
)["cases"]

DAY = 86_400


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
