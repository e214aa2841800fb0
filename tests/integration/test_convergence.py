"""When the queue is quiet the table equals Stripe, on the deployed template: over HTTP, through the
engine's own SQS, Lambda workers and DynamoDB, with the official library on both sides.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from local.journey import Journey, eventually
from local.stack import LocalStack
from tests.integration.deliveries import EventLog, post
from tests.integration.truth import Writes, differing, in_stripe, stored

AT_ONCE = 16


def test_sixteen_deliveries_at_once_never_take_a_row_backwards(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    log = EventLog(stack)
    ada = begin(plan="team_monthly", seats=1)
    stack.wait_until_quiet()
    events = log.new()
    writes = Writes(stack)
    first = stored(stack, ada.customer)
    (item,) = stack.stripe.v1.subscription_items.list({"subscription": ada.subscription}).data
    product = stack.catalogue.products["team_monthly"]

    # A read that takes a while leaves room for another worker's; each change is delivered twice.
    stack.control.slow_calls(0.05, count=None, path=f"/v1/customers/{ada.customer}")
    stack.control.duplicate_deliveries(copies=2)
    together = threading.Barrier(AT_ONCE + 1)

    def deliver(number: int) -> list[int]:
        dice = random.Random(number)
        together.wait()
        return [post(stack, dice.choice(events)).status_code for _ in range(5)]

    with ThreadPoolExecutor(AT_ONCE) as posters:
        answers = [posters.submit(deliver, number) for number in range(AT_ONCE)]
        together.wait()
        for seats in range(2, 14):
            stack.stripe.v1.subscription_items.update(item.id, {"quantity": seats})
            events += log.new()
    assert {status for each in answers for status in each.result()} == {200}
    stack.wait_until_quiet()

    last = stored(stack, ada.customer)
    assert last.billing == in_stripe(stack, ada.customer)
    assert last.billing.products[product].quantity == 13

    states = [row for row in writes.of(ada.customer) if row.revision > first.revision]
    # One revision a commit, none left out, none twice: whatever lost a race did not write.
    assert [row.revision for row in states] == [
        first.revision + number + 1 for number in range(len(states))
    ]
    assert last.revision == first.revision + len(states)
    assert len(states) > 1
    seats_seen = [row.billing.products[product].quantity for row in [first, *states]]
    assert seats_seen == sorted(seats_seen), "a row went back to what Stripe had said before"
    assert all(earlier.as_of <= later.as_of for earlier, later in pairwise(states))
    # What a transition takes away is what the one before it gave.
    assert all(set(new.lost) <= set(old.gained) for new, old in pairwise(last.transitions))
    assert last.transitions[0].gained == (f"{product}×13",)
