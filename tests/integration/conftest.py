"""One local stack for the whole run; each test brings a customer of its own, so none sees
another's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import pytest

from local.journey import Journey
from local.stack import LocalStack
from tests.integration.contract import check

_numbers = count(1)


@pytest.fixture(scope="session")
def deployed() -> Iterator[LocalStack]:
    """The stack itself; tests take `stack`, which also undoes what a test did to Stripe's
    behaviour.
    """
    with LocalStack(demo_users=False) as running:
        running.http.event_hooks["response"].append(partial(check, api_url=running.api_url))
        yield running


@pytest.fixture
def stack(deployed: LocalStack) -> Iterator[LocalStack]:
    """The deployed stack.

    Faults and delivery rules of a test end with it, and its webhooks have been ingested.
    """
    yield deployed
    deployed.control.clear_faults()
    deployed.control.deliver_normally()
    deployed.control.release_deliveries()
    deployed.wait_until_quiet()


@pytest.fixture
def begin(stack: LocalStack) -> Callable[..., Journey]:
    """Make a fresh subject with a Stripe customer; see Journey.begin for the plan, seats, trial and
    card.
    """

    def make(**how: object) -> Journey:
        return Journey.begin(stack, f"user_{next(_numbers)}", **how)  # type: ignore[arg-type]

    return make


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the look through the logs come last: it is about all that the others caused."""
    items.sort(key=lambda item: item.path.name == "test_logs.py")
