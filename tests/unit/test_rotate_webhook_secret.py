"""The operator's rotation: it waits for the overlap and reports what happened."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from operations.rotate_webhook_secret import rotate
from tests.unit.deploy.world import STACK_ID


class Cloud:
    """boto3's CloudFormation and Lambda, as far as an operator's rotation asks them."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers, self.asked = list(answers), list[dict[str, Any]]()

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        outputs = [{"OutputKey": "StripeSetupFunction", "OutputValue": "f"}]
        return {"Stacks": [{"StackId": STACK_ID, "Outputs": outputs}]}

    def invoke(self, **how: Any) -> dict[str, Any]:
        self.asked.append(json.loads(how["Payload"]))
        return {"Payload": io.BytesIO(json.dumps(self.answers.pop(0)).encode())}


@pytest.mark.parametrize(
    ("wait", "answers", "slept", "well"),
    [
        (True, [{"state": "overlapping", "seconds": 600}, {"state": "rotated"}], [600], True),
        (False, [{"state": "overlapping", "seconds": 600}], [], True),
        (True, [{"state": "failed", "reason": "because"}], [], False),
        (True, [{"errorMessage": "boom"}], [], False),
    ],
)
def test_an_operators_rotation_waits_out_the_overlap(
    wait: bool, answers: list[dict[str, Any]], slept: list[float], well: bool
) -> None:
    cloud, waits, said = Cloud(*answers), list[float](), list[str]()
    done = rotate(cloud, cloud, stack_name="s", wait=wait, sleep=waits.append, say=said.append)
    assert (done, waits, cloud.answers) == (well, slept, [])
    assert cloud.asked[0] == {"rotate": {"StackId": STACK_ID, "overlap": 600}}
    assert said
