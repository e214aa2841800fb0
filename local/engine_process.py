"""The local AWS engine's own process: ministack, with the gaps closed that the template meets and
its waits removed.

Run by the engine's interpreter (.venv-engine), never imported by ours. It ends when its standard
input does, so it cannot outlive the process that started it.
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

# A worker writes this line to stderr when an invocation's handler has returned.
END_OF_INVOCATION = "\x1dportcullis-end-of-invocation"
# A deployed HTTP API: the only thing here that a web page may call. The stage is part of it, so
# that nothing else can be reached below the same prefix.
HTTP_API_PATHS = r"/_aws/execute-api/[a-z0-9]+/\$default(/.*)?"


def import_http_api(api_id: str, body: dict[str, Any]) -> None:
    """Make an HTTP API's authorizers, integrations, routes and CORS from its OpenAPI body, as API
    Gateway's import.

    SAM writes AWS::Serverless::HttpApi as one such body, which the engine's CloudFormation passes
    over. Raises ValueError for what this does not know, rather than leaving a route open or out.
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
        # SAM takes an AllowOrigins that is an intrinsic function for the whole configuration, and
        # API Gateway refuses what comes out. One function around the whole of it (!If) does work.
        raise ValueError(
            f"x-amazon-apigateway-cors must be an object, not {cors!r}: in template.yaml write "
            "CorsConfiguration: !If [HasAllowedOrigins, {AllowOrigins: ...}, !Ref AWS::NoValue]"
        )
    if cors:
        apigateway._apis[api_id]["corsConfiguration"] = cors


def _created(answer: tuple[int, Any, bytes], what: str) -> dict[str, Any]:
    status, _, body = answer
    if status != 201:
        raise ValueError(f"{what} was refused: {body!r}")
    return dict(json.loads(body))


def _import_authorizer(api_id: str, name: str, given: dict[str, Any]) -> str:
    if given.get("type") != "jwt":
        raise ValueError(
            f"authorizer {name}: only JWT authorizers are imported, not {given.get('type')}"
        )
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
            f"route {key}: only Lambda integrations are imported, not {integration['type']}"
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
    """Have CloudFormation import an HTTP API's body whenever it creates or updates one."""
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
        answer = update(physical_id, old, new, stack_name, logical_id)
        if new.get("Body"):
            import_http_api(answer[0], new["Body"])
        return answer

    handlers["create"], handlers["update"] = create_with_body, update_with_body


def end_log_wait_by_mark() -> None:
    """Collect an invocation's log up to a mark its worker writes.

    The engine otherwise waits 50 ms after each answer to see whether a line may still come: slow
    when nothing was logged, and lossy when the line came late.
    """
    call = "            result = handler_fn(event, context)\n"
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if script.count(call) != 1:
        raise RuntimeError("the engine's Python worker is not the one this was written for")
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(
        call,
        "            try:\n"
        "                result = handler_fn(event, context)\n"
        "            finally:\n"
        f"                sys.stderr.write({END_OF_INVOCATION!r} + '\\n')\n"
        "                sys.stderr.flush()\n",
    )

    def drain(worker: Any, longest: float = 0.25) -> str:
        lines: list[str] = []
        deadline = time.monotonic() + longest
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
    """Give every worker the same unpacked layer, and keep what is unpacked between runs.

    The engine would unpack thousands of files anew for each worker, which takes seconds. Each
    package of a layer is kept by its content; a layer is then a folder of links, and a changed line
    of our own costs our own package only.
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
            raise ValueError(f"the layer holds {entry.filename}, which is not below python/")
        if rest and not entry.is_dir():
            packages.setdefault(rest.partition("/")[0], []).append(entry)
    for name, entries in packages.items():
        identity = "\n".join(f"{entry.filename} {entry.file_size} {entry.CRC}" for entry in entries)
        kept = cache / hashlib.sha256(identity.encode()).hexdigest()[:20]
        if not kept.exists():
            # Beside its place and moved there whole: another engine may be doing the same.
            unpacking = cache / f"{kept.name}.{os.getpid()}"
            archive.extractall(unpacking, entries)
            try:
                unpacking.rename(kept)
            except OSError:
                shutil.rmtree(unpacking)
        (folder / name).symlink_to(kept / "python" / name)


def _pointer(folder: Path) -> bytes:
    """Answer a layer that is one line: a worker treats this path as site-packages, and Python runs
    such lines there.
    """
    pointer = io.BytesIO()
    with zipfile.ZipFile(pointer, "w") as archive:
        archive.writestr(
            "python/lib/python3/site-packages/layer.pth",
            f"import sys; sys.path.insert(0, {str(folder)!r})\n",
        )
    return pointer.getvalue()


def wait_for_warm_workers(most: int) -> None:
    """Let a burst wait for one of at most `most` workers a function, milliseconds, instead of each
    starting its own.

    The engine starts a process for every concurrent invocation; a dozen webhooks at once would be a
    dozen cold starts on a machine with few cores.
    """
    acquire, release = lambda_svc.acquire_worker, lambda_svc.release_worker
    freed = threading.Condition()

    def acquire_or_wait(*arguments: Any, **options: Any) -> Any:
        with freed:
            while True:
                worker, how = acquire(*arguments, **{**options, "max_concurrency": most})
                if worker is not None:
                    return worker, how
                freed.wait(1)

    def release_and_tell(worker: Any) -> None:
        release(worker)
        with freed:
            freed.notify_all()

    lambda_svc.acquire_worker, lambda_svc.release_worker = acquire_or_wait, release_and_tell


def end_with_standard_input() -> None:
    """Ask this process to stop as soon as whoever started it is gone."""

    def watch() -> None:
        while sys.stdin.buffer.read(1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="standard-input").start()


if __name__ == "__main__":
    # What the engine writes to relative paths belongs to this run, and goes with it.
    os.chdir(os.environ["HOME"])
    app.app = guarded(app.app, api=HTTP_API_PATHS)
    import_bodies_on_deploy()
    end_log_wait_by_mark()
    unpack_layers_once()
    # Two at least: races between two executions of the worker are what the tests are about.
    wait_for_warm_workers(max(2, os.cpu_count() or 2))
    end_with_standard_input()
    sys.argv = sys.argv[:1]
    app.main()
