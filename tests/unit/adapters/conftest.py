"""What the adapters' tests share: a wire, and AWS in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from tests.unit.adapters.wire import Wire, wired


@pytest.fixture
def wire() -> Iterator[Wire]:
    with wired() as open_wire:
        yield open_wire


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield
