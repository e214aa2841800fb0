"""Structured logs and metrics. `report` is the one way to say that something happened."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

#: Occurrences that somebody may have to look into. All others are ordinary.
WARNINGS = frozenset(
    {
        "BackoffFailed",
        "ClaimForgotten",
        "DeadLettered",
        "EventQuarantined",
        "RequestFailed",
        "StripeCleanupSkipped",
        "StripeSetupFailed",
        "SubjectChanged",
        "SubjectOfAnotherIssuer",
        "SubjectTaken",
        "SubjectTakenOver",
        "SubjectUnusable",
        "SyncDeferred",
        "SyncFailed",
    }
)

# The service is the stack's name (POWERTOOLS_SERVICE_NAME): one account may hold several.
logger = Logger()
metrics = Metrics(namespace="Portcullis")


def report(name: str, /, **details: object) -> None:
    """Count `name` as a metric and log it with its details.

    Details are ids, types and reasons: never a portal URL, a secret, an email or a payload.
    """
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)
    log = logger.warning if name in WARNINGS else logger.info
    # Under one name: a detail called "message" would collide with the log record's.
    log(name, extra={"details": details})


def flush() -> None:
    """Print the metrics counted since the last flush, in CloudWatch's embedded metric format."""
    if metrics.metric_set:
        metrics.flush_metrics()
