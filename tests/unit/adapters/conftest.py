"""What the adapters' tests share: a wire, and AWS in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from moto import mock_aws

from tests.unit.adapters.wire import Wire, wired


@pytest.fixture(scope="session")
def open_wire() -> Iterator[Wire]:
    with wired() as found:
        yield found


@pytest.fixture
def wire(open_wire: Wire) -> Wire:
    """One wire for all tests, each of which finds it as new: a client of AWS is slow to make."""
    open_wire.reset()
    return open_wire


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before a retry, of ours or of a library."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
