"""Answers questions, one JSON object a line: `python -m tests.mutants.server`, run by a Stage.

It has imported the libraries, which takes seconds, but nothing of ours. It forks for each question,
so that each one imports our code as it is in the stage at that moment.

{"tests": […], "all": bool}  → {"code": …, "failed": {test: exception}, "errors": […]}
{"mutant": index}            → {"good": bool, "text": …}
"""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import sys
from contextlib import redirect_stdout
from typing import Any

import aws_lambda_powertools.metrics
import boto3.dynamodb.types
import fastjsonschema
import hypothesis
import moto
import pytest
import stripe
import stripe._v1_services
import yaml

#: Imported for the forks, which find them here. stripe._v1_services imports every service.
IMPORTED = (aws_lambda_powertools, boto3, fastjsonschema, hypothesis, moto, stripe, yaml)

#: The services whose models, which are large, botocore has at hand after the first client.
AWS_SERVICES = ("dynamodb", "secretsmanager", "sqs")

#: For speed: no plugin of others, and asserts as they are written. A failure is not looked at.
OPTIONS = ("-p", "no:cacheprovider", "-p", "no:unraisableexception", "--assert=plain", "--tb=no")

#: An edit may make a test run for ever.
MAX_SECONDS = 300


class Outcomes:
    """A plugin of pytest's: which tests failed themselves, by which exception, and which in their
    setup or teardown."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.errors: list[str] = []

    def pytest_exception_interact(
        self, node: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> None:
        if report.when == "call":
            assert call.excinfo is not None
            self.failed[node.nodeid] = call.excinfo.typename
        else:
            self.errors.append(node.nodeid)


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The answer to one question, in a process that has nothing of ours loaded."""
    if "mutant" in question:
        from tests.simulation.mutants import MUTANTS, judge

        verdict = judge(MUTANTS[question["mutant"]])
        return {"good": verdict.good, "text": str(verdict)}
    outcomes = Outcomes()
    until = [] if question["all"] else ["--exitfirst"]
    code = pytest.main([*OPTIONS, *until, *question["tests"]], plugins=[outcomes])
    return {"code": int(code), "failed": outcomes.failed, "errors": outcomes.errors}


def prepare() -> None:
    """Do here, once, what each fork would do."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with redirect_stdout(io.StringIO()):
        pytest.main(["--version"])
    for service in AWS_SERVICES:
        boto3.client(service, region_name="us-east-1")  # type: ignore[call-overload]
    # The forks' garbage is only their own, and what they share stays shared.
    gc.collect()
    gc.freeze()


def serve() -> None:
    """Answer each line of the standard input with one line, until it ends."""
    prepare()
    for line in sys.stdin:
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(MAX_SECONDS)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(nowhere, standard)
            os.write(writable, json.dumps(answer(json.loads(line))).encode())
            os._exit(0)
        os.close(writable)
        with os.fdopen(readable) as pipe:
            found = pipe.read()
        os.waitpid(child, 0)
        print(found or "{}", flush=True)


if __name__ == "__main__":
    serve()
