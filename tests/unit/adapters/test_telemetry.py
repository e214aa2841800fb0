"""A report as CloudWatch reads it: the whole log line, and the metric that the alarms count."""

from __future__ import annotations

import json

import pytest

from billing.adapters import telemetry
from tests.unit.test_template import ENVIRONMENT, RESOURCES


def test_a_log_line_is_one_json_object_with_its_details_under_one_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    telemetry.report("DeadLettered", message="m1", reason="not JSON", level="x", service="y")
    telemetry.metrics.clear_metrics()
    (record,) = caplog.records
    line = json.loads(telemetry.logger.registered_handler.format(record))
    assert (line["level"], line["message"]) == ("WARNING", "DeadLettered")
    assert line["details"] == {
        "message": "m1",
        "reason": "not JSON",
        "level": "x",
        "service": "y",
    }
    assert "m1" not in str({name: line[name] for name in line if name != "details"})


def test_a_metric_is_the_one_that_an_alarm_counts(capsys: pytest.CaptureFixture[str]) -> None:
    properties = [resource.get("Properties", {}) for resource in RESOURCES.values()]
    alarms = [each for each in properties if each.get("Namespace") == "Portcullis"]
    assert {alarm["MetricName"] for alarm in alarms} == {"RequestFailed", "SignatureRejected"}
    # Powertools' dimension, whose value each function is given.
    stack = ENVIRONMENT["POWERTOOLS_SERVICE_NAME"]
    for alarm in alarms:
        assert alarm["Dimensions"] == [{"Name": "service", "Value": stack}]
        telemetry.report(alarm["MetricName"])
        telemetry.report(alarm["MetricName"])
        telemetry.flush()
        printed = json.loads(capsys.readouterr().out.splitlines()[-1])
        (metrics,) = printed["_aws"]["CloudWatchMetrics"]
        assert metrics["Namespace"] == alarm["Namespace"]
        assert [each["Name"] for each in metrics["Metrics"]] == [alarm["MetricName"]]
        # Its sum is what the alarm looks at.
        assert (alarm["Statistic"], sum(printed[alarm["MetricName"]])) == ("Sum", 2)


def test_what_was_printed_is_not_counted_again(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.report("RequestFailed")
    telemetry.flush()
    capsys.readouterr()
    telemetry.flush()
    assert capsys.readouterr().out == ""
