"""The process of the local AWS engine: ministack, patched to support template.yaml and to be fast.

The engine's interpreter (.venv-engine) runs it; ours never imports it. It ends when its standard
input ends, so it cannot outlive the process that started it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import lambda_runtime
from ministack.services import apigateway, lambda_svc
from ministack.services.cloudformation import provisioners

from local.guard import guarded

# A worker writes this line to stderr when the handler of an invocation has returned.
END_OF_INVOCATION = "\x1dportcullis-end-of-invocation"
# A deployed HTTP API: the only paths that a web page may call. The pattern includes the stage,
# because ministack treats a shorter path below the same prefix as a call of any AWS API.
HTTP_API_PATHS = r"/_aws/execute-api/[a-z0-9]+/\$default(/.*)?"


def import_http_api(api_id: str, body: dict[str, Any]) -> None:
    """Create an HTTP API's authorizers, integrations, routes and CORS from its OpenAPI body.

    SAM turns AWS::Serverless::HttpApi into such a body, which the engine's CloudFormation ignores.
    Raises ValueError for anything unknown, so that no route is missing or left open.
    """
    for store in (apigateway._routes, apigateway._integrations, apigateway._authorizers):
        store[api_id] = {}
    authorizers = {
        name: _import_authorizer(api_id, name, scheme["x-amazon-apigateway-authorizer"])
        for name, scheme in body.get("components", {}).get("securitySchemes", {}).items()
    }
    for path, operations in body.get("paths", {}).items():
        for method, operation in operations.items():
            verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
            _import_route(
                api_id,
                "$default" if path == "/$default" else f"{verb} {path}",
                operation["x-amazon-apigateway-integration"],
                operation.get("security", body.get("security", [])),
                authorizers,
            )
    cors = body.get("x-amazon-apigateway-cors")
    if cors is not None and not isinstance(cors, dict):
        # SAM mistakes an intrinsic function in AllowOrigins for the whole configuration, and API
        # Gateway refuses the result. One function around the whole configuration (!If) works.
        raise ValueError(
            f"x-amazon-apigateway-cors must be an object, not {cors!r}: in template.yaml write "
            "CorsConfiguration: !If [HasAllowedOrigins, {AllowOrigins: ...}, !Ref AWS::NoValue]"
        )
    if cors:
        apigateway._apis[api_id]["corsConfiguration"] = cors


def _created(response: tuple[int, Any, bytes], what: str) -> dict[str, Any]:
    status, _, body = response
    if status != 201:
        raise ValueError(f"ministack refused {what}: {body!r}")
    return dict(json.loads(body))


def _import_authorizer(api_id: str, name: str, given: dict[str, Any]) -> str:
    if given.get("type") != "jwt":
        raise ValueError(f"authorizer {name}: its type must be jwt, not {given.get('type')}")
    jwt = given["jwtConfiguration"]
    audience = jwt.get("audience", [])
    source = given["identitySource"]
    made = apigateway._create_authorizer(
        api_id,
        {
            "name": name,
            "authorizerType": "JWT",
            "identitySource": source if isinstance(source, list) else [source],
            "jwtConfiguration": {
                "issuer": jwt["issuer"],
                "audience": audience if isinstance(audience, list) else audience.split(","),
            },
        },
    )
    return str(_created(made, f"authorizer {name}")["authorizerId"])


def _import_route(
    api_id: str,
    key: str,
    integration: dict[str, Any],
    security: list[dict[str, list[str]]],
    authorizers: dict[str, str],
) -> None:
    if integration["type"].lower() != "aws_proxy":
        raise ValueError(
            f"route {key}: its integration must be aws_proxy, not {integration['type']}"
        )
    made = apigateway._create_integration(
        api_id,
        {
            "integrationType": "AWS_PROXY",
            "integrationUri": integration["uri"],
            "integrationMethod": integration["httpMethod"],
            "payloadFormatVersion": integration["payloadFormatVersion"],
        },
    )
    route: dict[str, Any] = {
        "routeKey": key,
        "target": f"integrations/{_created(made, f'integration of {key}')['integrationId']}",
    }
    for requirement in security:
        for name, scopes in requirement.items():
            if name != "NONE":
                route["authorizationType"] = "JWT"
                route["authorizerId"] = authorizers[name]
                route["authorizationScopes"] = scopes
    _created(apigateway._create_route(api_id, route), f"route {key}")


def import_bodies_on_deploy() -> None:
    """Make CloudFormation import the body of each HTTP API that it creates or updates."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"]
    create, update = handlers["create"], handlers["update"]

    def create_with_body(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        physical_id, attributes = create(logical_id, props, stack_name)
        if props.get("Body"):
            import_http_api(physical_id, props["Body"])
        return physical_id, attributes

    def update_with_body(
        physical_id: str,
        old: dict[str, Any],
        new: dict[str, Any],
        stack_name: str,
        logical_id: Any = None,
    ) -> Any:
        updated = update(physical_id, old, new, stack_name, logical_id)
        if new.get("Body"):
            import_http_api(updated[0], new["Body"])
        return updated

    handlers["create"], handlers["update"] = create_with_body, update_with_body


def end_log_wait_by_mark() -> None:
    """Read the log of an invocation up to a mark that its worker writes.

    Without a mark the engine waits 50 ms after each response for more lines. That is slow when
    there are none, and loses a line that comes later.
    """
    call = "            result = handler_fn(event, context)\n"
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if script.count(call) != 1:
        raise RuntimeError("ministack's Python worker has changed: update this patch")
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(
        call,
        "            try:\n"
        "                result = handler_fn(event, context)\n"
        "            finally:\n"
        f"                sys.stderr.write({END_OF_INVOCATION!r} + '\\n')\n"
        "                sys.stderr.flush()\n",
    )

    def drain(worker: Any, max_seconds: float = 0.25) -> str:
        lines: list[str] = []
        deadline = time.monotonic() + max_seconds
        while True:
            try:
                line = worker._stderr_queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return "\n".join(lines)
            before, mark, _ = line.partition(END_OF_INVOCATION)
            if before:
                lines.append(before)
            if mark:
                return "\n".join(lines)

    lambda_runtime.Worker._drain_stderr_bounded = drain


def unpack_layers_once() -> None:
    """Unpack each package of a layer once, for all workers and all runs.

    The engine unpacks thousands of files for each worker, which takes seconds. Here a layer is a
    folder of links to unpacked packages, which are cached by content. After a change of our code
    only our own package is unpacked again.
    """
    resolve = lambda_svc._resolve_layer_zip
    cache = Path(os.environ["LAYER_CACHE"])
    pointers: dict[str, bytes] = {}
    lock = threading.Lock()

    def resolve_to_pointer(reference: Any) -> bytes | None:
        content = resolve(reference)
        if not content:
            return None
        key = hashlib.sha256(content).hexdigest()
        with lock:
            if key not in pointers:
                folder = Path(os.environ["HOME"]) / "layers" / key
                folder.mkdir(parents=True)
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    _link_packages(archive, cache, folder)
                pointers[key] = _pointer(folder)
        return pointers[key]

    lambda_svc._resolve_layer_zip = resolve_to_pointer


def _link_packages(archive: zipfile.ZipFile, cache: Path, folder: Path) -> None:
    packages: dict[str, list[zipfile.ZipInfo]] = {}
    for entry in archive.infolist():
        top, _, rest = entry.filename.partition("/")
        if top != "python":
            raise ValueError(f"the layer contains {entry.filename}, which is not below python/")
        if rest and not entry.is_dir():
            packages.setdefault(rest.partition("/")[0], []).append(entry)
    for name, entries in packages.items():
        identity = "\n".join(f"{entry.filename} {entry.file_size} {entry.CRC}" for entry in entries)
        kept = cache / hashlib.sha256(identity.encode()).hexdigest()[:20]
        if not kept.exists():
            # Unpack elsewhere and rename: another engine may unpack the same package now.
            unpacking = cache / f"{kept.name}.{os.getpid()}"
            archive.extractall(unpacking, entries)
            try:
                unpacking.rename(kept)
            except OSError:
                shutil.rmtree(unpacking)
        (folder / name).symlink_to(kept / "python" / name)


def _pointer(folder: Path) -> bytes:
    """Return a layer whose only file, a .pth, adds `folder` to the worker's import path."""
    pointer = io.BytesIO()
    with zipfile.ZipFile(pointer, "w") as archive:
        archive.writestr(
            "python/lib/python3/site-packages/layer.pth",
            f"import sys; sys.path.insert(0, {str(folder)!r})\n",
        )
    return pointer.getvalue()


def limit_workers(max_workers: int) -> None:
    """Run at most `max_workers` workers for each function; further invocations wait for one.

    The engine starts a process for each concurrent invocation. A dozen webhooks at once would cause
    a dozen cold starts, while a warm worker is free within milliseconds.
    """
    acquire, release = lambda_svc.acquire_worker, lambda_svc.release_worker
    freed = threading.Condition()

    def acquire_or_wait(*arguments: Any, **options: Any) -> Any:
        with freed:
            while True:
                worker, start = acquire(*arguments, **{**options, "max_concurrency": max_workers})
                if worker is not None:
                    return worker, start
                freed.wait(1)

    def release_and_notify(worker: Any) -> None:
        release(worker)
        with freed:
            freed.notify_all()

    lambda_svc.acquire_worker, lambda_svc.release_worker = acquire_or_wait, release_and_notify


def end_with_standard_input() -> None:
    """Stop this process when its standard input ends: the process that started it is then gone."""

    def watch() -> None:
        while sys.stdin.buffer.read(1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="standard-input").start()


if __name__ == "__main__":
    # ministack writes some files to relative paths. `Engine.stop` removes this folder.
    os.chdir(os.environ["HOME"])
    app.app = guarded(app.app, api=HTTP_API_PATHS)
    import_bodies_on_deploy()
    end_log_wait_by_mark()
    unpack_layers_once()
    # At least two: the tests need races between two executions of a function.
    limit_workers(max(2, os.cpu_count() or 2))
    end_with_standard_input()
    sys.argv = sys.argv[:1]
    app.main()
