"""The permissions in the template are enough, and they are asked for: the engine enforces IAM here.

The engine speaks plain HTTP, which the template's QueueTlsOnly rightly denies to everybody. So the
template is deployed without that one resource; all roles and policies are its own.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from local.deploy import TEMPLATE
from local.engine import ROOT
from local.journey import Journey, eventually
from local.stack import LocalStack
from tests.integration.deliveries import post

TLS_ONLY = re.compile(r"^  QueueTlsOnly:\n(?:    .*\n)+", re.MULTILINE)


def test_the_main_job_is_done_with_the_permissions_of_the_template_alone(tmp_path: Path) -> None:
    template, left_out = TLS_ONLY.subn("", TEMPLATE.read_text())
    assert left_out == 1
    copy = tmp_path / "template.yaml"
    copy.write_text(template.replace("CodeUri: functions/", f"CodeUri: {ROOT}/functions/"))
    with LocalStack(template=copy, demo_users=False, enforce_iam=True) as stack:
        ada = Journey.begin(stack, "user_of_least_privilege")
        eventually(ada.features, lambda now: "api_access" in now, within=20)
        ada.visit().cancel()
        eventually(ada.entitlements, lambda now: bool(now["subscriptions"][0]["cancel_at"]))
        # The dead-letter queue, and from the worker too.
        sqs, deployment = stack.client("sqs"), stack.deployment
        assert post(stack, b"not an event").status_code == 200
        sqs.send_message(QueueUrl=deployment.event_queue_url, MessageBody="poison")
        eventually(
            lambda: stack.queue_depth(deployment.dead_letter_queue_url), lambda now: now == 2
        )

        # That IAM is enforced at all: a queue that denies is a 503, so that Stripe tries again.
        deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
        for url in (deployment.event_queue_url, deployment.dead_letter_queue_url):
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        refused = post(stack, b"not an event")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        stack.stripe.v1.subscriptions.cancel(ada.subscription)
        time.sleep(0.5)
        assert "api_access" in ada.features()
        for url in (deployment.event_queue_url, deployment.dead_letter_queue_url):
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
        eventually(ada.features, lambda now: now == set())
