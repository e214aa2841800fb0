"""Stripe's events: which ones matter, whom they are about, and the queue message they become.

A webhook is a hint that a customer changed; nothing of its payload is ever applied. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from billing.errors import Unprocessable
from billing.model import OWN_ACCOUNT, CustomerKey, DocumentKey, Key


class Effect(Enum):
    """What an event type leads to."""

    SYNC_CUSTOMER = "sync the customer it names"
    SYNC_CONFIGURATION = "refresh the portal configuration it names"
    SYNC_CATALOG = "refresh the catalogue"
    AUDIT = "an audit line and a metric"


#: Every event type we ask Stripe for. Any other is answered 200 and dropped.
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

#: Kind of the documents that are portal configurations.
CONFIGURATION = "CONFIG"

#: Kind of the one document that says what is for sale.
CATALOG = "CATALOG"

#: Type of the message that asks for the catalogue where no event tells: at a deploy.
REFRESH_CATALOG = "portcullis.catalog"

#: Type of a hint that is never queued: somebody waits for the customer's state as it is now.
DEMAND = "portcullis.demand"

#: Later than any row's `as_of`, so that no row has outgrown it.
NEVER_OUTGROWN = 1 << 53

#: Type of the message by which a sync asks for one more fetch, against stale reads.
CONFIRM = "portcullis.confirm"


class NotAnEvent(ValueError):
    """A signed body that is no snapshot event; the message says what it is instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A verified snapshot event, as far as we read it.

    `created` in epoch seconds; `account` is None unless it came from a connected account;
    `object` is `data.object`, used only to find out whom the event is about.
    """

    id: str
    type: str
    created: int
    livemode: bool
    account: str | None
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
        if not isinstance(payload, dict):
            raise NotAnEvent("not an object")
        if payload.get("object") == "v2.core.event":
            raise NotAnEvent("a thin event; register the endpoint for snapshot events")
        data = payload.get("data")
        subject = data.get("object") if isinstance(data, dict) else None
        fields_hold = (
            payload.get("object") == "event"
            and _is_name(payload.get("id"))
            and _is_name(payload.get("type"))
            and type(payload.get("created")) is int
            and type(payload.get("livemode")) is bool
            and (payload.get("account") is None or _is_name(payload["account"]))
            and isinstance(subject, dict)
        )
        if not fields_hold or not isinstance(data, dict) or not isinstance(subject, dict):
            raise NotAnEvent("not an event")
        previous = data.get("previous_attributes")
        return cls(
            id=payload["id"],
            type=payload["type"],
            created=payload["created"],
            livemode=payload["livemode"],
            account=payload.get("account"),
            object=subject,
            previous_attributes=previous if isinstance(previous, dict) else {},
        )

    @property
    def customer(self) -> str | None:
        """The id of the customer the event is about, wherever its type keeps it."""
        if self.object.get("object") == "customer":
            return _id(self.object)
        owner = self.object.get("owner")
        return (
            _id(self.object.get("customer"))
            or _id(owner.get("customer") if isinstance(owner, dict) else None)
            or _id(self.previous_attributes.get("customer"))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A queue message: something happened to what `key` names. It names the event, no more."""

    id: str
    type: str
    created: int
    livemode: bool
    account: str | None
    customer: str | None
    object: str | None

    @classmethod
    def of(cls, event: Event) -> Hint | None:
        """The hint that `event` gives; None where it does not say whom or what it is about."""
        hint = cls(
            id=event.id,
            type=event.type,
            created=event.created,
            livemode=event.livemode,
            account=event.account,
            customer=event.customer,
            object=_id(event.object),
        )
        return None if hint._key() is None else hint

    @classmethod
    def confirm(cls, key: CustomerKey, *, created: int) -> Hint:
        """One more fetch of `key`, for changes up to `created`, the last second it answers for."""
        return cls._own(key, CONFIRM, created, name=f"confirm-{key.customer}-{created}")

    @classmethod
    def demand(cls, key: CustomerKey) -> Hint:
        """A fetch of `key` now, whatever its row already answers for."""
        return cls._own(key, DEMAND, NEVER_OUTGROWN, name=f"demand-{key.customer}")

    @classmethod
    def _own(cls, key: CustomerKey, kind: str, created: int, *, name: str) -> Hint:
        """A hint that no event gave."""
        return cls(
            id=name,
            type=kind,
            created=created,
            livemode=key.mode == "live",
            account=None if key.account == OWN_ACCOUNT else key.account,
            customer=key.customer,
            object=None,
        )

    @classmethod
    def refresh_catalog(cls, *, mode: str, account: str | None, created: int) -> Hint:
        """A fetch of what is for sale, for changes up to `created` (epoch seconds)."""
        return cls(
            id=f"catalog-{created}",
            type=REFRESH_CATALOG,
            created=created,
            livemode=mode == "live",
            account=account,
            customer=None,
            object=None,
        )

    @property
    def key(self) -> Key:
        """What is to be synced."""
        key = self._key()
        if key is None:
            raise Unprocessable("names neither a customer nor an object to sync")
        return key

    def _key(self) -> Key | None:
        account = self.account or OWN_ACCOUNT
        mode = "live" if self.livemode else "test"
        match EFFECTS.get(self.type):
            case Effect.SYNC_CONFIGURATION if self.object:
                return DocumentKey(CONFIGURATION, account, mode, self.object)
            case Effect.SYNC_CONFIGURATION:
                return None
            case Effect.SYNC_CATALOG:
                return DocumentKey(CATALOG, account, mode)
            case None if self.type == REFRESH_CATALOG:
                return DocumentKey(CATALOG, account, mode)
            case _:
                return CustomerKey(account, mode, self.customer) if self.customer else None

    def to_message(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_message(cls, body: str) -> Hint:
        """Parse a queue message made by `to_message`. Raises Unprocessable with the reason."""
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Unprocessable("not JSON") from error
        if not isinstance(fields, dict):
            raise Unprocessable("not an object")
        fields_hold = (
            _is_name(fields.get("id"))
            and _is_name(fields.get("type"))
            and type(fields.get("created")) is int
            and type(fields.get("livemode")) is bool
            and (fields.get("account") is None or _is_name(fields["account"]))
            and (fields.get("customer") is None or _is_name(fields["customer"]))
            and (fields.get("object") is None or _is_name(fields["object"]))
        )
        if not fields_hold:
            raise Unprocessable("not a message of ours")
        hint = cls(
            id=fields["id"],
            type=fields["type"],
            created=fields["created"],
            livemode=fields["livemode"],
            account=fields.get("account"),
            customer=fields.get("customer"),
            object=fields.get("object"),
        )
        if hint._key() is None:
            raise Unprocessable("not a message of ours")
        return hint


def _is_name(value: object) -> bool:
    """A non-empty string no longer than Stripe's ids ever are."""
    return isinstance(value, str) and 0 < len(value) <= 255


def _id(value: object) -> str | None:
    """The id in a reference, expanded or not."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and _is_name(value) else None
