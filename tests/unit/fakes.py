"""In-memory stands-in for the adapters, as small as their protocols allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from billing.batch import Message
from billing.errors import Conflict, CustomerNotFound, PortcullisError, SubjectTaken
from billing.keys import CustomerKey, SubjectKey
from billing.model import CustomerRow
from billing.stripe_objects import Page, StripeObject
from billing.sync_request import SyncRequest
from tests.unit.stripe_objects import NOW


@dataclass
class Reports:
    """Remembers what was reported."""

    all: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def __call__(self, name: str, /, **details: object) -> None:
        self.all.append((name, details))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.all]


@dataclass
class MemoryStore:
    """link.Store over two dicts. `before_commit` runs once before the next commit."""

    rows: dict[CustomerKey, CustomerRow] = field(default_factory=dict)
    links: dict[SubjectKey, CustomerKey] = field(default_factory=dict)
    before_commit: Callable[[], None] | None = None
    reads: int = 0

    def load(self, key: CustomerKey, *, consistent: bool = True) -> CustomerRow:
        self.reads += 1
        return self.rows.get(key, CustomerRow(key=key))

    def linked_customer(
        self, subject: SubjectKey, *, consistent: bool = True
    ) -> CustomerKey | None:
        self.reads += 1
        return self.links.get(subject)

    def commit(self, row: CustomerRow) -> None:
        hook, self.before_commit = self.before_commit, None
        if hook:
            hook()
        stored = self.rows.get(row.key)
        if (stored.revision if stored else 0) != row.revision - 1:
            raise Conflict
        self.rows[row.key] = row

    def commit_and_link(
        self, row: CustomerRow, subject: SubjectKey, *, replacing: CustomerKey | None
    ) -> None:
        hook, self.before_commit = self.before_commit, None
        if hook:
            hook()
        if self.links.get(subject) not in (None, row.key, replacing):
            raise SubjectTaken
        self.commit(row)
        self.links[subject] = row.key


@dataclass
class MemoryStripe:
    """stripe_state.StripeReads over one dict of whole customers; lists come in pages of `page`."""

    customers: dict[str, StripeObject] = field(default_factory=dict)
    subscriptions_of: dict[str, list[StripeObject]] = field(default_factory=dict)
    entitlements_of: dict[str, list[StripeObject]] = field(default_factory=dict)
    features_of: dict[str, list[str]] = field(default_factory=dict)
    now: int = NOW
    page: int = 10
    error: PortcullisError | None = None
    calls: list[str] = field(default_factory=list)

    def _list(self, objects: list[Any], after: str | None) -> Page:
        start = 0
        if after is not None:
            start = next(n for n, each in enumerate(objects) if each["id"] == after) + 1
        return {
            "data": objects[start : start + self.page],
            "has_more": start + self.page < len(objects),
        }

    def customer(self, customer: str) -> tuple[StripeObject, int]:
        self.calls.append("customer")
        if self.error:
            raise self.error
        found = self.customers.get(customer)
        if found is None:
            raise CustomerNotFound(customer)
        if found.get("deleted"):
            return found, self.now
        lists = {
            "subscriptions": self._list(self.subscriptions_of.get(customer, []), None),
            "tax_ids": self._list(list(found.get("_tax_ids", [])), None),
        }
        return {**found, **lists}, self.now

    def subscriptions(self, customer: str, after: str | None) -> Page:
        self.calls.append("subscriptions")
        return self._list(self.subscriptions_of[customer], after)

    def subscription_items(self, subscription: str, after: str | None) -> Page:
        self.calls.append("subscription_items")
        owner = next(
            each
            for all_of_one in self.subscriptions_of.values()
            for each in all_of_one
            if each["id"] == subscription
        )
        return self._list(owner["_all_items"], after)

    def tax_ids(self, customer: str, after: str | None) -> Page:
        self.calls.append("tax_ids")
        return self._list(list(self.customers[customer]["_tax_ids"]), after)

    def active_entitlements(self, customer: str, after: str | None) -> Page:
        self.calls.append("active_entitlements")
        return self._list(self.entitlements_of.get(customer, []), after)

    def product_features(self, product: str, after: str | None) -> Page:
        self.calls.append("product_features")
        features = [
            {"id": f"pf_{key}", "entitlement_feature": {"lookup_key": key}}
            for key in self.features_of.get(product, [])
        ]
        return self._list(features, after)


@dataclass
class MemoryQueue:
    """The queue's four verbs; `error` makes each fail."""

    sent: list[SyncRequest] = field(default_factory=list)
    confirms: list[tuple[SyncRequest, int]] = field(default_factory=list)
    hidden: dict[str, int] = field(default_factory=dict)
    dead: list[tuple[str, str]] = field(default_factory=list)
    error: PortcullisError | None = None

    def _fail(self) -> None:
        if self.error:
            raise self.error

    def send(self, hint: SyncRequest) -> None:
        self._fail()
        self.sent.append(hint)

    def send_confirm(self, hint: SyncRequest, delay: int) -> None:
        self._fail()
        self.confirms.append((hint, delay))

    def hide(self, message: Message, seconds: int) -> None:
        self._fail()
        self.hidden[message.id] = seconds

    def dead_letter(self, body: str, reason: str) -> None:
        self._fail()
        self.dead.append((body, reason))


def hint(
    event: str = "evt_1", *, created: int = NOW, customer: str | None = "cus_1", **fields: Any
) -> SyncRequest:
    values: Mapping[str, Any] = {
        "id": event,
        "type": "customer.subscription.updated",
        "created": created,
        "livemode": False,
        "account": None,
        "customer": customer,
        "object": "sub_1",
        **fields,
    }
    return SyncRequest(**values)
