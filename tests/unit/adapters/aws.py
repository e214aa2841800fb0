"""Clients of AWS for the tests: of moto, or of a wire."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from tests.unit.adapters.wire import Wire

REGION = {
    "region_name": "us-east-1",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}

#: One request for each call, so that an error is not retried within the client.
_ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1})


def client(service: str, wire: Wire | None = None) -> Any:
    """A client whose requests go to the wire; without one, to moto."""
    return _client(service, wire.url if wire else None)


@cache
def _client(service: str, url: str | None) -> Any:
    return boto3.client(service, endpoint_url=url, config=_ONCE, **REGION)  # type: ignore[call-overload]
