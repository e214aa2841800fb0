"""The contract of the deployed API: its responses are compared with docs/openapi.json."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any

import httpx
import jsonschema

from local.engine import ROOT

OPENAPI: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text())

#: The body of a response by API Gateway itself.
GATEWAY_ONLY = {"message"}


def check(response: httpx.Response, *, api_url: str) -> None:
    """Raise AssertionError if a response of the API at `api_url` breaks the contract."""
    url = str(response.request.url)
    method = response.request.method
    if not url.startswith(f"{api_url}/") or method == "OPTIONS":
        return
    response.read()
    path = url.removeprefix(api_url).partition("?")[0]
    operation = operation_of(method, path)
    if operation is None:
        assert response.status_code == HTTPStatus.NOT_FOUND, f"{method} {path} is not a route"
        return
    exchange = f"{method} {path} → {response.status_code} {response.text}"
    declared = operation["responses"].get(str(response.status_code))
    assert declared is not None, f"undeclared status: {exchange}"
    content = declared.get("content")
    if content is None:
        assert not response.content, f"a body where none is declared: {exchange}"
        return
    ((kind, media),) = content.items()
    assert response.headers["content-type"] == kind, f"not {kind}: {exchange}"
    schema = {**media["schema"], "components": OPENAPI["components"]}
    try:
        jsonschema.Draft202012Validator(schema).validate(response.json())
    except jsonschema.ValidationError as error:
        raise AssertionError(f"{error.message}: {exchange}") from None
    if set(response.json()) != GATEWAY_ONLY:
        assert response.headers["x-content-type-options"] == "nosniff", exchange


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """Return the operation to which API Gateway routes this request, if any."""
    for template, operations in OPENAPI["paths"].items():
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method.lower() in operations:
            found: dict[str, Any] = operations[method.lower()]
            return found
    return None


def problem(response: httpx.Response, status: int) -> str:
    """Return the detail of an error response, which must have this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    return str(body["detail"])
