"""Write what follows from billing/contract.py and template.yaml: `make contract`.

docs/openapi.json, the example requests in events/, the README's tables of routes, parameters and
Stripe permissions. The permissions are those of docs/stripe_permissions.json, which the smoke test
writes.
The tests fail when one of them is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from billing.contract import COMPONENTS, ROUTES, SHARED_PROBLEMS, Route, responses_of

ROOT = Path(__file__).resolve().parents[1]

Json = dict[str, Any]


def openapi() -> Json:
    """The OpenAPI 3.1 description of the API."""
    paths: dict[str, Json] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis",
            "version": "0.1.0",
            "summary": "What a signed-in user may use, kept equal to Stripe",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "{ApiUrl}", "variables": {"ApiUrl": {"default": "https://example"}}}],
        "paths": paths,
        "components": {
            "schemas": dict(COMPONENTS),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _operation(route: Route) -> Json:
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "security": [] if route.is_public else [{"token": []}],
        "responses": {
            str(status): _response(route, status, schema)
            for status, schema in sorted(responses_of(route).items())
        },
    }
    if route.path_parameters:
        operation["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "string"},
                "example": example,
            }
            for name, example in route.path_parameters.items()
        ]
    if route.request is not None:
        operation["requestBody"] = {
            "required": bool(route.request.get("required")),
            "content": {"application/json": {"schema": route.request, "example": route.body}},
        }
    return operation


def _response(route: Route, status: int, schema: Any) -> Json:
    problem = {**route.problems, **SHARED_PROBLEMS}.get(status)
    response: Json = {"description": problem or HTTPStatus(status).phrase}
    if schema is not None:
        kind = "application/json" if problem is None else "application/problem+json"
        response["content"] = {kind: {"schema": _with_references(schema)}}
    return response


def _with_references(schema: Any) -> Any:
    """`schema` with a `$ref` in place of each component."""
    for name, component in COMPONENTS.items():
        if schema is component:
            return {"$ref": f"#/components/schemas/{name}"}
    if isinstance(schema, dict):
        return {key: _with_references(value) for key, value in schema.items()}
    return schema


def envelope(route: Route) -> Json:
    """An event of API Gateway (payload 2.0) for the route, as `sam local invoke -e` takes it."""
    path = route.path.format(**route.path_parameters)
    host = "abc123.execute-api.us-east-1.amazonaws.com"
    event: Json = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "application/json",
            "content-type": "application/json",
            "host": host,
            **route.headers,
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "domainName": host,
            "domainPrefix": "abc123",
            "http": {
                "method": route.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "example",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": route.key,
            "stage": "$default",
            "time": "22/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1795348800000,
        },
        "isBase64Encoded": False,
    }
    if not route.is_public:
        claims = {
            "aud": "https://api.example.com",
            "exp": "1795352400",
            "iat": "1795348800",
            "iss": "https://login.example.com/",
            "sub": "user_ada",
        }
        event["requestContext"]["authorizer"] = {"jwt": {"claims": claims, "scopes": None}}
    if route.path_parameters:
        event["pathParameters"] = dict(route.path_parameters)
    if route.body is not None:
        event["body"] = json.dumps(route.body)
    return event


def routes() -> str:
    """The README's table of routes."""
    rows = ["| request | what it does |", "|---|---|"]
    for route in ROUTES:
        statuses = ", ".join(str(status) for status in route.success)
        public = "" if not route.is_public else ", public"
        rows.append(f"| `{route.key}` | {route.summary} ({statuses}{public}) |")
    return "\n".join(rows) + "\n"


def parameters() -> str:
    """The README's table of the template's parameters."""
    rows = ["| parameter | default | |", "|---|---|---|"]
    for name, parameter in template()["Parameters"].items():
        default = f"`{parameter['Default']}`" if parameter.get("Default", "") != "" else ""
        if "Default" not in parameter:
            default = "required"
        rows.append(f"| `{name}` | {default} | {parameter['Description']} |")
    return "\n".join(rows) + "\n"


#: What Stripe's dashboard calls the resource of a permission.
STRIPE_RESOURCES = {
    "billing_clock": "Test clocks",
    "checkout_session": "Checkout Sessions",
    "customer": "Customers",
    "customer_portal": "Customer portal",
    "entitlement": "Entitlements",
    "invoice": "Invoices",
    "payment_method": "Payment Methods",
    "plan": "Prices",
    "product": "Products",
    "source": "Sources",
    "subscription": "Subscriptions",
    "webhook": "Webhook Endpoints",
}


def stripe_permissions() -> dict[str, list[str]]:
    """Stripe's permissions that the service needs, by when it does: for a deploy, or to run."""
    read: Json = json.loads((ROOT / "docs" / "stripe_permissions.json").read_text())
    return {when: read[when] for when in ("run", "deploy")}


def permissions() -> str:
    """The README's table of a restricted key's permissions, and a link that fills them in."""
    needed = stripe_permissions()
    names = sorted({name for each in needed.values() for name in each})
    rows = ["| Stripe permission | in the dashboard | needed |", "|---|---|---|"]
    for name in names:
        resource, _, access = name.removeprefix("rak_").rpartition("_")
        when = " and ".join(
            text
            for text, held in (("to run", needed["run"]), ("to deploy", needed["deploy"]))
            if name in held
        )
        rows.append(f"| `{name}` | {STRIPE_RESOURCES[resource]}: {access} | {when} |")
    query = urlencode([("name", "Portcullis"), *(("permissions[]", name) for name in names)])
    link = f"https://dashboard.stripe.com/apikeys/create?{query}"
    return "\n".join([*rows, "", f"[Create a key with these permissions]({link})."]) + "\n"


class _Loader(yaml.SafeLoader):
    """CloudFormation's short forms as plain values: `!GetAtt A.B` reads "A.B"."""


def _plain(loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _plain)


def template() -> Json:
    """template.yaml, with plain values in place of CloudFormation's functions."""
    read: Json = yaml.load((ROOT / "template.yaml").read_text(), Loader=_Loader)  # noqa: S506
    return read


def files() -> Iterator[tuple[Path, str]]:
    """Every file that follows from the contract, with what it must contain."""
    yield ROOT / "docs" / "openapi.json", json.dumps(openapi(), indent=2) + "\n"
    for route in ROUTES:
        yield ROOT / "events" / f"{route.name}.json", json.dumps(envelope(route), indent=2) + "\n"
    readme = ROOT / "README.md"
    text = readme.read_text()
    for name, table in (
        ("routes", routes()),
        ("permissions", permissions()),
        ("parameters", parameters()),
    ):
        begins, ends = f"<!-- {name}: make contract -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begins)
        text = f"{before}{begins}{table}{ends}{rest.partition(ends)[2]}"
    yield readme, text


if __name__ == "__main__":
    for path, content in files():
        path.write_text(content)
