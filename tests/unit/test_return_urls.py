"""return_url: exactly the allowed origins, whatever is tried."""

from __future__ import annotations

import pytest

from billing.errors import BadRequest
from billing.return_urls import MAX_URL_CHARACTERS, checked_return_url

ALLOWED = ("https://app.example.com", "http://localhost:5173", "https://other.example:8443")


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
    assert checked_return_url(url, ALLOWED, stage="prod") == url


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
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(BadRequest, match="return_url"):
        checked_return_url(url, ALLOWED, stage="dev")


def test_http_is_for_a_listed_localhost_in_stage_dev_only() -> None:
    assert checked_return_url("http://localhost:5173/x", ALLOWED, stage="dev")
    with pytest.raises(BadRequest):
        checked_return_url("http://localhost:5173/x", ALLOWED, stage="prod")
    with pytest.raises(BadRequest):
        checked_return_url("http://localhost:9999/x", ALLOWED, stage="dev")
