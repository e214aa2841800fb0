"""A model of the part of Stripe that Portcullis can observe.

A script lists changes. Each change puts one customer into a new state and creates events. A read
returns the current state, or a stale one that was replaced less than LAG seconds ago. Lists have
pages. Timestamps have one-second resolution, so two changes within one second have the same time.
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
from billing.model import Billing
from billing.projection import StripeState, project
from billing.stripe_objects import StripeObject
from billing.sync import MARGIN_SECONDS

#: A read returns no state that was replaced more seconds ago. The worker relies on this.
LAG = MARGIN_SECONDS

#: Small, so that a list of three has a second page.
PAGE_SIZE = 2

#: Stripe's time when a script begins, epoch seconds.
EPOCH = 1_790_000_000

NOTHING_MORE: Mapping[str, Any] = {"data": [], "has_more": False}

METADATA_KEY = "user_id"

POLICY = AccessPolicy(
    past_due_grace=7 * 86400, renewal_slack=72 * 3600, pause_collection_keeps_access=True
)


@dataclass(frozen=True, eq=False)
class State:
    """Everything that Stripe knows about one customer at one moment.

    Each of `subscriptions` has all its items in `items`. `catalog` has the features of each
    product. States compare by identity, because each of them is a version.
    """

    id: str
    subscriptions: tuple[StripeObject, ...] = ()
    entitlements: tuple[str, ...] = ()
    catalog: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    tax_ids: tuple[StripeObject, ...] = ()
    deleted: bool = False

    @cached_property
    def customer(self) -> StripeObject:
        """The response to GET /v1/customers/:id: its lists have only their first page."""
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
        """Return a page of the list `method` of the object `name`: the same object each time."""
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
                        **subscription,
                        "items": self.page("list_subscription_items", subscription["id"], None),
                    }
                    for subscription in self.subscriptions
                ]
            case "list_subscription_items":
                return [i for s in self.subscriptions if s["id"] == name for i in s["items"]]
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

    @cached_property
    def billing(self) -> Billing:
        """What the row must hold when the queue is quiet: the projection of the whole state."""
        return project(
            StripeState(
                as_of=0,
                customer=self.customer,
                subscriptions=[{**s, "items": {"data": s["items"]}} for s in self.subscriptions],
                tax_ids=self.tax_ids,
                active_entitlements=self._list("list_active_entitlements", self.id),
                product_features={
                    product: self.catalog.get(product, ()) for product in self.catalog
                },
            ),
            POLICY,
            METADATA_KEY,
        )

    @property
    def claim(self) -> str | None:
        """The subject that its metadata names."""
        claim: str | None = (self.profile.get("metadata") or {}).get(METADATA_KEY)
        return claim


@dataclass(frozen=True, eq=False)
class Change:
    """`wait` seconds after the previous change, a customer enters `state`; `events` report it."""

    wait: float
    state: State
    events: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class StripeEvent:
    """An event about `customer`. `change` is the index of the change that it reports."""

    id: str
    type: str
    change: int
    customer: str

    def body(self, created: int) -> bytes:
        """Its bytes as Stripe delivers them."""
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
    """What a read saw: the version that it returned, and the current one at that time."""

    version: int
    truth: int


class Script:
    """A fixed sequence of changes, with their events."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self.changes = tuple(changes)
        self.events: dict[str, StripeEvent] = {}
        self.versions: dict[str, list[int]] = {}
        self.owners: dict[str, str] = {}
        for index, change in enumerate(self.changes):
            customer = change.state.id
            self.versions.setdefault(customer, []).append(index)
            for subscription in change.state.subscriptions:
                self.owners[subscription["id"]] = customer
            for name, event_type in zip(self.events_of(index), change.events, strict=True):
                self.events[name] = StripeEvent(name, event_type, index, customer)

    def events_of(self, change: int) -> list[str]:
        return [f"evt_{change}_{number}" for number in range(len(self.changes[change].events))]


class StripeModel:
    """Stripe at a moment. `happened`: the times of the changes that have happened so far."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.happened: tuple[float, ...] = ()

    def snapshot(self) -> tuple[float, ...]:
        return self.happened

    def restore(self, happened: tuple[float, ...]) -> None:
        self.happened = happened

    def next_due(self, start: float) -> float | None:
        """Return the time at which the next change is due; None after the last one."""
        count = len(self.happened)
        if count == len(self.script.changes):
            return None
        return (self.happened[-1] if count else start) + self.script.changes[count].wait

    def versions(self, customer: str) -> list[int]:
        """Return the indices of the changes of `customer` so far. The last one is current."""
        count = len(self.happened)
        return [index for index in self.script.versions.get(customer, ()) if index < count]

    def state(self, customer: str) -> State | None:
        """Return the current state; None before the first change."""
        versions = self.versions(customer)
        return self.script.changes[versions[-1]].state if versions else None

    def lags(self, op_args: tuple[Any, ...], now: float) -> int:
        """Return the number of versions by which a read at `now` may be stale."""
        versions = self.versions(self._owner(op_args[0]))
        return sum(1 for index in versions if self.happened[index] > now - LAG)

    def read(
        self, method: str, name: str, after: str | None, now: float, lag: int
    ) -> tuple[Any, Seen]:
        """Return the response, `lag` versions stale. Raises CustomerNotFound before the first."""
        versions = self.versions(self._owner(name))
        if method == "list_product_features":
            # A product belongs to no customer: the latest change has the current catalog.
            state = self.script.changes[len(self.happened) - 1].state
            return state.page(method, name, after), Seen(0, 0)
        if lag >= len(versions):
            raise CustomerNotFound(name)
        seen = Seen(versions[-1 - lag], versions[-1])
        state = self.script.changes[seen.version].state
        if method == "retrieve_customer":
            return (state.customer, int(now)), seen
        if after is None or any(o["id"] == after for o in state._list(method, name)):
            return state.page(method, name, after), seen
        # The object at the cursor is not in the list any more: the list ends.
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
    """The Stripe-Signature header: one signature for each secret that is active."""
    headers = [
        WebhookSignature.generate_signature_header(body.decode(), secret, timestamp)
        for secret in secrets
    ]
    return ",".join([headers[0], *(header.split(",", 1)[1] for header in headers[1:])])
