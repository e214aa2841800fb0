"""Responses to CloudFormation: their size is limited, and a failed request is sent again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from billing.deploy import custom_resource
from tests.unit.deploy.world import OWN_STACK, STACK_ID


def test_a_stack_that_is_created_again_has_the_same_name() -> None:
    assert custom_resource.stack_of(STACK_ID) == OWN_STACK
    assert custom_resource.stack_of(STACK_ID.replace("6b1f", "7c2e")) == OWN_STACK


REQUEST = {
    "StackId": STACK_ID,
    "RequestId": "r",
    "LogicalResourceId": "StripeSetup",
    "ResponseURL": "https://cloudformation/response",
}


class Delivered:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
        self.failures, self.sizes = failures, list[int]()
        self.bodies: list[dict[str, Any]] = []
        monkeypatch.setattr("urllib.request.urlopen", self._urlopen)
        monkeypatch.setattr("time.sleep", lambda _: None)

    @contextmanager
    def _urlopen(self, request: Any, timeout: float) -> Iterator[None]:
        if self.failures:
            self.failures -= 1
            raise OSError("reset")
        assert request.get_method() == "PUT"
        assert request.get_header("Content-type") == ""
        self.sizes.append(len(request.data))
        self.bodies.append(json.loads(request.data))
        yield


def test_the_response_is_sent_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = Delivered(monkeypatch, failures=2)
    custom_resource.respond(REQUEST, data={"LoginPages": "none"})
    (body,) = delivered.bodies
    assert body["Status"] == "SUCCESS"
    assert body["Data"] == {"LoginPages": "none"}
    assert {key: body[key] for key in REQUEST if key in body} == {
        key: value for key, value in REQUEST.items() if key != "ResponseURL"
    }


def test_a_failure_is_short_enough_for_cloudformation(monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = Delivered(monkeypatch, failures=0)
    custom_resource.respond(REQUEST | {"PhysicalResourceId": "same"}, failure="é" * 9_000)
    (body,) = delivered.bodies
    assert (body["Status"], body["PhysicalResourceId"]) == ("FAILED", "same")
    assert delivered.sizes[0] <= 4_096
