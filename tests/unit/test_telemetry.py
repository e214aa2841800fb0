"""Reports: one metric and one log line each, at the right level."""

from __future__ import annotations

import json

import pytest

from billing.adapters import telemetry


def test_a_report_is_a_metric_and_a_log_line(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.report("EventAccepted", event="evt_1")
    telemetry.report("SubjectTaken", customer="cus_1")
    telemetry.flush()
    metric = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert metric["EventAccepted"] == [1.0]
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Portcullis"
    levels = {record.getMessage(): record.levelname for record in caplog.records}
    assert levels == {"EventAccepted": "INFO", "SubjectTaken": "WARNING"}


def test_without_a_report_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.flush()
    assert capsys.readouterr().out == ""
