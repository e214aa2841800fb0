"""`make rotate-webhook-secret STAGE=…`: replace the signing secret of a stack's webhook endpoint.

A second endpoint replaces the first one; during the overlap both secrets are accepted. The
function StripeSetupFunction does the work, and this command invokes it. You can stop the command
at any time and run it again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

SAMCONFIG = Path(__file__).resolve().parent.parent / "samconfig.toml"

#: How long both secrets are accepted. A function caches a secret for five minutes.
OVERLAP_SECONDS = 600

#: The function may take 110 seconds. No retries: a second invocation would run beside the first.
_LAMBDA_CONFIG = Config(read_timeout=130, retries={"total_max_attempts": 1})


def rotate(
    cloudformation: Any,
    functions: Any,
    *,
    stack_name: str,
    overlap: int = OVERLAP_SECONDS,
    wait: bool = True,
    sleep: Callable[[float], None] = time.sleep,
    log: Callable[[str], None] = print,
) -> bool:
    """Take the steps of a rotation until it is done; without `wait`, only the step that is due.

    Return whether it succeeded, and pass each result to `log`. `cloudformation` and `functions` are
    boto3 clients of CloudFormation and Lambda.
    """
    (stack,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    request = {"rotate": {"StackId": stack["StackId"], "overlap": overlap}}
    while True:
        response = functions.invoke(
            FunctionName=outputs["StripeSetupFunction"], Payload=json.dumps(request).encode()
        )
        result = json.loads(response["Payload"].read())
        match result.get("state"):
            case "rotated":
                log("rotated: the old endpoint is deleted, and its secret is no longer accepted")
                return True
            case "overlapping":
                log(f"both secrets are accepted; the next step is due in {result['seconds']} s")
                if not wait:
                    log("run this command again after that")
                    return True
                sleep(result["seconds"])
            case _:
                log(f"not rotated: {result.get('reason') or result.get('errorMessage') or result}")
                return False


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", required=True, help="a section of samconfig.toml")
    parser.add_argument("--overlap", type=int, default=OVERLAP_SECONDS, help="seconds, %(default)s")
    parser.add_argument("--no-wait", action="store_true", help="take only the step that is due")
    options = parser.parse_args()
    config = tomllib.loads(SAMCONFIG.read_text("utf-8"))
    if options.stage not in config:
        parser.error(f"samconfig.toml has no section [{options.stage}.deploy.parameters]")
    common = config.get("default", {}).get("global", {}).get("parameters", {})
    settings = common | config[options.stage]["deploy"]["parameters"]
    session = boto3.Session(
        region_name=settings.get("region"), profile_name=settings.get("profile")
    )
    done = rotate(
        session.client("cloudformation"),
        session.client("lambda", config=_LAMBDA_CONFIG),
        stack_name=settings["stack_name"],
        overlap=options.overlap,
        wait=not options.no_wait,
    )
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
