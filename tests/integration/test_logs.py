"""No log contains a secret, a portal URL or an email address. All logs of this run are searched.

conftest.py runs it last: the other tests use the same stack, so their logs are searched too.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from local.journey import Journey
from local.stack import API_KEY, LocalStack

FORBIDDEN = {
    "a portal session's URL": r"billing\.stripe\.com/p/|/p/session/",
    "a webhook's signing secret": r"whsec_",
    "an API key": r"\b[sr]k_(test|live)_",
    "an email address": r"[\w.+-]+@[\w-]+\.[a-z]{2,}",
    "a token": r"\beyJ[\w-]+\.[\w-]+\.",
}


def test_no_function_logs_a_portal_url_a_secret_a_token_or_an_email_address(
    begin: Callable[..., Journey], stack: LocalStack
) -> None:
    ada = begin()
    stack.stripe.v1.customers.update(ada.customer, {"email": "ada@example.com"})
    stack.wait_until_quiet()
    visit = ada.visit()
    assert re.search(FORBIDDEN["a portal session's URL"], visit.url)
    assert re.search(FORBIDDEN["an API key"], API_KEY)
    assert re.search(FORBIDDEN["a webhook's signing secret"], stack.webhook_secret)
    stack.wait_until_quiet()
    for function in stack.deployment.functions:
        lines = stack.logs(function)
        for what, pattern in FORBIDDEN.items():
            found = [line for line in lines if re.search(pattern, line)]
            assert not found, f"{function} logged {what}: {found[0]}"
    # The functions have logged something, so the search above is not empty.
    assert any('"EventAccepted"' in line for line in stack.logs("IngestWebhook"))
    assert len(stack.logs("SyncCustomer")) > 10
    assert stack.logs("CreatePortalSession")
    assert stack.logs("GetEntitlements")
