"""The permissions in the template are sufficient: here the engine enforces IAM.

The engine uses plain HTTP, which the template's QueueTlsOnly denies. So the template is deployed
without that one resource; all roles and policies are its own.
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


def test_the_main_job_needs_only_the_permissions_of_the_template(tmp_path: Path) -> None:
    template, removed = TLS_ONLY.subn("", TEMPLATE.read_text())
    assert removed == 1
    copy = tmp_path / "template.yaml"
    copy.write_text(template.replace("CodeUri: functions/", f"CodeUri: {ROOT}/functions/"))
    with LocalStack(template=copy, demo_users=False, enforce_iam=True) as stack:
        ada = Journey.begin(stack, "user_of_least_privilege")
        eventually(ada.features, lambda now: "api_access" in now, within=20)
        ada.visit().cancel()
        eventually(ada.entitlements, lambda now: bool(now["subscriptions"][0]["cancel_at"]))
        # A customer that waits for the subject takes it over: one transaction of three rows.
        empty = Journey.begin(stack, "user_of_two_customers", plan=None)
        eventually(empty.entitlements, lambda now: now["customer"] == empty.customer, within=20)
        paying = Journey.begin(stack, "user_of_two_customers")
        stack.stripe.v1.customers.delete(empty.customer)
        eventually(paying.features, lambda now: "api_access" in now, within=20)
        # Both functions can write to the dead-letter queue.
        sqs, deployment = stack.client("sqs"), stack.deployment
        assert post(stack, b"not an event").status_code == 200
        sqs.send_message(QueueUrl=deployment.event_queue_url, MessageBody="not JSON")
        eventually(
            lambda: stack.queue_depth(deployment.dead_letter_queue_url), lambda now: now == 2
        )

        # IAM is enforced: if a queue denies access, the webhook returns 503 and Stripe retries it.
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
