"""A web page open in the developer's browser cannot use the stack that runs on their machine.

Each request succeeds when a program sends it and is refused when a foreign page sends it.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable

import httpx
import pytest
from botocore.exceptions import ClientError

from local.journey import Journey
from local.stack import API_KEY, LocalStack

FOREIGN_ORIGIN = "https://evil.example"

# Headers that a browser adds to a request of a foreign page. Each one alone causes a refusal.
FOREIGN = {
    "an origin": {"origin": FOREIGN_ORIGIN},
    "an opaque origin": {"origin": "null"},
    "a foreign name that resolves to this server": {"host": "evil.example"},
    "a page of another site": {"sec-fetch-site": "cross-site"},
    "a page on another port": {"sec-fetch-site": "same-site"},
}

# A content type that a page may send to any address without a preflight request.
PLAIN = {"content-type": "text/plain"}

Headers = dict[str, str]
Send = Callable[[LocalStack, Headers], httpx.Response]


def list_functions(stack: LocalStack, headers: Headers) -> httpx.Response:
    return stack.http.get(f"{stack.engine.endpoint}/2015-03-31/functions", headers=headers)


def create_function(stack: LocalStack, headers: Headers) -> httpx.Response:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return 'ran'\n")
    function = {
        "FunctionName": "from_a_page",
        "Runtime": "python3.13",
        "Handler": "index.handler",
        "Role": "arn:aws:iam::000000000000:role/any",
        "Code": {"ZipFile": base64.b64encode(packed.getvalue()).decode()},
    }
    url = f"{stack.engine.endpoint}/2015-03-31/functions"
    return stack.http.post(url, content=json.dumps(function), headers={**PLAIN, **headers})


def invoke_function(stack: LocalStack, headers: Headers) -> httpx.Response:
    url = f"{stack.engine.endpoint}/2015-03-31/functions/from_a_page/invocations"
    return stack.http.post(url, content="{}", headers={**PLAIN, **headers})


def list_queues_below_the_path_of_http_apis(stack: LocalStack, headers: Headers) -> httpx.Response:
    url = f"{stack.engine.endpoint}/_aws/execute-api/x"
    action = {"Action": "ListQueues", "Version": "2012-11-05"}
    return stack.http.post(url, params=action, headers={**PLAIN, **headers})


def read_simulator_requests(stack: LocalStack, headers: Headers) -> httpx.Response:
    return stack.http.get(f"{stack.simulator_url}/_simulator/requests", headers=headers)


def advance_simulator_clock(stack: LocalStack, headers: Headers) -> httpx.Response:
    url = f"{stack.simulator_url}/_simulator/clock/advance"
    return stack.http.post(url, content='{"seconds": 0}', headers={**PLAIN, **headers})


def list_stripe_customers(stack: LocalStack, headers: Headers) -> httpx.Response:
    key = {"authorization": f"Bearer {API_KEY}"}
    return stack.http.get(f"{stack.simulator_url}/v1/customers", headers={**key, **headers})


def create_a_token(stack: LocalStack, headers: Headers) -> httpx.Response:
    body = json.dumps({"subject": "user_ada"})
    return stack.http.post(f"{stack.site.url}/token", content=body, headers={**PLAIN, **headers})


def read_demo_description(stack: LocalStack, headers: Headers) -> httpx.Response:
    return stack.http.get(f"{stack.site.url}/stack.json", headers=headers)


def assert_foreign_pages_are_refused(stack: LocalStack, send: Send) -> None:
    for name, headers in FOREIGN.items():
        response = send(stack, headers)
        assert response.status_code == httpx.codes.FORBIDDEN, f"{name}: {response.text}"
        assert response.text.startswith("This server "), name


@pytest.mark.parametrize(
    "send",
    [
        list_functions,
        list_queues_below_the_path_of_http_apis,
        read_simulator_requests,
        advance_simulator_clock,
        list_stripe_customers,
        create_a_token,
        read_demo_description,
    ],
)
def test_a_program_is_served_and_a_foreign_page_is_refused(stack: LocalStack, send: Send) -> None:
    assert send(stack, {}).status_code == httpx.codes.OK
    assert_foreign_pages_are_refused(stack, send)


def test_a_foreign_page_neither_creates_nor_runs_a_function(stack: LocalStack) -> None:
    functions = stack.client("lambda")
    assert_foreign_pages_are_refused(stack, create_function)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        functions.get_function(FunctionName="from_a_page")
    assert create_function(stack, {}).status_code == httpx.codes.CREATED
    try:
        assert_foreign_pages_are_refused(stack, invoke_function)
        assert invoke_function(stack, {}).json() == "ran"
    finally:
        functions.delete_function(FunctionName="from_a_page")


def test_the_demo_page_calls_the_deployed_api_from_its_own_origin(
    stack: LocalStack, begin: Callable[..., Journey]
) -> None:
    page = {"origin": stack.site.url, "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}
    url = f"{stack.api_url}/entitlements"
    requested = {
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization",
    }
    preflight = stack.http.options(url, headers={**page, **requested})
    assert preflight.headers["access-control-allow-origin"] == stack.site.url
    token = stack.token(begin().subject)
    response = stack.http.get(url, headers={**page, "authorization": f"Bearer {token}"})
    assert response.status_code == httpx.codes.OK
    assert response.headers["access-control-allow-origin"] == stack.site.url


def test_the_deployed_api_does_not_allow_another_origin(stack: LocalStack) -> None:
    page = {
        "origin": FOREIGN_ORIGIN,
        "sec-fetch-site": "cross-site",
        "access-control-request-method": "GET",
    }
    preflight = stack.http.options(f"{stack.api_url}/entitlements", headers=page)
    assert "access-control-allow-origin" not in preflight.headers


def test_links_to_the_portal_and_back_work_and_only_the_portal_page_can_submit_its_forms(
    stack: LocalStack, begin: Callable[..., Journey]
) -> None:
    link = {
        "sec-fetch-site": "same-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    ada = begin()
    # The portal needs the row of the new customer.
    stack.wait_until_quiet()
    visit = ada.visit(return_url=f"{stack.site.url}/")
    assert stack.http.get(visit.url, headers=link).status_code == httpx.codes.OK
    assert stack.http.get(f"{stack.site.url}/", headers=link).status_code == httpx.codes.OK
    cancel = f"{visit.url}/subscriptions/{visit.subscription}/cancel"
    own = {"origin": stack.simulator_url, "sec-fetch-site": "same-origin"}
    for headers in FOREIGN.values():
        assert stack.http.post(cancel, headers=headers).status_code == httpx.codes.FORBIDDEN
    assert stack.http.post(cancel, headers=own).status_code == httpx.codes.SEE_OTHER
