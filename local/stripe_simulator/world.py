"""One mode (test or live) of the account: its objects, events and ids, changed atomically.

Keys of stored objects that begin with `_` belong to the simulator and never leave it. References
are ids; `rendering` turns stored objects into Stripe's shapes.
"""

from __future__ import annotations

import copy
import random
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from . import rendering
from .clock import Clock
from .fields import completed
from .tables import Json, Tables

_ALPHABET = string.ascii_letters + string.digits

PREFIXES = {
    "customer": "cus",
    "subscription": "sub",
    "subscription_item": "si",
    "product": "prod",
    "product_feature": "prodft",
    "price": "price",
    "entitlements.feature": "feat",
    "entitlements.active_entitlement": "ent",
    "payment_method": "pm",
    "card": "card",
    "bank_account": "ba",
    "source": "src",
    "invoice": "in",
    "invoice_payment": "inpay",
    "line_item": "il",
    "event": "evt",
    "billing_portal.session": "bps",
    "billing_portal.configuration": "bpc",
    "webhook_endpoint": "we",
    "checkout.session": "cs",
    "item": "li",
    "tax_id": "txi",
    "discount": "di",
    "promotion_code": "promo",
    "test_helpers.test_clock": "clock",
}


@dataclass
class Settings:
    """What Stripe's dashboard or a card network decides. Tests can change it at any time."""

    payment_retries_days: list[float] = field(default_factory=lambda: [3.0, 5.0, 7.0])
    after_retries: str = "canceled"  # or "unpaid" or "past_due"
    invoice_finalization_delay: int = 0  # seconds; about an hour at Stripe
    entitlements_during_past_due: bool = True
    portal_unused_seconds: float = 300.0
    portal_idle_seconds: float = 3600.0
    trial_will_end_days: int = 3


@dataclass(frozen=True)
class Caller:
    """The request that causes the current change. Its events name the request."""

    request_id: str | None = None
    idempotency_key: str | None = None
    api_version: str = ""
    base_url: str = ""


class World:
    """One mode of the account. It changes only inside `with world.changing():`."""

    def __init__(
        self,
        *,
        livemode: bool,
        clock: Clock,
        ids: random.Random,
        api_version: str,
        settings: Settings,
        settle: Callable[[World], None],
        publish: Callable[[World, Json], None],
    ) -> None:
        self.livemode = livemode
        self.clock = clock
        self.api_version = api_version
        self.settings = settings
        self.tables = Tables()
        self.caller = Caller()
        self.payments: dict[str, str] = {}
        self.account_id = "acct_" + "".join(ids.choices(_ALPHABET, k=16))
        # Customers and products whose entitlements this change may affect.
        self.touched_customers: set[str] = set()
        self.touched_products: set[str] = set()
        # Customers that neither time nor a change moves: a test has set their state.
        self.frozen: set[str] = set()
        # The billing step that is due first, and the number of the change it was computed after.
        self.next_step: tuple[int, Any] | None = None
        self._ids = ids
        self._settle = settle
        self._publish = publish
        self._outbox: list[Json] = []
        self._depth = 0

    def now(self) -> int:
        return self.clock.now()

    def id(self, kind: str, length: int = 24) -> str:
        prefix = PREFIXES[kind]
        if kind == "checkout.session":
            prefix = "cs_live" if self.livemode else "cs_test"
        if kind in ("customer", "product", "subscription_item", "line_item"):
            length = 14
        return f"{prefix}_{self.token(length)}"

    def token(self, length: int) -> str:
        return "".join(self._ids.choices(_ALPHABET, k=length))

    def as_of(self, *, changes_ago: int = 0, seconds_ago: float = 0.0) -> World:
        """Return this world as it was, for reading only."""
        past = copy.copy(self)
        past.tables = self.tables.as_of(changes_ago=changes_ago, seconds_ago=seconds_ago)
        return past

    @contextmanager
    def changing(self, caller: Caller | None = None) -> Iterator[None]:
        """Make one atomic change. Its end updates the entitlements and publishes the events."""
        if self._depth:
            yield
            return
        self.caller = caller or Caller()
        self.tables.begin()
        self._depth += 1
        failed = True
        try:
            yield
            self._settle(self)
            failed = False
        except Exception as error:
            # A declined charge is an error that is recorded: only such an error keeps the change.
            if getattr(error, "commits", False):
                self._settle(self)
                failed = False
            raise
        finally:
            self._depth -= 1
            outbox, self._outbox = self._outbox, []
            self.touched_customers.clear()
            self.touched_products.clear()
            if failed:
                self.tables.undo()
            else:
                self.tables.commit()
                for event in outbox:
                    self._publish(self, event)

    def save(self, value: Json, event: str | None = None) -> Json:
        """Store an object. Emits an `…updated` event only if Stripe's shape of it changes."""
        kind, id = value["object"], value["id"]
        before = self.tables.peek(kind, id)
        shape_before = (
            rendering.render(self.tables, before) if event and before is not None else None
        )
        value = completed(copy.deepcopy(value))
        self.tables.put(kind, id, value)
        self._touch(kind, value)
        if event is not None:
            shape = rendering.render(self.tables, value)
            previous = None
            if event.endswith("updated") and shape_before is not None:
                previous = difference(shape_before, shape)
                if not previous:
                    return value
            self.emit(event, shape, previous)
        return value

    def remove(self, kind: str, id: str, event: str | None = None) -> Json:
        """Remove an object. Returns the stub that a deletion returns."""
        before = self.tables.peek(kind, id)
        assert before is not None
        shape = rendering.render(self.tables, before)
        self.tables.put(kind, id, None)
        self._touch(kind, before)
        if event is not None:
            self.emit(event, shape)
        return {"id": id, "object": kind, "deleted": True}

    def emit(self, type: str, shape: Json, previous: Json | None = None) -> None:
        data: Json = {"object": shape}
        if previous is not None:
            data["previous_attributes"] = previous
        event: Json = {
            "id": self.id("event"),
            "object": "event",
            "api_version": self.api_version,
            "created": self.clock.event_time(),
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 0,
            "request": {
                "id": self.caller.request_id,
                "idempotency_key": self.caller.idempotency_key,
            },
            "type": type,
        }
        self.tables.put("event", event["id"], event)
        self._outbox.append(event)

    def pending_webhooks(self, event_id: str, count: int) -> None:
        event = self.tables.peek("event", event_id)
        if event is not None:
            self.tables.put("event", event_id, {**event, "pending_webhooks": count})

    def _touch(self, kind: str, value: Json) -> None:
        if kind == "subscription":
            self.touched_customers.add(value["customer"])
        elif kind == "product_feature":
            self.touched_products.add(value["_product"])


def difference(before: Json, after: Json) -> Json:
    """Return the old values of what changed, as Stripe reports them: hashes by key, whole lists."""
    changed: Json = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            changed[key] = difference(old, new)
        else:
            changed[key] = old
    return changed
