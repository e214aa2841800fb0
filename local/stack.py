"""The whole service on this machine: template.yaml in the AWS engine, the Stripe simulator, the
identity issuer and the demo page.

Everything listens on a free port of 127.0.0.1 and stops with the stack.
"""

from __future__ import annotations

import contextlib
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import requests
import stripe

from billing.adapters.secrets import parse
from billing.settings import STRIPE_API_VERSION
from local import deploy
from local.catalog import (
    DEMO_USERS,
    FEATURES,
    PLANS,
    Catalog,
    create_catalog,
    create_demo_users,
)
from local.engine import REGION, ROOT, Engine
from local.identity import AUDIENCE
from local.layer import CONFIGURATION_FILE, dependencies
from local.site import Site
from local.stripe_simulator.control import Control

API_KEY = "sk_test_portcullis_local"
#: The key of the deployed functions. The simulator can restrict it, and counts what it uses.
FUNCTIONS_API_KEY = "rk_test_portcullis_local"
API_KEY_SECRET = "portcullis/local/stripe-api-key"
WEBHOOK_SECRET = "portcullis/local/stripe-webhook-secret"
START_SECONDS = 30.0

#: FilterLogEvents returns at most this many events.
MAX_LOG_EVENTS = 10_000

stripe.enable_telemetry = False


class StackError(Exception):
    """A part of the stack did not start; the message names it and the reason."""


class LocalStack:
    """The running stack; use it as a context manager.

    `parameters` override those of the template. `say` receives a line of text for each part that
    is ready. With `deployed_by_sam` the caller deploys with the SAM CLI and then calls `adopt`.
    """

    def __init__(
        self,
        *,
        parameters: dict[str, str] | None = None,
        say: Callable[[str], None] = lambda _: None,
        template: Path = deploy.TEMPLATE,
        configuration_file: Path = CONFIGURATION_FILE,
        deployed_by_sam: bool = False,
        enforce_iam: bool = False,
        demo_users: bool = True,
        site_port: int = 0,
    ) -> None:
        self._parameters = parameters or {}
        self._say = say
        self._template = template
        self._configuration_file = configuration_file
        self._deployed_by_sam = deployed_by_sam
        self._demo_users = demo_users
        self._closing = contextlib.ExitStack()
        self._clients: dict[str, Any] = {}
        self._deployment: deploy.Deployment | None = None
        self._catalog: Catalog | None = None
        self.engine = Engine(enforce_iam=enforce_iam)
        self.site = Site(self._describe, port=site_port)
        self.simulator_url = ""
        self.webhook_secret = ""

    # ------------------------------------------------------------------ what tests use

    @property
    def deployment(self) -> deploy.Deployment:
        """The addresses of the deployed stack."""
        if self._deployment is None:
            raise StackError("The template is not deployed yet.")
        return self._deployment

    @property
    def catalog(self) -> Catalog:
        """The products and prices of the Stripe account."""
        if self._catalog is None:
            raise StackError("The template is not deployed yet.")
        return self._catalog

    @property
    def api_url(self) -> str:
        """The base address of the HTTP API, without a trailing slash."""
        return self.deployment.api_url

    def token(self, subject: str, **claims: Any) -> str:
        """Return an access token. Issuer.token describes the claims that can be changed."""
        return self.site.issuer.token(subject, **claims)

    def client(self, service: str) -> Any:
        """Return the stack's boto3 client for this service. It closes with the stack."""
        if service not in self._clients:
            self._clients[service] = deploy.client(service, self.engine.endpoint)
            self._closing.callback(self._clients[service].close)
        return self._clients[service]

    def queue_depth(self, url: str) -> int:
        """Return the number of visible and in-flight messages, without the delayed ones."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(value) for value in found["Attributes"].values())

    def wait_until_quiet(self, timeout: float = 20.0) -> None:
        """Wait until Stripe has delivered every webhook and the worker has processed it.

        Raises TimeoutError.
        """
        deadline = time.monotonic() + timeout
        if not self.control.wait_until_quiet(timeout=timeout):
            raise TimeoutError(f"Stripe still has webhooks to deliver after {timeout} s")
        while self.queue_depth(self.deployment.event_queue_url):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the event queue still has messages after {timeout} s")
            time.sleep(0.02)

    def logs(self, function: str) -> list[str]:
        """Return the log lines of a function (its logical id in the template) so far."""
        logs = self.client("logs")
        name = f"/aws/lambda/{self.deployment.functions[function]}"
        lines: list[str] = []
        start = 0
        while True:
            # The engine returns no token for the next page, so the next request starts at the last
            # millisecond of a full page: that page may not have all events of the millisecond.
            events = logs.filter_log_events(logGroupName=name, startTime=start)["events"]
            last = events[-1]["timestamp"] if events else 0
            full = len(events) >= MAX_LOG_EVENTS and last > start
            lines += [
                each["message"] for each in events if not (full and each["timestamp"] == last)
            ]
            if not full:
                return lines
            start = last

    # ------------------------------------------------------------------ start and stop

    def start(self) -> None:
        """Start every part and deploy.

        Raises EngineError, LayerError, DeployError or StackError after stopping every part.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every part, in reverse order. Safe to call twice."""
        self._closing.close()

    def adopt(self, stack_name: str) -> None:
        """Use the stack that the SAM CLI deployed under this name."""
        self._finish(deploy.describe(self.engine.endpoint, stack_name))

    def redeploy(
        self, *, configuration_file: Path | None = None, parameters: dict[str, str] | None = None
    ) -> None:
        """Update the stack. The new file and the changed `parameters` apply to later updates too.

        Raises DeployError; the stack is then as before.
        """
        changed = self.parameters() | (parameters or {})
        made = deploy.deploy(
            self.engine.endpoint,
            changed,
            template=self._template,
            configuration_file=configuration_file or self._configuration_file,
            stack_name=self.deployment.stack_name,
            update=True,
        )
        self._parameters |= parameters or {}
        self._configuration_file = configuration_file or self._configuration_file
        self._deployment = made

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the template for this machine."""
        return {
            "Stage": "dev",
            "StripeMode": "test",
            "StripeApiBase": self.simulator_url,
            "StripeApiKeySecret": API_KEY_SECRET,
            "StripeWebhookSecret": WEBHOOK_SECRET,
            "JwtIssuer": self.site.url,
            "JwtAudience": AUDIENCE,
            "AllowedOrigins": self.site.url,
            "DefaultReturnUrl": f"{self.site.url}/",
            **self._parameters,
        }

    def _start(self) -> None:
        self._closing.callback(self.site.stop)
        self.site.start()
        with ThreadPoolExecutor(3) as at_once:
            self._closing.callback(self.engine.stop)
            layer = at_once.submit(dependencies)
            engine = at_once.submit(self.engine.start)
            simulator = at_once.submit(self._start_simulator)
            engine.result()
            self._say(f"AWS engine         {self.engine.endpoint}")
            simulator.result()
            self._say(f"Stripe simulator   {self.simulator_url}")
            layer.result()
        self.control = self._closing.enter_context(Control(self.simulator_url))
        self.http = self._closing.enter_context(httpx.Client(trust_env=False, timeout=30.0))
        session = self._closing.enter_context(requests.Session())
        self.stripe = stripe.StripeClient(
            API_KEY,
            stripe_version=STRIPE_API_VERSION,
            base_addresses={"api": self.simulator_url},
            http_client=stripe.RequestsClient(session=session),
        )
        # The template's webhook URL has a host of AWS; the engine serves it under a path.
        self.control.deliver_at(
            rf"https://(\w+)\.execute-api\.{REGION}\.amazonaws\.com",
            rf"{self.engine.endpoint}/_aws/execute-api/\1/$default",
        )
        self._put_secret(API_KEY_SECRET, FUNCTIONS_API_KEY)
        # Before the deploy, which refuses a portcullis.toml whose prices do not exist.
        self._catalog = create_catalog(self.stripe, return_url=f"{self.site.url}/")
        if not self._deployed_by_sam:
            started = time.monotonic()
            made = deploy.deploy(
                self.engine.endpoint,
                self.parameters(),
                template=self._template,
                configuration_file=self._configuration_file,
            )
            self._say(f"template.yaml      deployed in {time.monotonic() - started:.1f} s")
            self._finish(made)

    def _finish(self, made: deploy.Deployment) -> None:
        """Prepare the stack for use after a deploy."""
        self._deployment = made
        self.webhook_secret = signing_secrets(self.client("secretsmanager"))[0]
        self._say(f"webhook endpoint   {made.outputs['WebhookEndpoint']}, created by the deploy")
        # This unsigned webhook is refused, but it starts the first worker and unpacks the layer.
        # On a new checkout that takes seconds, which the first real request would have to wait.
        self.http.post(made.webhook_url, content=b"{}")
        if self._demo_users:
            create_demo_users(self.stripe, self.catalog)
        # Stripe also sent webhooks about what the deploy created.
        self.wait_until_quiet()
        if self._demo_users:
            self._say("Stripe account     3 plans and 3 customers; every webhook is processed")

    def _put_secret(self, name: str, value: str) -> None:
        secrets = self.client("secretsmanager")
        try:
            secrets.create_secret(Name=name, SecretString=value)
        except secrets.exceptions.ResourceExistsException:
            secrets.put_secret_value(SecretId=name, SecretString=value)

    def _start_simulator(self) -> None:
        command = [sys.executable, "-m", "local.stripe_simulator", "--port", "0"]
        process = subprocess.Popen(
            [
                *command,
                *("--api-key", API_KEY, "--api-key", FUNCTIONS_API_KEY),
                "--until-stdin-ends",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
            text=True,
        )
        self._closing.callback(_stop, process)
        if process.stdout is None:
            raise StackError("The Stripe simulator has no output.")
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if ready else ""
        if "http://" not in line:
            raise StackError("The Stripe simulator did not start. Its error is printed above.")
        self.simulator_url = line.split()[-1]

    def _describe(self) -> dict[str, Any]:
        """Return what the demo page needs: addresses, users, plans and features."""
        return {
            "api_url": self.api_url,
            "users": [asdict(user) for user in DEMO_USERS],
            "plans": {
                self.catalog.products[plan.lookup_key]: {
                    "name": plan.name,
                    "amount": plan.amount,
                    "features": plan.features,
                }
                for plan in PLANS
            },
            "features": FEATURES,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def signing_secrets(secretsmanager: Any) -> tuple[str, ...]:
    """Return the stored signing secrets of the webhook endpoint, newest first."""
    return parse(secretsmanager.get_secret_value(SecretId=WEBHOOK_SECRET)["SecretString"])


@contextlib.contextmanager
def until_asked_to_stop() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, so that it stops a stack as Ctrl-C does."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
