"""Structured logs and metrics. The one way to say that something happened: `report`."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

#: Occurrences that somebody may have to look into; all others are the ordinary course of things.
WARNINGS = frozenset(
    {
        "BackoffFailed",
        "DeadLettered",
        "EventQuarantined",
        "RequestFailed",
        "StripeSetupFailed",
        "StripeSetupLeft",
        "SubjectChanged",
        "SubjectTaken",
        "SyncFailed",
        "SyncWaits",
    }
)

# The service is the stack's name (POWERTOOLS_SERVICE_NAME): one account may hold several.
logger = Logger()
metrics = Metrics(namespace="Portcullis")


def report(name: str, /, **details: object) -> None:
    """Count `name` as a metric and log it with its details.

    Details are ids, types and reasons; never a URL of the portal, a secret, an e-mail or a payload.
    """
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)
    log = logger.warning if name in WARNINGS else logger.info
    # Under one name: a detail called "message" would collide with the log record's own.
    log(name, extra={"details": details})


def flush() -> None:
    """Print what was counted since the last flush, in CloudWatch's embedded metric format."""
    if metrics.metric_set:
        metrics.flush_metrics()
