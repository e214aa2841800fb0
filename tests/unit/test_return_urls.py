"""Return URLs: only the allowed origins are accepted."""

from __future__ import annotations

import pytest

from billing.errors import BadRequest
from billing.return_urls import MAX_URL_CHARACTERS, ReturnUrls

ALLOWED = ("https://app.example.com", "http://localhost:5173", "https://other.example:8443")

DEFAULT = "https://app.example.com/account"


def urls(stage: str) -> ReturnUrls:
    return ReturnUrls(allowed_origins=ALLOWED, default=DEFAULT, stage=stage)


def checked(url: str, *, stage: str) -> str:
    return urls(stage).checked(url, "return_url")


def test_a_request_that_names_no_url_gets_the_default() -> None:
    assert urls("prod").chosen({}, "return_url") == DEFAULT
    named = "https://other.example:8443/x"
    assert urls("prod").chosen({"cancel_url": named}, "cancel_url") == named
    with pytest.raises(BadRequest, match="cancel_url"):
        urls("prod").chosen({"cancel_url": "https://evil.example/"}, "cancel_url")


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com",
        "https://app.example.com/account?tab=billing#plans",
        "https://APP.example.com/",
        "https://app.example.com:443/x",
        "https://other.example:8443/",
    ],
)
def test_urls_of_an_allowed_origin_pass_unchanged(url: str) -> None:
    assert checked(url, stage="prod") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/account",
        "//app.example.com/",
        "https://evil.example/",
        "https://app.example.com.evil.example/",
        "https://evil.example/https://app.example.com",
        "https://app.example.com@evil.example/",
        "https://user:pw@app.example.com/",
        "https://@app.example.com/",
        "https://app.example.com./",
        "https://app.example.com:8443/",
        "https://app.example.com:99999/",
        "https://app.example.com:0/",
        "http://localhost:0/",
        "https://app.example.com:abc/",
        "https://app.example.com\\@evil.example/",
        "https:\\\\app.example.com/",
        "https://app.example.com/\n",
        "https://app.example.com/\t",
        " https://app.example.com/",
        "https://app.example.com/\x00",
        "https://аpp.example.com/",
        "https://app.example.com%2eevil.example/",
        "http://app.example.com/",
        "javascript://app.example.com/%0aalert(1)",
        "ftp://app.example.com/",
        "https:app.example.com",
        "https:///app.example.com",
        "https://[::1/",
        "https://app.example.com/" + "a" * MAX_URL_CHARACTERS,
    ],
)
def test_every_other_url_is_refused(url: str) -> None:
    with pytest.raises(BadRequest, match="return_url"):
        checked(url, stage="dev")


NOT_PRINTABLE = (
    "return_url must be a URL of printable ASCII characters without spaces or backslashes, "
    "at most 5000 long."
)
ELSEWHERE = "return_url is not on an allowed origin; the deployment's AllowedOrigins lists them."


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://app.example.com/" + "a" * 4977, NOT_PRINTABLE),
        ("https://app.example.com/\\", NOT_PRINTABLE),
        ("https://app.example.com/\x7f", NOT_PRINTABLE),
        ("https://app.example.com/é", NOT_PRINTABLE),
        ("https://[::1/", "return_url is not a URL."),
        ("https://app.example.com:99999/", "return_url is not a URL."),
        ("https://a@app.example.com/", "return_url must not contain a user name or password."),
        ("ftp://app.example.com/", "return_url must be an https URL."),
        ("https://evil.example/", ELSEWHERE),
    ],
)
def test_a_refusal_says_what_is_wrong_with_the_url(url: str, sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        checked(url, stage="prod")
    assert refused.value.detail == sentence


def test_a_url_may_be_as_long_as_stripe_allows() -> None:
    longest = "https://app.example.com/" + "X" * 4976
    assert len(longest) == MAX_URL_CHARACTERS == 5000
    assert checked(longest, stage="prod") == longest


def test_a_url_without_a_host_is_on_no_origin() -> None:
    rule = ReturnUrls(allowed_origins=("https://xxxx",), default=DEFAULT, stage="prod")
    with pytest.raises(BadRequest, match="not on an allowed origin"):
        rule.checked("https:///account", "return_url")


def test_http_is_allowed_only_for_a_listed_localhost_in_stage_dev() -> None:
    assert checked("http://localhost:5173/x", stage="dev")
    with pytest.raises(BadRequest):
        checked("http://localhost:5173/x", stage="prod")
    with pytest.raises(BadRequest):
        checked("http://localhost:9999/x", stage="dev")


@pytest.mark.parametrize(
    ("listed", "url"),
    [
        ("http://127.0.0.1:5173", "http://127.0.0.1:5173/x"),
        ("http://[::1]:5173", "http://[::1]:5173/x"),
        ("http://localhost", "http://localhost:80/x"),
        ("http://localhost:80", "http://localhost/x"),
    ],
)
def test_each_name_of_this_machine_and_the_default_port_of_http_are_known(
    listed: str, url: str
) -> None:
    here = ReturnUrls(allowed_origins=(listed,), default=DEFAULT, stage="dev")
    assert here.checked(url, "return_url") == url
