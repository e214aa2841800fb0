"""Stripe, as far as Portcullis can see it.

A script of changes runs. Each change puts one customer into a new state and creates events. A read
returns the current state, or one that was replaced less than MAX_LAG_SECONDS ago. Lists have pages.
Timestamps have one-second resolution, so they do not order two changes within one second.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from stripe import WebhookSignature

from billing.access import AccessPolicy
from billing.errors import CustomerNotFound
from billing.facts import Facts
from billing.projection import project
from billing.stripe_objects import Page, StripeObject
from billing.stripe_state import fetch
from billing.sync import MARGIN_SECONDS

#: How stale a read may be, in seconds. The worker relies on this limit.
MAX_LAG_SECONDS = MARGIN_SECONDS

#: Small: a list of three has a second page.
PAGE_SIZE = 2

#: When a script begins, in epoch seconds by Stripe's clock.
EPOCH = 1_790_000_000

NOTHING_MORE: Mapping[str, Any] = {"data": [], "has_more": False}

METADATA_KEY = "user_id"

POLICY = AccessPolicy(
    past_due_grace=7 * 86400,
    delayed_payment=14 * 86400,
    renewal_slack=72 * 3600,
    pause_collection_keeps_access=True,
)


@dataclass(frozen=True, eq=False)
class State:
    """The whole state of one customer at one moment.

    Each subscription has the whole list of its items in `items`, and that of its invoices, newest
    first, in `_invoices`. `catalog` has the features of each product, `prices` the prices that
    Stripe still has. States are compared by identity, because each is a version of its own.
    """

    id: str
    subscriptions: tuple[StripeObject, ...] = ()
    entitlements: tuple[str, ...] = ()
    catalog: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prices: Mapping[str, StripeObject] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    tax_ids: tuple[StripeObject, ...] = ()
    deleted: bool = False

    @cached_property
    def customer(self) -> StripeObject:
        """The customer as GET /v1/customers/:id returns it, each list cut to its first page."""
        if self.deleted:
            return {"id": self.id, "object": "customer", "deleted": True}
        return {
            "id": self.id,
            "object": "customer",
            **self.profile,
            "subscriptions": self.page("list_subscriptions", self.id, None),
            "tax_ids": self.page("list_tax_ids", self.id, None),
        }

    def page(self, method: str, name: str, after: str | None) -> Mapping[str, Any]:
        """One page of the list `method` of the object `name`; always the same object for a page."""
        key = (method, name, after)
        page = self._pages.get(key)
        if page is None:
            objects = self._list(method, name)
            start = 0 if after is None else [o["id"] for o in objects].index(after) + 1
            page = self._pages[key] = {
                "data": objects[start : start + PAGE_SIZE],
                "has_more": start + PAGE_SIZE < len(objects),
            }
        return page

    @cached_property
    def _pages(self) -> dict[tuple[str, str, str | None], Mapping[str, Any]]:
        return {}

    def _list(self, method: str, name: str) -> Sequence[StripeObject]:
        match method:
            case "list_subscriptions":
                return [
                    {
                        **_visible(subscription),
                        "items": self.page("list_subscription_items", subscription["id"], None),
                    }
                    for subscription in self.subscriptions
                ]
            case "list_subscription_items":
                return [i for s in self.subscriptions if s["id"] == name for i in s["items"]]
            case "list_invoices":
                return [
                    {**invoice, "lines": self.page("list_invoice_lines", invoice["id"], None)}
                    for invoice in self._invoices_of(name)
                ]
            case "list_invoice_lines":
                subscriptions = [s["id"] for s in self.subscriptions]
                invoices = [i for s in subscriptions for i in self._invoices_of(s)]
                return [line for i in invoices if i["id"] == name for line in i["lines"]]
            case "list_tax_ids":
                return self.tax_ids
            case "list_active_entitlements":
                return [{"id": f"ent_{key}", "lookup_key": key} for key in self.entitlements]
            case "list_product_features":
                return [
                    {"id": f"pf_{key}", "entitlement_feature": {"lookup_key": key}}
                    for key in self.catalog.get(name, ())
                ]
            case _:
                raise LookupError(method)

    def _invoices_of(self, subscription: str) -> Sequence[StripeObject]:
        return [i for s in self.subscriptions if s["id"] == subscription for i in s["_invoices"]]

    @cached_property
    def facts(self) -> Facts:
        """The facts of the whole state: what the row must hold when the queue is quiet."""
        state = fetch(_Whole(self), self.id, Facts(), lambda: None)
        return project(state, METADATA_KEY).facts

    @property
    def claim(self) -> str | None:
        """The subject that its metadata names."""
        claim: str | None = (self.profile.get("metadata") or {}).get(METADATA_KEY)
        return claim


class _Whole:
    """stripe_state.StripeReads of one state that never changes. Each list has one page."""

    def __init__(self, state: State) -> None:
        self._state = state

    def retrieve_customer(self, customer_id: str) -> tuple[StripeObject, int]:
        state = self._state
        if state.deleted:
            return state.customer, 0
        lists = {
            "subscriptions": self._whole("list_subscriptions", customer_id),
            "tax_ids": self._whole("list_tax_ids", customer_id),
        }
        return {**state.customer, **lists}, 0

    def list_subscriptions(self, customer_id: str, after: str | None) -> Page:
        return self._whole("list_subscriptions", customer_id, after)

    def list_subscription_items(self, subscription: str, after: str | None) -> Page:
        return self._whole("list_subscription_items", subscription, after)

    def list_tax_ids(self, customer_id: str, after: str | None) -> Page:
        return self._whole("list_tax_ids", customer_id, after)

    def list_active_entitlements(self, customer_id: str, after: str | None) -> Page:
        return self._whole("list_active_entitlements", customer_id, after)

    def list_invoices(self, subscription: str, after: str | None) -> Page:
        return self._whole("list_invoices", subscription, after)

    def list_invoice_lines(self, invoice: str, after: str | None) -> Page:
        return self._whole("list_invoice_lines", invoice, after)

    def list_product_features(self, product: str, after: str | None) -> Page:
        return self._whole("list_product_features", product, after)

    def retrieve_ended_subscription(self, subscription: str) -> StripeObject | None:
        raise NotImplementedError("the state has no former one")

    def retrieve_price(self, price: str) -> StripeObject | None:
        return self._state.prices.get(price)

    def _whole(self, method: str, name: str, after: str | None = None) -> Page:
        objects = self._state._list(method, name)
        start = 0 if after is None else [o["id"] for o in objects].index(after) + 1
        return {"data": objects[start:], "has_more": False}


def _visible(subscription: StripeObject) -> StripeObject:
    return {name: value for name, value in subscription.items() if not name.startswith("_")}


@dataclass(frozen=True, eq=False)
class Change:
    """`wait` seconds after the previous change, a customer enters `state`; `events` report it."""

    wait: float
    state: State
    events: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class StripeEvent:
    """An event of `customer`. `change` is the index of the change that it reports."""

    id: str
    type: str
    change: int
    customer: str

    def body(self, created: int) -> bytes:
        """The body of its webhook."""
        kind = (
            "customer"
            if self.type in ("customer.created", "customer.updated", "customer.deleted")
            else "subscription"
        )
        named = {"id": self.customer} if kind == "customer" else {"customer": self.customer}
        payload = {
            "id": self.id,
            "object": "event",
            "type": self.type,
            "created": created,
            "livemode": False,
            "data": {"object": {"object": kind, **named}},
        }
        return json.dumps(payload).encode()


class Seen(NamedTuple):
    """What a read saw: the version that it returned, and the current version at that time."""

    version: int
    truth: int


class Script:
    """A fixed sequence of changes, and the events that they create."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self.changes = tuple(changes)
        self.events: dict[str, StripeEvent] = {}
        self.versions: dict[str, list[int]] = {}
        self.owners: dict[str, str] = {}
        self.ended: dict[str, StripeObject] = {}
        for index, change in enumerate(self.changes):
            customer = change.state.id
            self.versions.setdefault(customer, []).append(index)
            for subscription in change.state.subscriptions:
                self.owners[subscription["id"]] = customer
                self.owners |= {i["id"]: customer for i in subscription["_invoices"]}
                if subscription.get("_forgotten"):
                    continue
                self.ended[subscription["id"]] = {
                    "id": subscription["id"],
                    "status": "canceled",
                    "ended_at": EPOCH,
                    "cancellation_details": {"reason": "cancellation_requested"},
                }
            for name, event_type in zip(self.events_of(index), change.events, strict=True):
                self.events[name] = StripeEvent(name, event_type, index, customer)

    def events_of(self, change: int) -> list[str]:
        return [f"evt_{change}_{number}" for number in range(len(self.changes[change].events))]


class StripeModel:
    """Stripe at one moment. `happened` has the time of each change so far."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.happened: tuple[float, ...] = ()

    def snapshot(self) -> tuple[float, ...]:
        return self.happened

    def restore(self, happened: tuple[float, ...]) -> None:
        self.happened = happened

    def next_due(self, start: float) -> float | None:
        """When the next change is due; None after the last."""
        count = len(self.happened)
        if count == len(self.script.changes):
            return None
        return (self.happened[-1] if count else start) + self.script.changes[count].wait

    def versions(self, customer: str) -> list[int]:
        """Indices of the changes of `customer` so far. The last one is the current version."""
        count = len(self.happened)
        return [index for index in self.script.versions.get(customer, ()) if index < count]

    def state(self, customer: str) -> State | None:
        """The current state."""
        versions = self.versions(customer)
        return self.script.changes[versions[-1]].state if versions else None

    def lags(self, op_args: tuple[Any, ...], now: float) -> int:
        """How many versions behind a read may be at `now`."""
        versions = self.versions(self._owner(op_args[0]))
        return sum(1 for index in versions if self.happened[index] > now - MAX_LAG_SECONDS)

    def read(
        self, method: str, name: str, after: str | None, now: float, lag: int
    ) -> tuple[Any, Seen]:
        """The response to a read, `lag` versions behind; CustomerNotFound before the first one."""
        versions = self.versions(self._owner(name))
        if method == "list_product_features":
            # A product belongs to no customer. The latest change has the current catalog.
            state = self.script.changes[len(self.happened) - 1].state
            return state.page(method, name, after), Seen(0, 0)
        if method == "retrieve_price":
            return self.script.changes[len(self.happened) - 1].state.prices.get(name), Seen(0, 0)
        if method == "retrieve_ended_subscription":
            return self.script.ended.get(name), Seen(0, 0)
        if lag >= len(versions):
            raise CustomerNotFound(name)
        seen = Seen(versions[-1 - lag], versions[-1])
        state = self.script.changes[seen.version].state
        if method == "retrieve_customer":
            return (state.customer, int(now)), seen
        if after is None or any(o["id"] == after for o in state._list(method, name)):
            return state.page(method, name, after), seen
        # The object at the cursor is gone, so the list ends here.
        return NOTHING_MORE, seen

    def body(self, event: StripeEvent) -> bytes:
        return _body(event, int(self.happened[event.change]))

    def _owner(self, name: str) -> str:
        return self.script.owners.get(name, name)


@lru_cache(maxsize=1 << 14)
def _body(event: StripeEvent, created: int) -> bytes:
    return event.body(created)


@lru_cache(maxsize=1 << 14)
def signed(body: bytes, secrets: tuple[str, ...], timestamp: int) -> str:
    """The Stripe-Signature header, with one signature for each active secret."""
    headers = [
        WebhookSignature.generate_signature_header(body.decode(), secret, timestamp)
        for secret in secrets
    ]
    return ",".join([headers[0], *(header.split(",", 1)[1] for header in headers[1:])])
