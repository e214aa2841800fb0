"""Every response of the deployed API is compared with docs/openapi.json."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any

import httpx
import jsonschema

from local.engine import ROOT

OPENAPI: dict[str, Any] = json.loads((ROOT / "docs" / "openapi.json").read_text())

#: What API Gateway answers by itself, before any route.
GATEWAY_ONLY = {"message"}


def check(response: httpx.Response, *, api_url: str) -> None:
    """Raise AssertionError where a response of the API at `api_url` breaks the contract."""
    url = str(response.request.url)
    method = response.request.method
    if not url.startswith(f"{api_url}/") or method == "OPTIONS":
        return
    response.read()
    path = url.removeprefix(api_url).partition("?")[0]
    operation = operation_of(method, path)
    if operation is None:
        assert response.status_code == HTTPStatus.NOT_FOUND, f"{method} {path} is no route"
        return
    said = f"{method} {path} → {response.status_code} {response.text}"
    declared = operation["responses"].get(str(response.status_code))
    assert declared is not None, f"undeclared status: {said}"
    content = declared.get("content")
    if content is None:
        assert not response.content, f"a body where none is declared: {said}"
        return
    ((kind, media),) = content.items()
    assert response.headers["content-type"] == kind, f"not {kind}: {said}"
    schema = {**media["schema"], "components": OPENAPI["components"]}
    try:
        jsonschema.Draft202012Validator(schema).validate(response.json())
    except jsonschema.ValidationError as error:
        raise AssertionError(f"{error.message}: {said}") from None
    if set(response.json()) != GATEWAY_ONLY:
        assert response.headers["x-content-type-options"] == "nosniff", said


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation that API Gateway would route this request to."""
    for template, operations in OPENAPI["paths"].items():
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method.lower() in operations:
            found: dict[str, Any] = operations[method.lower()]
            return found
    return None
