"""The HTTP edge: bodies, claims, scopes, and every error as a problem."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from billing import http
from billing.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    PortcullisError,
    StoreUnavailable,
    StripeUnavailable,
)


def request(body: str | None = None, **event: Any) -> http.Request:
    return http.Request({"body": body, **event})


def test_the_body_is_the_exact_bytes_flagged_as_base64_or_not() -> None:
    assert request('{"a": "ä"}').body == '{"a": "ä"}'.encode()
    encoded = base64.b64encode(b"\xff\x00").decode()
    assert request(encoded, isBase64Encoded=True).body == b"\xff\x00"
    assert request(None).body == b""


def test_a_body_flagged_as_base64_that_is_not_is_refused() -> None:
    for text in ("not base64!", "YWJj\n", "YWJ", "äöü="):
        with pytest.raises(BadRequest):
            _ = request(text, isBase64Encoded=True).body


@pytest.mark.parametrize(
    "body", ["{", "[]", "1", '"x"', "null", "[" * 9_000, "\ud800", '{"a": "\\ud800"}']
)
def test_a_body_that_is_no_json_object_is_refused(body: str) -> None:
    with pytest.raises(BadRequest):
        request(body).json()


def test_an_empty_body_is_an_empty_object_and_a_huge_one_is_refused() -> None:
    assert request(None).json() == request(" \n").json() == {}
    with pytest.raises(PayloadTooLarge):
        request(" " * (http.MAX_JSON_BYTES + 1)).json()


def test_headers_are_found_in_any_case() -> None:
    assert request(headers={"Stripe-SIGNATURE": "x"}).headers["stripe-signature"] == "x"


def with_claims(**claims: Any) -> http.Request:
    return request(requestContext={"authorizer": {"jwt": {"claims": claims}}})


def test_the_subject_is_the_verified_claim_and_nothing_else() -> None:
    assert with_claims(sub="user-1").subject("sub") == "user-1"
    assert with_claims(sub="user-1", org_id="org-1").subject("org_id") == "org-1"
    for claims in ({}, {"sub": ""}, {"sub": "x" * 300}, {"sub": ["user-1"]}):
        with pytest.raises(Forbidden, match="sub"):
            with_claims(**claims).subject("sub")
    with pytest.raises(Forbidden):
        request().subject("sub")


@pytest.mark.parametrize(
    "claims", [{"scope": "openid billing:manage"}, {"scp": "[openid billing:manage]"}]
)
def test_a_scope_is_found_however_the_issuer_writes_it(claims: dict[str, str]) -> None:
    with_claims(**claims).require_scope("billing:manage")
    with pytest.raises(Forbidden, match="billing:admin"):
        with_claims(**claims).require_scope("billing:admin")
    with pytest.raises(Forbidden):
        with_claims(**claims).require_scope("billing")


def test_no_scope_configured_is_everybodys() -> None:
    with_claims().require_scope("")


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json", False),
        ("application/json, text/html", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_a_browser_following_a_form_prefers_html(accept: str, html: bool) -> None:
    assert request(headers={"accept": accept}).prefers_html is html


def test_a_path_parameter_is_percent_decoded() -> None:
    assert request(pathParameters={"feature": "a%2Fb%20c"}).path_parameter("feature") == "a/b c"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequest("x"), 400),
        (Forbidden("x"), 403),
        (NotFound("x"), 404),
        (PayloadTooLarge("x"), 413),
        (StripeUnavailable("429"), 503),
        (StoreUnavailable("x"), 503),
        (PortcullisError("x"), 500),
        (KeyError("x"), 500),
    ],
)
def test_every_error_is_answered_as_problem_details(error: Exception, status: int) -> None:
    def fail(_: http.Request) -> http.Response:
        raise error

    response = http.endpoint(fail)({}, None)
    body = json.loads(response["body"])
    assert response["statusCode"] == body["status"] == status
    assert response["headers"]["content-type"] == "application/problem+json"
    assert set(body) == {"type", "title", "status", "detail"}
    assert ("retry-after" in response["headers"]) is (status == 503)


def test_an_unforeseen_error_is_logged_whole_and_answered_without_its_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: http.Request) -> http.Response:
        raise RuntimeError("inner detail")

    response = http.endpoint(fail)({}, None)
    assert "inner detail" not in response["body"]


def test_answers_and_redirects_are_kept_by_no_cache() -> None:
    assert http.respond(200, {})["headers"]["cache-control"] == "no-store"
    redirect = http.see_other("https://billing.stripe.com/x")
    assert redirect["statusCode"] == 303
    assert redirect["headers"]["cache-control"] == "no-store"
