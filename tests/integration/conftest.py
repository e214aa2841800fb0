"""One local stack for the whole run. Each test creates its own customers, so tests do not share
them.
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
    """The stack itself. Tests use `stack`, which also resets the simulator after each test."""
    with LocalStack(demo_users=False) as running:
        running.http.event_hooks["response"].append(partial(check, api_url=running.api_url))
        yield running


@pytest.fixture
def stack(deployed: LocalStack) -> Iterator[LocalStack]:
    """The deployed stack.

    After the test, its faults and delivery rules are removed, and its webhooks are ingested.
    """
    yield deployed
    deployed.control.clear_faults()
    deployed.control.deliver_normally()
    deployed.control.release_deliveries()
    deployed.wait_until_quiet()


@pytest.fixture
def begin(stack: LocalStack) -> Callable[..., Journey]:
    """Create a new subject with a Stripe customer. Journey.begin has the options."""

    def create(**options: object) -> Journey:
        return Journey.begin(stack, f"user_{next(_numbers)}", **options)  # type: ignore[arg-type]

    return create


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run test_logs.py last: it checks the logs of all other tests."""
    items.sort(key=lambda item: item.path.name == "test_logs.py")
