"""What can happen at Stripe: a sequence of changes of customers and documents, and their events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from billing.keys import CATALOG, CONFIGURATION, OWN_ACCOUNT, CustomerKey, DocumentKey, Key
from billing.stripe_objects import StripeObject
from tests.simulation.actors import PRICES
from tests.simulation.stripe_model import State


@dataclass(frozen=True, eq=False)
class Document:
    """A portal configuration, or the prices that are for sale, at one moment: what Stripe returns,
    and the content of the row that is made from it."""

    id: str
    response: Any
    content: Mapping[str, Any]
    deleted = False
    claim = None
    subscriptions: tuple[StripeObject, ...] = ()

    @property
    def key(self) -> DocumentKey:
        """The key of its row."""
        key = key_of(self.id)
        assert isinstance(key, DocumentKey)
        return key


@dataclass(frozen=True, eq=False)
class Change:
    """`wait` seconds after the change before it, a customer or a document enters `state`; `events`
    are the types of the events that tell of it."""

    wait: float
    state: State | Document
    events: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class StripeEvent:
    """An event about a customer or document. `change` is the index of the change that it reports.
    `object` is the type of the object that it names it by."""

    id: str
    type: str
    change: int
    about: str

    @property
    def key(self) -> Key:
        return key_of(self.about)

    def body(self, created: int) -> bytes:
        """The body of its webhook."""
        kind, _, _ = self.type.rpartition(".")
        if kind in ("customer", "billing_portal.configuration", "price"):
            named = {"object": kind, "id": self.about}
        else:
            named = {"object": kind.rpartition(".")[2], "customer": self.about}
        payload = {
            "id": self.id,
            "object": "event",
            "type": self.type,
            "created": created,
            "livemode": False,
            "data": {"object": named},
        }
        return json.dumps(payload).encode()


class Script:
    """A fixed sequence of changes."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self.changes = tuple(changes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The customers and documents that it changes."""
        return tuple({change.state.id: None for change in self.changes})

    @cached_property
    def claims(self) -> tuple[str, ...]:
        """The subjects that its customers claim at some time."""
        return tuple({c.state.claim: None for c in self.changes if c.state.claim is not None})


def key_of(name: str) -> Key:
    """The key of the row of a customer or document."""
    if name == PRICES:
        return DocumentKey(CATALOG, "test")
    if name.startswith("bpc_"):
        return DocumentKey(CONFIGURATION, "test", name)
    return CustomerKey(OWN_ACCOUNT, "test", name)
