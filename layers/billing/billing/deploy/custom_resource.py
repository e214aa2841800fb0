"""CloudFormation's custom resource protocol: one response, whatever happens, to a signed URL.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref.html
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

#: CloudFormation takes 4,096 bytes of a response. The other fields need far less than is left.
MAX_REASON_BYTES = 2_500

#: The response is sent so many times, with a pause between, until CloudFormation has received it.
MAX_ATTEMPTS = 3
TIMEOUT_SECONDS = 5
PAUSE_SECONDS = 1.0


def stack_of(stack_id: str) -> str:
    """`account/region/name`: it stays the same when a stack is deleted and created again."""
    _, _, _, region, account, resource = stack_id.split(":", 5)
    return f"{account}/{region}/{resource.split('/')[1]}"


def respond(
    event: Mapping[str, Any], *, failure: str | None = None, data: Mapping[str, str] | None = None
) -> None:
    """Tell CloudFormation that the request failed and why, or that it succeeded, with `data` as the
    resource's attributes.

    Raises OSError where the response cannot be delivered. CloudFormation then waits for the
    resource's ServiceTimeout.
    """
    response = {
        "Status": "SUCCESS" if failure is None else "FAILED",
        "Reason": (failure or "").encode()[:MAX_REASON_BYTES].decode(errors="ignore"),
        # Always the same: another id would mean a replacement, and the old one would be deleted.
        "PhysicalResourceId": event.get("PhysicalResourceId") or "portcullis-stripe-setup",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": dict(data or {}),
    }
    request = urllib.request.Request(  # noqa: S310 (CloudFormation's own URL)
        event["ResponseURL"],
        data=json.dumps(response, ensure_ascii=False).encode(),
        method="PUT",
        # The URL is signed for an empty content type.
        headers={"content-type": ""},
    )
    for left in reversed(range(MAX_ATTEMPTS)):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
                return
        except OSError:
            if not left:
                raise
            time.sleep(PAUSE_SECONDS)
