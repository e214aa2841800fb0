"""The rotation command: it waits for the end of the overlap and reports the result."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from operations.rotate_webhook_secret import rotate
from tests.unit.deploy.world import STACK_ID


class Cloud:
    """boto3's CloudFormation and Lambda clients: only the methods that a rotation calls."""

    def __init__(self, *results: dict[str, Any]) -> None:
        self.results, self.requests = list(results), list[dict[str, Any]]()

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        outputs = [{"OutputKey": "StripeSetupFunction", "OutputValue": "f"}]
        return {"Stacks": [{"StackId": STACK_ID, "Outputs": outputs}]}

    def invoke(self, **arguments: Any) -> dict[str, Any]:
        self.requests.append(json.loads(arguments["Payload"]))
        return {"Payload": io.BytesIO(json.dumps(self.results.pop(0)).encode())}


@pytest.mark.parametrize(
    ("wait", "results", "slept", "succeeds"),
    [
        (True, [{"state": "overlapping", "seconds": 600}, {"state": "rotated"}], [600], True),
        (False, [{"state": "overlapping", "seconds": 600}], [], True),
        (True, [{"state": "failed", "reason": "because"}], [], False),
        (True, [{"errorMessage": "boom"}], [], False),
    ],
)
def test_a_rotation_waits_for_the_end_of_the_overlap(
    wait: bool, results: list[dict[str, Any]], slept: list[float], succeeds: bool
) -> None:
    cloud, pauses, logged = Cloud(*results), list[float](), list[str]()
    done = rotate(cloud, cloud, stack_name="s", wait=wait, sleep=pauses.append, log=logged.append)
    assert (done, pauses, cloud.results) == (succeeds, slept, [])
    assert cloud.requests[0] == {"rotate": {"StackId": STACK_ID, "overlap": 600}}
    assert logged
