"""HTTP: bodies, claims, scopes, and a problem details response for every error."""

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
    StoreRefused,
    StoreUnavailable,
    StripeUnavailable,
)

LIMIT = 16


def request(body: str | None = None, **event: Any) -> http.Request:
    return http.Request({"body": body, **event})


def test_the_body_is_the_exact_bytes_with_or_without_base64() -> None:
    assert request('{"a": "ä"}').body(limit=LIMIT) == '{"a": "ä"}'.encode()
    encoded = base64.b64encode(b"\xff\x00").decode()
    assert request(encoded, isBase64Encoded=True).body(limit=LIMIT) == b"\xff\x00"
    assert request(None).body(limit=LIMIT) == b""


def test_a_body_with_invalid_base64_is_refused() -> None:
    for text in ("not base64!", "YWJj\n", "YWJ", "äöü="):
        with pytest.raises(BadRequest):
            request(text, isBase64Encoded=True).body(limit=LIMIT)


@pytest.mark.parametrize("size", range(LIMIT - 2, LIMIT + 3))
def test_the_limit_counts_the_bytes_of_the_decoded_body(size: int) -> None:
    plain, encoded = "x" * size, base64.b64encode(b"x" * size).decode()
    for each in (request(plain), request(encoded, isBase64Encoded=True)):
        if size <= LIMIT:
            assert len(each.body(limit=LIMIT)) == size
        else:
            with pytest.raises(PayloadTooLarge):
                each.body(limit=LIMIT)


def test_a_body_that_is_too_large_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode(*_: Any, **__: Any) -> bytes:
        raise AssertionError("decoded")

    monkeypatch.setattr("base64.b64decode", decode)
    with pytest.raises(PayloadTooLarge):
        request("x" * 1_000_000, isBase64Encoded=True).body(limit=LIMIT)


@pytest.mark.parametrize(
    "body", ["{", "[]", "1", '"x"', "null", "[" * 9_000, "\ud800", '{"a": "\\ud800"}']
)
def test_a_body_that_is_not_a_json_object_is_refused(body: str) -> None:
    with pytest.raises(BadRequest):
        request(body).json()


def test_an_empty_body_is_an_empty_object_and_a_huge_one_is_refused() -> None:
    assert request(None).json() == request(" \n").json() == {}
    with pytest.raises(PayloadTooLarge):
        request(" " * (http.MAX_JSON_BYTES + 1)).json()


def test_header_names_are_case_insensitive() -> None:
    assert request(headers={"Stripe-SIGNATURE": "x"}).headers["stripe-signature"] == "x"


def with_claims(**claims: Any) -> http.Request:
    return request(requestContext={"authorizer": {"jwt": {"claims": claims}}})


def test_the_subject_is_the_verified_claim_and_nothing_else() -> None:
    assert with_claims(sub="user-1").subject("sub") == "user-1"
    assert with_claims(sub="user-1", org_id="org-1").subject("org_id") == "org-1"
    for claims in (
        {},
        {"sub": ""},
        {"sub": "x" * 257},
        {"sub": "ä" * 129},
        {"sub": ["user-1"]},
        {"sub": "[user-1 user-2]"},
        {"sub": "map[id:user-1]"},
        {"sub": "  "},
        {"sub": "user\n1"},
        {"sub": "\ud800"},
    ):
        with pytest.raises(Forbidden, match="sub"):
            with_claims(**claims).subject("sub")
    with pytest.raises(Forbidden):
        request().subject("sub")


@pytest.mark.parametrize(
    "claims", [{"scope": "openid billing:manage"}, {"scp": "[openid billing:manage]"}]
)
def test_a_scope_is_found_in_both_forms_that_issuers_use(claims: dict[str, str]) -> None:
    with_claims(**claims).require_scope("billing:manage")
    with pytest.raises(Forbidden, match="billing:admin"):
        with_claims(**claims).require_scope("billing:admin")
    with pytest.raises(Forbidden):
        with_claims(**claims).require_scope("billing")


def test_without_a_configured_scope_every_request_is_allowed() -> None:
    with_claims().require_scope("")


@pytest.mark.parametrize(
    "scope",
    ["x[portal]y", "a\u00a0portal", "a\u2003portal", "a\tportal", "[portal", "portal]", "Portal"],
)
def test_a_scope_is_one_whole_word_between_spaces(scope: str) -> None:
    with pytest.raises(Forbidden):
        with_claims(scope=scope).require_scope("portal")


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
        (StoreRefused("x"), 503),
        (PortcullisError("x"), 500),
        (KeyError("x"), 500),
    ],
)
def test_every_error_becomes_a_problem_details_response(error: Exception, status: int) -> None:
    def fail(_: http.Request) -> http.Response:
        raise error

    response = http.endpoint(fail)({}, None)
    body = json.loads(response["body"])
    assert response["statusCode"] == body["status"] == status
    assert response["headers"]["content-type"] == "application/problem+json"
    assert set(body) == {"type", "title", "status", "detail"}
    assert ("retry-after" in response["headers"]) is (status == 503)


def test_an_unexpected_error_is_counted_and_logged_but_its_text_is_not_returned(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: http.Request) -> http.Response:
        raise RuntimeError("inner detail")

    response = http.endpoint(fail)({}, None)
    assert "inner detail" not in response["body"]
    assert "RuntimeError: inner detail" in caplog.text
    assert '"RequestFailed":[1.0]' in capsys.readouterr().out


def test_responses_forbid_caching_and_content_sniffing() -> None:
    for response in (http.respond(200, {}), http.problem(400, "bad-request", "Bad request", "x")):
        assert response["headers"]["cache-control"] == "no-store"
        assert response["headers"]["x-content-type-options"] == "nosniff"


def test_a_cacheable_response_varies_by_origin_with_and_without_its_body() -> None:
    fresh = http.cacheable(request(), {"a": 1}, max_age=60)
    known = request(headers={"If-None-Match": fresh["headers"]["etag"]})
    cached = http.cacheable(known, {"a": 1}, max_age=60)
    assert (fresh["statusCode"], cached["statusCode"]) == (200, 304)
    assert "body" not in cached
    for response in (fresh, cached):
        assert response["headers"]["vary"] == "origin"
        assert response["headers"]["cache-control"] == "public, max-age=60"
        assert response["headers"]["x-content-type-options"] == "nosniff"
