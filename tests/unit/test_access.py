"""The access policy: each row of its table, decided from facts."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stripe

from billing.access import (
    DELAYED_PAYMENT_METHODS,
    GRANT,
    STANDINGS,
    SUBSCRIPTION,
    Access,
    Feature,
    Product,
    Standing,
    decide,
    has_begun,
    is_held,
    owes,
    standing,
)
from billing.facts import Debt, Facts, Grant, Item, PaymentMethod, Subscription
from tests.unit.stripe_objects import DAY, NOW, POLICY

END = NOW + 30 * DAY
SLACK = POLICY.renewal_slack
GRACE = POLICY.past_due_grace
PACKAGE = Path(__file__).parents[2] / "layers" / "billing" / "billing"


def item(product: str = "prod_a", quantity: int | None = 1, ends: int | None = END) -> Item:
    return Item(price=f"price_{product}", product=product, quantity=quantity, period_end=ends)


def held(status: str = "active", *items: Item, name: str = "sub_1", **fields: Any) -> Subscription:
    return Subscription(id=name, status=status, items=items or (item(),), **fields)


def in_debt(*paid: Item, since: int = NOW, name: str = "sub_1", **fields: Any) -> Subscription:
    method = fields.pop("method", "card")
    debt = Debt(since=since, method=method, paid=paid or (item(ends=None),))
    return held("past_due", name=name, debt=debt, **fields)


def access(*subscriptions: Subscription, now: float = NOW, **facts: Any) -> Access:
    policy = replace(POLICY, **facts.pop("policy", {}))
    return decide(Facts(subscriptions=subscriptions, **facts), policy, now)


def until(subscription: Subscription, **facts: Any) -> int | None:
    return access(subscription, **facts).subscriptions.get("sub_1")


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_a_renewing_subscription_gives_access_until_its_period_end_plus_slack(status: str) -> None:
    assert until(held(status)) == END + SLACK


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_a_scheduled_end_ends_access_exactly_at_that_time(status: str) -> None:
    assert until(held(status, cancel_at=NOW + 5 * DAY)) == NOW + 5 * DAY


def test_a_scheduled_end_after_the_paid_period_extends_nothing() -> None:
    assert until(held(cancel_at=NOW + 330 * DAY)) == END + SLACK


def test_past_due_gives_what_was_paid_for_until_the_grace_days_after_the_debt_began() -> None:
    given = access(in_debt(item("prod_paid", 3), since=NOW - DAY))
    assert given.products == {"prod_paid": Product(3, NOW + 6 * DAY)}
    assert given.subscriptions == {"sub_1": NOW + 6 * DAY}


def test_past_due_ends_at_a_scheduled_end_within_the_grace_days() -> None:
    assert until(in_debt(cancel_at=NOW + 2 * DAY)) == NOW + 2 * DAY


def test_past_due_without_a_known_debt_or_without_any_payment_gives_nothing() -> None:
    assert access(held("past_due")) == Access()
    assert access(held("past_due", debt=Debt(since=NOW))) == Access()


@pytest.mark.parametrize("method", sorted(DELAYED_PAYMENT_METHODS))
def test_a_method_that_reports_failures_late_has_the_delay_added(method: str) -> None:
    assert until(in_debt(method=method)) == NOW + GRACE + POLICY.delayed_payment


@pytest.mark.parametrize("method", ["card", "link", "paypal", None])
def test_any_other_method_has_no_delay(method: str | None) -> None:
    assert until(in_debt(method=method)) == NOW + GRACE


def test_a_change_of_the_policy_changes_every_answer_at_the_next_read() -> None:
    owing = in_debt(since=NOW - 8 * DAY)
    assert until(owing) is None
    assert until(owing, policy={"past_due_grace": 10 * DAY}) == NOW + 2 * DAY


def test_access_ends_by_itself_as_time_passes() -> None:
    assert access(held(), now=END + SLACK - 1).products != {}
    assert access(held(), now=END + SLACK) == Access()


@pytest.mark.parametrize(
    "status",
    ["unpaid", "paused", "incomplete", "incomplete_expired", "canceled", "a_future_status"],
)
def test_every_other_status_gives_no_access(status: str) -> None:
    assert until(held(status, debt=Debt(since=NOW, paid=(item(),)))) is None


@pytest.mark.parametrize("paused", [held(collection_paused=True), in_debt(collection_paused=True)])
def test_a_paused_collection_keeps_access_unless_the_policy_revokes_it(
    paused: Subscription,
) -> None:
    assert until(paused) is not None
    assert until(paused, policy={"pause_collection_keeps_access": False}) is None


def test_a_subscription_gives_access_as_long_as_the_last_of_its_items() -> None:
    for ends in ((END, END + DAY), (END + DAY, END)):
        items = [item(f"prod_{end}", ends=end) for end in ends]
        assert until(held("active", *items)) == END + DAY + SLACK


def test_an_item_without_a_period_end_gives_no_access() -> None:
    assert until(held("active", item(ends=None))) is None


# ---------------------------------------------------------------- products


def test_products_are_the_union_over_all_items_that_give_access() -> None:
    given = access(
        held("active", item("prod_a"), item("prod_b")),
        held("active", item("prod_c"), name="sub_2"),
        held("unpaid", item("prod_d"), name="sub_3"),
    )
    assert set(given.products) == {"prod_a", "prod_b", "prod_c"}


def test_quantities_of_licensed_items_add_up_and_the_latest_end_counts() -> None:
    given = access(
        held("active", item(quantity=3)),
        held("active", item(quantity=4, ends=END + DAY), name="sub_2"),
    )
    assert given.products == {"prod_a": Product(7, END + DAY + SLACK)}


def test_seats_of_a_subscription_that_has_ended_do_not_count() -> None:
    given = access(
        held("active", item(quantity=3, ends=NOW - 4 * DAY)),
        in_debt(item(quantity=2), since=NOW - GRACE, name="sub_2"),
        held("active", item(quantity=1), name="sub_3"),
    )
    assert given.products["prod_a"].quantity == 1
    assert set(given.subscriptions) == {"sub_3"}


def test_metered_items_count_as_one_where_no_licensed_item_gives_access() -> None:
    metered = item(quantity=None)
    assert access(held("active", metered, metered)).products["prod_a"].quantity == 1
    assert access(held("active", metered, item(quantity=5))).products["prod_a"].quantity == 5
    ended = held("active", item(quantity=5, ends=NOW - 9 * DAY), name="sub_2")
    assert access(held("active", metered), ended).products["prod_a"].quantity == 1


def test_quantity_zero_gives_no_product_and_keeps_the_features_that_stripe_lists() -> None:
    given = access(held("active", item(quantity=0)), entitlements=("sso",))
    assert given.products == {}
    assert given.features == {"sso": Feature(END + SLACK)}


# ---------------------------------------------------------------- features


def test_an_item_of_quantity_zero_takes_and_lengthens_nothing() -> None:
    nothing = held("active", item(quantity=0, ends=END + 300 * DAY), name="sub_2")
    metered = access(held("active", item(quantity=None)), nothing)
    assert metered.products == {"prod_a": Product(1, END + SLACK)}
    licensed = access(held("active", item(quantity=5)), nothing)
    assert licensed.products == {"prod_a": Product(5, END + SLACK)}
    unlisted = access(in_debt(item(quantity=0)), product_features={"prod_a": ("sso",)})
    assert unlisted.features == {}


def test_features_are_all_active_entitlements() -> None:
    keys = tuple(f"feature-{number}" for number in range(130))
    assert set(access(held(), entitlements=keys).features) == set(keys)


def test_without_access_no_entitlement_counts() -> None:
    assert access(held("unpaid"), entitlements=("sso",)) == Access()


def test_a_feature_ends_with_the_longest_product_that_carries_it() -> None:
    given = access(
        held("active", item("prod_a"), cancel_at=NOW + DAY),
        held("active", item("prod_b"), name="sub_2", cancel_at=NOW + 2 * DAY),
        held("active", item("prod_c"), name="sub_3"),
        entitlements=("sso", "api"),
        product_features={"prod_a": ("sso", "api"), "prod_b": ("sso",), "prod_c": ()},
    )
    assert given.features == {"sso": Feature(NOW + 2 * DAY), "api": Feature(NOW + DAY)}


def test_a_feature_that_no_product_explains_ends_with_what_ends_first() -> None:
    given = access(
        held("active", item("prod_a"), cancel_at=NOW + DAY),
        held("active", item("prod_b"), name="sub_2"),
        entitlements=("new",),
        product_features={"prod_a": (), "prod_b": ()},
    )
    assert given.features == {"new": Feature(NOW + DAY)}


def test_a_feature_of_a_product_that_gives_no_access_is_not_given() -> None:
    given = access(
        held("paused", item("prod_a")),
        held("active", item("prod_b"), name="sub_2"),
        entitlements=("pro",),
        product_features={"prod_a": ("pro",), "prod_b": ()},
    )
    assert given.features == {}


def test_in_grace_the_products_own_features_count_where_stripe_lists_none_of_them() -> None:
    attached = {"prod_a": ("sso", "audit")}
    unlisted = access(in_debt(), product_features=attached)
    assert set(unlisted.features) == {"sso", "audit"}
    listed = access(in_debt(), product_features=attached, entitlements=("sso",))
    assert set(listed.features) == {"sso"}
    paid = access(held(), product_features=attached)
    assert paid.features == {}


@pytest.mark.parametrize("starts", [(NOW, NOW + DAY), (NOW + DAY, NOW)])
def test_a_feature_from_two_products_in_grace_has_the_later_end(starts: tuple[int, int]) -> None:
    given = access(
        in_debt(item("prod_a"), since=starts[0]),
        in_debt(item("prod_b"), since=starts[1], name="sub_2"),
        product_features={"prod_a": ("sso",), "prod_b": ("sso",)},
    )
    assert given.features == {"sso": Feature(NOW + DAY + GRACE)}


@pytest.mark.parametrize("ends", [(END, END + DAY), (END + DAY, END)])
def test_a_feature_of_a_product_that_is_held_twice_has_the_later_end(ends: tuple[int, int]) -> None:
    given = access(
        held("active", item(ends=ends[0])),
        held("active", item(ends=ends[1]), name="sub_2"),
        entitlements=("sso",),
        product_features={"prod_a": ("sso",)},
    )
    assert given.features == {"sso": Feature(END + DAY + SLACK)}


def test_the_end_of_one_subscription_takes_nothing_that_another_still_gives() -> None:
    one, two = held(), held(name="sub_2")
    both, after = access(one, two, entitlements=("sso",)), access(one, entitlements=("sso",))
    assert (both.products["prod_a"].quantity, after.products["prod_a"].quantity) == (2, 1)
    assert after.features == both.features


# ---------------------------------------------------------------- grants, clock, payment method


def test_a_grant_is_marked_and_has_its_own_end() -> None:
    grants = (Grant(feature="sso", until=NOW + DAY), Grant(feature="old", until=NOW))
    given = access(grants=grants)
    assert given.features == {"sso": Feature(NOW + DAY, GRANT)}
    assert given.products == {}


@pytest.mark.parametrize(
    ("ends", "source"),
    [(END, SUBSCRIPTION), (END + SLACK, SUBSCRIPTION), (END + 90 * DAY, GRANT)],
)
def test_of_a_grant_and_a_subscription_the_later_end_counts(ends: int, source: str) -> None:
    given = access(held(), entitlements=("sso",), grants=(Grant(feature="sso", until=ends),))
    assert given.features["sso"] == Feature(max(ends, END + SLACK), source)


def test_a_customer_on_a_test_clock_is_judged_by_that_clock() -> None:
    assert until(held(), now=END + 99 * DAY, test_clock=NOW) == END + SLACK
    assert until(held(), now=NOW, test_clock=END + 99 * DAY) is None


def test_the_payment_method_is_the_default_or_that_of_a_subscription_that_gives_access() -> None:
    default, own = (PaymentMethod(type="card", last4=last4) for last4 in ("1111", "2222"))
    declined = held("incomplete", payment_method=PaymentMethod(type="card", last4="0341"))
    paid = held(name="sub_2", payment_method=own)
    assert access(declined, paid, payment_method=default).payment_method == default
    assert access(declined, paid).payment_method == own
    assert access(declined).payment_method is None


def test_valid_until_is_the_first_end() -> None:
    given = access(held(), grants=(Grant(feature="sso", until=NOW + DAY),))
    assert given.valid_until == NOW + DAY
    assert access().valid_until is None


# ---------------------------------------------------------------- statuses


#: For each of Stripe's statuses: whether it gives access, and whether its products count as held.
EXAMPLES = {
    "active": (True, True),
    "trialing": (True, True),
    "past_due": (True, True),
    "unpaid": (False, True),
    "paused": (False, True),
    "incomplete": (False, False),
    "incomplete_expired": (False, False),
    "canceled": (False, False),
}


@pytest.mark.parametrize("status", EXAMPLES)
def test_each_status_gives_access_and_counts_as_held_like_its_example(status: str) -> None:
    example = held(status, debt=Debt(since=NOW, paid=(item(),)))
    assert (until(example) is not None, is_held(status)) == EXAMPLES[status]


def test_every_standing_has_an_example() -> None:
    assert set(EXAMPLES) == set(STANDINGS)


def test_only_a_past_due_subscription_owes() -> None:
    assert [status for status in STANDINGS if owes(status)] == ["past_due"]


def test_a_subscription_whose_first_payment_never_came_has_not_begun() -> None:
    assert [s for s in STANDINGS if not has_begun(s)] == ["incomplete", "incomplete_expired"]


def test_every_status_in_stripes_library_has_a_standing() -> None:
    annotation = str(stripe.Subscription.__annotations__["status"])
    literal = annotation.partition("Literal[")[2].partition("]")[0]
    assert set(re.findall(r"['\"](\w+)['\"]", literal)) == set(STANDINGS)


def test_every_bank_debit_of_stripes_library_is_known_as_delayed() -> None:
    """A new one fails here: decide whether it reports failures late."""
    annotation = str(stripe.PaymentMethod.__annotations__["type"])
    literal = annotation.partition("Literal[")[2].partition("]")[0]
    types = set(re.findall(r"['\"](\w+)['\"]", literal))
    bank = {name for name in types if name.endswith(("_debit", "bank_account"))}
    assert bank <= DELAYED_PAYMENT_METHODS
    #: Legacy sources are no payment methods.
    assert DELAYED_PAYMENT_METHODS - types == {"ach_debit", "bank_account"}


def test_a_status_that_stripe_adds_is_held_and_gives_no_access() -> None:
    assert standing("hibernating") is Standing.UNKNOWN
    assert is_held("hibernating")
    assert until(held("hibernating")) is None


def test_only_the_access_policy_knows_stripes_statuses() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name == "access.py":
            continue
        literals = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        # `active` is also a field of prices, products and configurations.
        assert not literals & (set(STANDINGS) - {"active"}), path
