"""Stripe's events: which ones matter, and which row each one is about. Pure.

A webhook says that something changed. Nothing in its payload is ever applied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from billing.keys import (
    CATALOG,
    CONFIGURATION,
    OWN_ACCOUNT,
    CustomerKey,
    DocumentKey,
    Key,
    is_name,
)
from billing.sync_request import Cause, SyncRequest


class Effect(Enum):
    """What an event type leads to."""

    SYNC_CUSTOMER = "sync the customer it names"
    SYNC_CONFIGURATION = "sync the portal configuration it names"
    SYNC_CATALOG = "sync the catalog"
    AUDIT = "log it and count it"


#: Every event type the webhook endpoint subscribes to. Any other is answered 200 and dropped.
EFFECTS: Mapping[str, Effect] = {
    "billing_portal.configuration.created": Effect.SYNC_CONFIGURATION,
    "billing_portal.configuration.updated": Effect.SYNC_CONFIGURATION,
    "billing_portal.session.created": Effect.AUDIT,
    "checkout.session.completed": Effect.SYNC_CUSTOMER,
    "customer.created": Effect.SYNC_CUSTOMER,
    "customer.deleted": Effect.SYNC_CUSTOMER,
    "customer.updated": Effect.SYNC_CUSTOMER,
    "customer.subscription.created": Effect.SYNC_CUSTOMER,
    "customer.subscription.deleted": Effect.SYNC_CUSTOMER,
    "customer.subscription.paused": Effect.SYNC_CUSTOMER,
    "customer.subscription.pending_update_applied": Effect.SYNC_CUSTOMER,
    "customer.subscription.pending_update_expired": Effect.SYNC_CUSTOMER,
    "customer.subscription.resumed": Effect.SYNC_CUSTOMER,
    "customer.subscription.trial_will_end": Effect.SYNC_CUSTOMER,
    "customer.subscription.updated": Effect.SYNC_CUSTOMER,
    "customer.tax_id.created": Effect.SYNC_CUSTOMER,
    "customer.tax_id.deleted": Effect.SYNC_CUSTOMER,
    "customer.tax_id.updated": Effect.SYNC_CUSTOMER,
    "entitlements.active_entitlement_summary.updated": Effect.SYNC_CUSTOMER,
    "invoice.paid": Effect.SYNC_CUSTOMER,
    "invoice.payment_action_required": Effect.SYNC_CUSTOMER,
    "invoice.payment_failed": Effect.SYNC_CUSTOMER,
    "payment_method.attached": Effect.SYNC_CUSTOMER,
    "payment_method.automatically_updated": Effect.SYNC_CUSTOMER,
    "payment_method.detached": Effect.SYNC_CUSTOMER,
    "payment_method.updated": Effect.SYNC_CUSTOMER,
    "price.created": Effect.SYNC_CATALOG,
    "price.deleted": Effect.SYNC_CATALOG,
    "price.updated": Effect.SYNC_CATALOG,
    "product.created": Effect.SYNC_CATALOG,
    "product.deleted": Effect.SYNC_CATALOG,
    "product.updated": Effect.SYNC_CATALOG,
}


class NotAnEvent(ValueError):
    """The signed body is not a snapshot event; the message says what it is instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A verified snapshot event, as far as it is read.

    `created` is in epoch seconds; `account` is OWN_ACCOUNT unless a connected account sent it;
    `object` is `data.object`, which only says whom the event is about.
    """

    id: str
    type: str
    created: int
    livemode: bool
    account: str
    object: Mapping[str, Any]
    previous_attributes: Mapping[str, Any]

    @classmethod
    def from_body(cls, body: bytes) -> Event:
        """Parse a webhook's verified body. Raises NotAnEvent."""
        try:
            payload = json.loads(body.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise NotAnEvent("not UTF-8") from error
        except (ValueError, RecursionError) as error:
            raise NotAnEvent("not JSON") from error
        match payload:
            case {"object": "v2.core.event"}:
                raise NotAnEvent("a thin event; register the endpoint for snapshot events")
            case {
                "object": "event",
                "id": str(event_id),
                "type": str(event_type),
                "created": int(created),
                "livemode": bool(livemode),
                "data": {"object": dict(about)} as data,
            } if is_name(event_id) and is_name(event_type) and not isinstance(created, bool):
                account = payload.get("account")
                previous = data.get("previous_attributes")
            case dict():
                raise NotAnEvent("not an event")
            case _:
                raise NotAnEvent("not an object")
        if account is not None and not is_name(account):
            raise NotAnEvent("not an event")
        return cls(
            id=event_id,
            type=event_type,
            created=created,
            livemode=livemode,
            account=account or OWN_ACCOUNT,
            object=about,
            previous_attributes=previous if isinstance(previous, dict) else {},
        )

    @property
    def customer_id(self) -> str | None:
        """The id of the customer the event is about, wherever its type keeps it."""
        if self.object.get("object") == "customer":
            return _id(self.object)
        owner = self.object.get("owner")
        return (
            _id(self.object.get("customer"))
            or _id(owner.get("customer") if isinstance(owner, dict) else None)
            or _id(self.previous_attributes.get("customer"))
        )

    @property
    def key(self) -> Key | None:
        """The row the event is about; None where it names none."""
        mode = "live" if self.livemode else "test"
        match EFFECTS.get(self.type):
            case Effect.SYNC_CUSTOMER if self.customer_id:
                return CustomerKey(self.account, mode, self.customer_id)
            case Effect.SYNC_CONFIGURATION if configuration := _id(self.object):
                return DocumentKey(CONFIGURATION, mode, configuration)
            case Effect.SYNC_CATALOG:
                return DocumentKey(CATALOG, mode)
            case _:
                return None

    @property
    def request(self) -> SyncRequest | None:
        """The sync that the event asks for; None where it names nothing to sync."""
        key = self.key
        return key and SyncRequest(key, self.created, Cause(self.id, self.type))


def _id(value: object) -> str | None:
    """The id in a reference, expanded or not. A `#` would be read as part of a row's key."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and is_name(value) and "#" not in value else None
