"""Deploy the real template.yaml into the local engine in a few seconds, without the SAM CLI.

It does what `sam build` and `sam deploy` do: pack, upload, rewrite the paths, create or update the
stack. The engine itself runs the SAM transform. `make deploy` and one integration test use the SAM
CLI.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from local.engine import ACCOUNT, REGION, ROOT
from local.layer import CONFIGURATION_FILE, folder_zip, layer_zip

TEMPLATE = ROOT / "template.yaml"
ARTIFACTS = "portcullis-artifacts"
CREATED = "stack_create_complete"


class DeployError(Exception):
    """CloudFormation refused the template; the message names the resource and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The addresses and names of a deployed stack.

    `functions` maps a logical id of the template to the function's name.
    """

    stack_name: str
    api_url: str
    webhook_url: str
    table_name: str
    event_queue_url: str
    dead_letter_queue_url: str
    functions: Mapping[str, str]
    outputs: Mapping[str, str]


def client(service: str, endpoint: str) -> Any:
    """Return a boto3 client for the engine at `endpoint`.

    Its credentials are explicit, so it never uses a profile of this machine.
    """
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="local",
        config=Config(
            retries={"total_max_attempts": 2},
            s3={"addressing_style": "path"},
            inject_host_prefix=False,
        ),
    )


def deploy(
    endpoint: str,
    parameters: Mapping[str, str],
    *,
    template: Path = TEMPLATE,
    configuration_file: Path = CONFIGURATION_FILE,
    stack_name: str = "portcullis",
    update: bool = False,
) -> Deployment:
    """Create (or `update`) the stack from `template` and wait until it is complete.

    Raises DeployError; CloudFormation has then rolled back a failed update.
    """
    written = yaml.load(template.read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader
    body = _packaged(endpoint, written, template.parent, configuration_file)
    with closing(client("cloudformation", endpoint)) as cloudformation:
        change = cloudformation.update_stack if update else cloudformation.create_stack
        try:
            change(
                StackName=stack_name,
                TemplateBody=json.dumps(body),
                Parameters=[
                    {"ParameterKey": key, "ParameterValue": value}
                    for key, value in parameters.items()
                ],
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            )
        except ClientError as error:
            if "No updates are to be performed" not in error.response["Error"]["Message"]:
                raise
        _wait(cloudformation, stack_name, "stack_update_complete" if update else CREATED)
    return describe(endpoint, stack_name)


def delete(endpoint: str, stack_name: str = "portcullis") -> None:
    """Delete the stack and wait until it is gone. Raises DeployError."""
    with closing(client("cloudformation", endpoint)) as cloudformation:
        cloudformation.delete_stack(StackName=stack_name)
        _wait(cloudformation, stack_name, "stack_delete_complete")


def _wait(cloudformation: Any, stack_name: str, until: str) -> None:
    waiter = cloudformation.get_waiter(until)
    waiter.config.delay = 0.1
    waiter.config.max_attempts = 600
    try:
        waiter.wait(StackName=stack_name)
    except WaiterError as error:
        raise DeployError(_failures(cloudformation, stack_name)) from error


def describe(endpoint: str, stack_name: str = "portcullis") -> Deployment:
    """Return the addresses of the stack of this name, whether we or the SAM CLI deployed it."""
    with closing(client("cloudformation", endpoint)) as cloudformation:
        stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
        resources = cloudformation.describe_stack_resources(StackName=stack_name)["StackResources"]
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}
    # The output names a host of AWS. The engine serves the same API under a path, because not every
    # resolver knows names below localhost.
    api_id = (urlsplit(outputs["ApiUrl"]).hostname or "").split(".")[0]
    api_url = f"{endpoint}/_aws/execute-api/{api_id}/$default"
    return Deployment(
        stack_name=stack_name,
        api_url=api_url,
        webhook_url=api_url + urlsplit(outputs["WebhookUrl"]).path,
        table_name=outputs["TableName"],
        event_queue_url=outputs["EventQueueUrl"],
        dead_letter_queue_url=outputs["DeadLetterQueueUrl"],
        functions={
            item["LogicalResourceId"]: item["PhysicalResourceId"]
            for item in resources
            if item["ResourceType"] == "AWS::Lambda::Function"
        },
        outputs=outputs,
    )


def _packaged(
    endpoint: str, template: dict[str, Any], folder: Path, configuration_file: Path
) -> dict[str, Any]:
    """Return the template with each local path replaced by the address of its upload."""
    with closing(client("s3", endpoint)) as s3:
        s3.create_bucket(Bucket=ARTIFACTS)

        def upload(content: bytes) -> str:
            key = hashlib.sha256(content).hexdigest()
            s3.put_object(Bucket=ARTIFACTS, Key=key, Body=content)
            return f"s3://{ARTIFACTS}/{key}"

        for resource in template["Resources"].values():
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::Serverless::Function":
                properties["CodeUri"] = upload(folder_zip(folder / properties["CodeUri"]))
            elif resource["Type"] == "AWS::Serverless::LayerVersion":
                properties["ContentUri"] = upload(layer_zip(configuration_file))
    return template


def _failures(cloudformation: Any, stack_name: str) -> str:
    events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
    reasons = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("FAILED")
    ]
    return "CloudFormation could not deploy the stack:\n  " + "\n  ".join(
        reasons or ["no reason given"]
    )


class _Loader(yaml.SafeLoader):
    """A YAML loader that reads CloudFormation's short forms (`!Ref`) as their long forms."""


def _long_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _long_form)
