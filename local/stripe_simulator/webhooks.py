"""Deliveries of events to webhook endpoints, signed and retried.

Rules disturb deliveries: `hold` (until they are released in a chosen order), `delay`, `duplicate`
and `lose`. Signatures contain the real time, because receivers compare it with theirs.
https://docs.stripe.com/webhooks
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import re
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from .tables import Json
from .versions import downgrade
from .world import World

DEFAULT_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
MAX_CONCURRENT = 8


@dataclass
class Rule:
    """Applies to the next `count` deliveries (None: all) of these types (empty: any type)."""

    action: str  # hold | delay | duplicate | lose
    types: list[str] = field(default_factory=list)
    count: int | None = None
    seconds: float = 0.0
    copies: int = 2


@dataclass
class Delivery:
    """One event on its way to one endpoint."""

    event: str
    type: str
    endpoint: str
    url: str
    state: str = "pending"  # pending | held | delivered | lost | failed
    attempts: list[Json] = field(default_factory=list)
    forged: bool = False


class Deliveries:
    """All deliveries of the simulator and their rules."""

    def __init__(self) -> None:
        self.backoff: list[float] = list(DEFAULT_BACKOFF_SECONDS)
        self.timeout = 10.0
        self.rules: list[Rule] = []
        self.addresses: list[tuple[re.Pattern[str], str]] = []
        self.log: list[Delivery] = []
        self._held: list[tuple[World, Delivery, Json]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    def publish(self, world: World, event: Json) -> None:
        """Deliver an event. Called once, after the change that caused it is committed."""
        endpoints = [
            endpoint
            for endpoint in reversed(world.tables.all("webhook_endpoint"))
            if endpoint["status"] == "enabled" and _subscribes_to(endpoint, event["type"])
        ]
        if not endpoints:
            return
        world.pending_webhooks(event["id"], len(endpoints))
        event = {**event, "pending_webhooks": len(endpoints)}
        for endpoint in endpoints:
            self._submit(world, endpoint, event)

    def resend(self, world: World, event: Json, endpoint_id: str | None = None) -> int:
        """Send an event again, regardless of the rules. Returns the number of deliveries."""
        sent = 0
        for endpoint in world.tables.all("webhook_endpoint"):
            if endpoint_id in (None, endpoint["id"]):
                self._start(world, _delivery(endpoint, event), event, 0.0)
                sent += 1
        return sent

    def forge(self, world: World, endpoint: Json, event: Json, secret: str) -> None:
        """Send an event once, signed with another secret than the endpoint's."""
        delivery = _delivery(endpoint, event)
        delivery.forged = True
        self.log.append(delivery)
        self._spawn(self._attempt_once(world, delivery, event, endpoint, [secret]))

    def held(self) -> int:
        return len(self._held)

    def release(self, order: str = "in_order", seed: int = 0, ids: list[str] | None = None) -> int:
        """Send held deliveries `in_order`, `reversed`, `shuffled`, or in the order of `ids`.

        They go one after the other, so that they arrive in this order. Returns their number.
        """
        held, self._held = self._held, []
        if ids is not None:
            chosen = [entry for id in ids for entry in held if entry[1].event == id]
            self._held = [entry for entry in held if entry[1].event not in ids]
            held = chosen
        elif order == "reversed":
            held.reverse()
        elif order == "shuffled":
            random.Random(seed).shuffle(held)
        for _, delivery, _ in held:
            delivery.state = "pending"
        self._spawn(self._one_by_one(held))
        return len(held)

    def pending(self) -> int:
        return sum(delivery.state == "pending" for delivery in self.log)

    async def wait_until_quiet(self, seconds: float) -> bool:
        """Wait for all deliveries except held ones. Returns False after `seconds`."""
        deadline = time.monotonic() + seconds
        while self._tasks:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            await asyncio.wait(self._tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return True

    def describe(self) -> list[Json]:
        return [asdict(delivery) for delivery in self.log]

    async def forget(self) -> None:
        """Stop every delivery and remove the log, the rules and the held deliveries."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.rules, self.log, self._held = [], [], []
        self.backoff = list(DEFAULT_BACKOFF_SECONDS)

    async def close(self) -> None:
        await self.forget()
        if self._client is not None:
            await self._client.aclose()

    def _submit(self, world: World, endpoint: Json, event: Json) -> None:
        rule = self._next_rule(event["type"])
        delivery = _delivery(endpoint, event)
        if rule is None:
            self._start(world, delivery, event, 0.0)
        elif rule.action == "lose":
            delivery.state = "lost"
            self.log.append(delivery)
        elif rule.action == "hold":
            delivery.state = "held"
            self.log.append(delivery)
            self._held.append((world, delivery, event))
        elif rule.action == "delay":
            self._start(world, delivery, event, rule.seconds)
        else:
            for _ in range(rule.copies):
                self._start(world, _delivery(endpoint, event), event, 0.0)

    def _next_rule(self, type: str) -> Rule | None:
        for rule in self.rules:
            if rule.types and type not in rule.types:
                continue
            if rule.count is not None:
                rule.count -= 1
                if rule.count <= 0:
                    self.rules.remove(rule)
            return rule
        return None

    def _start(self, world: World, delivery: Delivery, event: Json, after: float) -> None:
        self.log.append(delivery)
        self._spawn(self._deliver(world, delivery, event, after))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one_by_one(self, held: list[tuple[World, Delivery, Json]]) -> None:
        for world, delivery, event in held:
            await self._deliver(world, delivery, event, 0.0)

    async def _deliver(self, world: World, delivery: Delivery, event: Json, after: float) -> None:
        await asyncio.sleep(after)
        for wait in [*self.backoff, None]:
            endpoint = world.tables.peek("webhook_endpoint", delivery.endpoint)
            if endpoint is None or endpoint["status"] != "enabled":
                break
            if await self._attempt_once(world, delivery, event, endpoint, _secrets(endpoint)):
                current = world.tables.peek("event", event["id"])
                if current is not None and current["pending_webhooks"] > 0:
                    world.pending_webhooks(event["id"], current["pending_webhooks"] - 1)
                return
            if wait is not None:
                await asyncio.sleep(wait)
        delivery.state = "failed"

    def _address(self, url: str) -> str:
        """Return the address of `url` on this machine, as a hosts file does for a name."""
        for pattern, replacement in self.addresses:
            if pattern.match(url):
                return pattern.sub(replacement, url, count=1)
        return url

    async def _attempt_once(
        self, world: World, delivery: Delivery, event: Json, endpoint: Json, secrets: list[str]
    ) -> bool:
        body = payload(world, event, endpoint)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(body, secrets, int(time.time())),
        }
        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False)
        attempt: Json = {"at": time.time(), "status": None, "error": None}
        delivery.attempts.append(attempt)
        try:
            async with self._slots:
                response = await self._client.post(
                    self._address(endpoint["url"]),
                    content=body,
                    headers=headers,
                    timeout=self.timeout,
                )
            attempt["status"] = response.status_code
        except httpx.HTTPError as error:
            attempt["error"] = type(error).__name__
        accepted = attempt["status"] is not None and 200 <= attempt["status"] < 300
        if accepted:
            delivery.state = "delivered"
        elif delivery.forged:
            delivery.state = "failed"
        return accepted


def payload(world: World, event: Json, endpoint: Json) -> bytes:
    """Return the exact bytes for the endpoint, in the shape of its API version."""
    version = endpoint["api_version"] or world.api_version
    data = downgrade(world.tables, event["data"], version)
    shape = {**event, "api_version": version, "data": data}
    return json.dumps(shape, indent=2).encode()


def signature(body: bytes, secrets: list[str], timestamp: int) -> str:
    """Return the Stripe-Signature header, with one v1 for each active secret."""
    signed = str(timestamp).encode() + b"." + body
    parts = [
        "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets
    ]
    return ",".join([f"t={timestamp}", *parts])


def roll_secret(world: World, endpoint: Json, overlap: float) -> str:
    """Create and return a new signing secret. The old ones also sign for `overlap` seconds."""
    until = time.time() + overlap
    secret = "whsec_" + world.token(32)
    kept = [
        {**each, "expires_at": min(until, each["expires_at"] or until)}
        for each in endpoint["_secrets"]
    ]
    fresh = {"secret": secret, "expires_at": None}
    world.save({**endpoint, "_secrets": [fresh, *kept]})
    return secret


def _secrets(endpoint: Json) -> list[str]:
    now = time.time()
    return [
        each["secret"]
        for each in endpoint["_secrets"]
        if each["expires_at"] is None or each["expires_at"] > now
    ]


def _subscribes_to(endpoint: Json, type: str) -> bool:
    return "*" in endpoint["enabled_events"] or type in endpoint["enabled_events"]


def _delivery(endpoint: Json, event: Json) -> Delivery:
    return Delivery(event["id"], event["type"], endpoint["id"], endpoint["url"])
