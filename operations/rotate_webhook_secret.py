"""`make rotate-webhook-secret STAGE=…`: give a stack's webhook endpoint another signing secret.

A second endpoint takes over from the first, both secrets accepted meanwhile; the function
StripeSetupFunction does it, this asks it to. It may be stopped anywhere and run again.
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

#: Seconds for which both secrets are accepted. A function keeps a secret for five minutes.
OVERLAP = 600

#: The function itself has 110 seconds; a second invocation beside it would help nobody.
_PATIENT = Config(read_timeout=130, retries={"total_max_attempts": 1})


def rotate(
    cloudformation: Any,
    functions: Any,
    *,
    stack_name: str,
    overlap: int = OVERLAP,
    wait: bool = True,
    sleep: Callable[[float], None] = time.sleep,
    say: Callable[[str], None] = print,
) -> bool:
    """Take the steps of a rotation until it is done, or (without `wait`) just the one that is due.

    Answers whether it went well; `say` is told how. `cloudformation` and `functions` are boto3's
    clients of CloudFormation and Lambda.
    """
    (stack,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    request = {"rotate": {"StackId": stack["StackId"], "overlap": overlap}}
    while True:
        answer = functions.invoke(
            FunctionName=outputs["StripeSetupFunction"], Payload=json.dumps(request).encode()
        )
        told = json.loads(answer["Payload"].read())
        match told.get("state"):
            case "rotated":
                say("rotated: the old endpoint is gone, and its secret is accepted no longer")
                return True
            case "overlapping":
                say(f"both secrets are accepted; {told['seconds']} s until the old one goes")
                if not wait:
                    say("run this again then")
                    return True
                sleep(told["seconds"])
            case _:
                say(f"not rotated: {told.get('reason') or told.get('errorMessage') or told}")
                return False


def main() -> int:
    """Answer the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", required=True, help="a section of samconfig.toml")
    parser.add_argument("--overlap", type=int, default=OVERLAP, help="seconds, %(default)s")
    parser.add_argument("--no-wait", action="store_true", help="take the step that is due, no more")
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
        session.client("lambda", config=_PATIENT),
        stack_name=settings["stack_name"],
        overlap=options.overlap,
        wait=not options.no_wait,
    )
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
