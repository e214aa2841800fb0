"""In-memory fakes of the adapters. They implement only what the protocols require."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from billing.batch import Message
from billing.errors import CustomerNotFound, PortcullisError
from billing.keys import CustomerKey, Key, SubjectKey
from billing.model import CustomerRow, DocumentRow, Link
from billing.replicas import CustomerReplica, replicas
from billing.reporter import Reporter
from billing.stripe_objects import Page, StripeObject
from billing.sync import Sync
from billing.sync_request import Cause, SyncRequest
from tests.simulation.dynamodb_model import StoreModel
from tests.unit.stripe_objects import NOW, POLICY


@dataclass
class Reports:
    """A reporter that records its reports."""

    all: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def __call__(self, name: str, /, **details: object) -> None:
        self.all.append((name, details))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.all]


class MemoryStore(StoreModel):
    """The simulation's table. It counts reads, and runs `before_commit` once before a commit."""

    def __init__(
        self,
        rows: Mapping[CustomerKey, CustomerRow] | None = None,
        links: Mapping[SubjectKey, CustomerKey] | None = None,
    ) -> None:
        super().__init__()
        self.rows = dict(rows or {})
        self.links = {
            key: Link(key=key, revision=1, customer=linked) for key, linked in (links or {}).items()
        }
        self.before_commit: Callable[[], None] | None = None
        self.reads = 0

    def load(self, key: CustomerKey, *, consistent: bool = True) -> CustomerRow:
        self.reads += 1
        return super().load(key)

    def load_link(self, key: SubjectKey, *, consistent: bool = True) -> Link:
        self.reads += 1
        return super().load_link(key)

    def commit(self, row: CustomerRow | DocumentRow | Link) -> None:
        self._run_hook()
        super().commit(row)

    def commit_and_link(
        self, row: CustomerRow, link: Link, *, released: CustomerRow | None = None
    ) -> None:
        self._run_hook()
        super().commit_and_link(row, link, released=released)

    @property
    def linked(self) -> dict[str, str | None]:
        """The id of the customer of each linked subject."""
        return {
            key.subject: link.customer.id if link.customer else None
            for key, link in self.links.items()
        }

    def _run_hook(self) -> None:
        hook, self.before_commit = self.before_commit, None
        if hook:
            hook()


@dataclass
class MemoryStripe:
    """stripe_state.StripeReads in memory. A page of a list has at most `page` objects."""

    customers: dict[str, StripeObject] = field(default_factory=dict)
    subscriptions_of: dict[str, list[StripeObject]] = field(default_factory=dict)
    entitlements_of: dict[str, list[StripeObject]] = field(default_factory=dict)
    features_of: dict[str, list[str]] = field(default_factory=dict)
    invoices_of: dict[str, list[StripeObject]] = field(default_factory=dict)
    ended: dict[str, StripeObject] = field(default_factory=dict)
    prices: dict[str, StripeObject] = field(default_factory=dict)
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

    def retrieve_customer(self, customer_id: str) -> tuple[StripeObject, int]:
        self.calls.append("retrieve_customer")
        if self.error:
            raise self.error
        found = self.customers.get(customer_id)
        if found is None:
            raise CustomerNotFound(customer_id)
        if found.get("deleted"):
            return found, self.now
        lists = {
            "subscriptions": self._list(self.subscriptions_of.get(customer_id, []), None),
            "tax_ids": self._list(list(found.get("_tax_ids", [])), None),
        }
        return {**found, **lists}, self.now

    def list_subscriptions(self, customer: str, after: str | None) -> Page:
        self.calls.append("list_subscriptions")
        return self._list(self.subscriptions_of[customer], after)

    def list_subscription_items(self, subscription: str, after: str | None) -> Page:
        self.calls.append("list_subscription_items")
        owner = next(
            each
            for subscriptions in self.subscriptions_of.values()
            for each in subscriptions
            if each["id"] == subscription
        )
        return self._list(owner["_all_items"], after)

    def list_tax_ids(self, customer: str, after: str | None) -> Page:
        self.calls.append("list_tax_ids")
        return self._list(list(self.customers[customer]["_tax_ids"]), after)

    def list_active_entitlements(self, customer: str, after: str | None) -> Page:
        self.calls.append("list_active_entitlements")
        return self._list(self.entitlements_of.get(customer, []), after)

    def list_product_features(self, product: str, after: str | None) -> Page:
        self.calls.append("list_product_features")
        features = [
            {"id": f"pf_{key}", "entitlement_feature": {"lookup_key": key}}
            for key in self.features_of.get(product, [])
        ]
        return self._list(features, after)

    def list_invoices(self, subscription: str, after: str | None) -> Page:
        self.calls.append("list_invoices")
        invoices = [
            {**invoice, "lines": self._list(invoice["_all_lines"], None)}
            for invoice in self.invoices_of.get(subscription, [])
        ]
        return self._list(invoices, after)

    def list_invoice_lines(self, invoice: str, after: str | None) -> Page:
        self.calls.append("list_invoice_lines")
        found = next(
            each
            for invoices in self.invoices_of.values()
            for each in invoices
            if each["id"] == invoice
        )
        return self._list(found["_all_lines"], after)

    def retrieve_ended_subscription(self, subscription: str) -> StripeObject | None:
        self.calls.append("retrieve_ended_subscription")
        return self.ended.get(subscription)

    def retrieve_price(self, price: str) -> StripeObject | None:
        self.calls.append("retrieve_price")
        return self.prices.get(price)


@dataclass
class MemoryQueue:
    """The queue's three methods. Each one raises `error` if it is set."""

    sent: list[SyncRequest] = field(default_factory=list)
    confirms: list[tuple[SyncRequest, int]] = field(default_factory=list)
    requests: list[tuple[SyncRequest, int]] = field(default_factory=list)
    hidden: dict[str, int] = field(default_factory=dict)
    dead_letters: list[tuple[str, str]] = field(default_factory=list)
    error: PortcullisError | None = None

    def _fail(self) -> None:
        if self.error:
            raise self.error

    def send(self, request: SyncRequest, delay: int = 0) -> None:
        self._fail()
        self.requests.append((request, delay))
        if request.is_confirm:
            self.confirms.append((request, delay))
        else:
            self.sent.append(request)

    def hide(self, message: Message, seconds: int) -> None:
        self._fail()
        self.hidden[message.id] = seconds

    def dead_letter(self, body: str, reason: str) -> None:
        self._fail()
        self.dead_letters.append((body, reason))


def request(
    event: str = "evt_1", *, up_to: int = NOW, customer: str = "cus_1", key: Key | None = None
) -> SyncRequest:
    """A sync request whose cause is an event."""
    return SyncRequest(
        key or CustomerKey("own", "test", customer),
        up_to,
        Cause(event, "customer.subscription.updated"),
    )


def sync_of(
    *,
    store: Any,
    stripe: Any,
    queue: Any,
    report: Reporter,
    pause: Callable[[int], None] = lambda attempt: None,
    for_sale: Sequence[str] = (),
    issuers: tuple[str, ...] = ("https://issuer/",),
    clock: Callable[[], float] | None = None,
) -> Sync:
    """The deployed sync, with fakes instead of adapters. By default its clock is MemoryStripe's."""
    customers = CustomerReplica(
        store=store,
        queue=queue,
        stripe=stripe,
        policy=POLICY,
        issuers=issuers,
        subject_metadata_key="user_id",
        report=report,
    )
    wired = replicas(customers=customers, documents=store, reads=stripe, for_sale=lambda: for_sale)
    return Sync(replicas=wired, queue=queue, clock=clock or (lambda: stripe.now), pause=pause)
