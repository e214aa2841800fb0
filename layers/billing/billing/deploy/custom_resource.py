"""CloudFormation's custom resource protocol: one answer, whatever happens, to a signed URL.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref.html
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

#: Bytes. CloudFormation takes 4,096 of an answer; what else is in it is far below the difference.
LONGEST_REASON = 2_500

#: Seconds to wait for the answer's receipt, and between the tries.
TIMEOUT, TRIES, PAUSE = 5, 3, 1.0


def stack_of(stack_id: str) -> str:
    """`account/region/name`: what stays the same when a stack is deleted and made again."""
    _, _, _, region, account, resource = stack_id.split(":", 5)
    return f"{account}/{region}/{resource.split('/')[1]}"


def respond(
    event: Mapping[str, Any], *, failure: str | None = None, data: Mapping[str, str] | None = None
) -> None:
    """Tell CloudFormation that the request has failed and why, or else its attributes.

    Raises OSError where the answer cannot be delivered; CloudFormation then waits for the
    resource's ServiceTimeout.
    """
    answer = {
        "Status": "SUCCESS" if failure is None else "FAILED",
        "Reason": (failure or "").encode()[:LONGEST_REASON].decode(errors="ignore"),
        # Always the same: no update is ever taken for a replacement, after which the old one
        # would be deleted.
        "PhysicalResourceId": event.get("PhysicalResourceId") or "portcullis-stripe-setup",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": dict(data or {}),
    }
    request = urllib.request.Request(  # noqa: S310 (CloudFormation's own URL)
        event["ResponseURL"],
        data=json.dumps(answer, ensure_ascii=False).encode(),
        method="PUT",
        # The URL is signed for an empty content type.
        headers={"content-type": ""},
    )
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310
                return
        except OSError:
            if not left:
                raise
            time.sleep(PAUSE)
