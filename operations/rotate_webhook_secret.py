"""`make rotate-webhook-secret STAGE=…`: replace the signing secret of a stack's webhook endpoint.

Invokes StripeSetupFunction, which replaces the endpoint with a second one. Both secrets are
accepted until the first endpoint is deleted. You can interrupt the rotation and run it again.
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

#: The function may run for 110 seconds. No retries: a second invocation at the same time is no use.
_LAMBDA_CONFIG = Config(read_timeout=130, retries={"total_max_attempts": 1})


def rotate(
    cloudformation: Any,
    functions: Any,
    *,
    stack_name: str,
    overlap: int = OVERLAP_SECONDS,
    wait: bool = True,
    sleep: Callable[[float], None] = time.sleep,
    say: Callable[[str], None] = print,
) -> bool:
    """Run every step of a rotation or, without `wait`, only the step that is due.

    Returns whether it succeeded; `say` receives each result as text. `cloudformation` and
    `functions` are boto3's clients of CloudFormation and Lambda.
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
                say("rotated: the old endpoint is deleted, and its secret is no longer accepted")
                return True
            case "overlapping":
                seconds = result["seconds"]
                say(f"both secrets are accepted; the old one can be removed in {seconds} s")
                if not wait:
                    say("run this command again then")
                    return True
                sleep(seconds)
            case _:
                say(f"not rotated: {result.get('reason') or result.get('errorMessage') or result}")
                return False


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", required=True, help="a section of samconfig.toml")
    parser.add_argument(
        "--overlap", type=int, default=OVERLAP_SECONDS, help="seconds, default %(default)s"
    )
    parser.add_argument("--no-wait", action="store_true", help="run only the step that is due")
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
