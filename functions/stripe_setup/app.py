"""Run by CloudFormation at each deploy: makes Stripe what this stack needs."""

from collections.abc import Mapping
from typing import Any

from billing import wiring
from billing.adapters import telemetry
from billing.deploy import custom_resource
from billing.deploy.stripe_setup import reason
from billing.errors import PortcullisError


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any] | None:
    """Respond to CloudFormation, whatever happens, or to an operator who asks for `rotate`."""
    failure: str | None = None
    data: dict[str, Any] = {}
    try:
        data = _do(event, context)
    except PortcullisError as error:
        failure = reason(error)
        telemetry.report("StripeSetupFailed", reason=failure)
    except Exception as error:  # noqa: BLE001  the outermost edge: CloudFormation waits for a response
        failure = f"Unexpected {type(error).__name__}; the log of StripeSetupFunction shows it."
        telemetry.report("StripeSetupFailed", reason=failure)
        telemetry.logger.exception("unexpected error")
    finally:
        telemetry.flush()
    if "rotate" in event:
        return {"state": "failed", "reason": failure} if failure else data
    custom_resource.respond(event, failure=failure, data=data)
    return None


def _do(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    setup = wiring.stripe_setup(context.get_remaining_time_in_millis)
    if "rotate" in event:
        stack = custom_resource.stack_of(event["rotate"]["StackId"])
        return setup.rotate(stack=stack, overlap=int(event["rotate"]["overlap"]))
    stack, wanted = custom_resource.stack_of(event["StackId"]), event["ResourceProperties"]
    if event["RequestType"] == "Delete":
        setup.retire(stack=stack, delete=wanted["DeleteStripeObjects"] == "true")
        return {}
    return setup.apply(stack=stack, url=wanted["WebhookUrl"])
