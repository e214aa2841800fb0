"""The first purchase: a checkout session for the signed-in subject, and the way back from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from billing import catalog
from billing.access import AccessPolicy
from billing.checkout.buyers import Buyers, BuyersApi, idempotency_key
from billing.checkout.earlier import (
    Earlier,
    SessionsApi,
    just_paid,
    refused_as_paid,
    settle,
    unshown,
)
from billing.checkout.offer import (
    has_had,
    held_subscription,
    is_for_sale,
    line_item,
    trial,
    with_session_id,
)
from billing.configuration.file import Checkout
from billing.errors import (
    AlreadySubscribed,
    BadRequest,
    Conflict,
    NotFound,
    StateConflict,
)
from billing.keys import CustomerKey
from billing.model import CustomerRow
from billing.responses import ENTITLEMENTS_SCHEMA
from billing.return_urls import ReturnUrls
from billing.schemas import checker, object_schema
from billing.stripe_objects import MAX_QUANTITY, StripeObject, product_id

#: The body of `POST /checkout-sessions`. Strict: a customer id is refused, whatever its name is.
REQUEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["price"],
    "properties": {
        "price": {"type": "string", "minLength": 1, "maxLength": 255},
        "quantity": {"type": "integer", "minimum": 1, "maximum": MAX_QUANTITY},
        "success_url": {"type": "string", "minLength": 1},
        "cancel_url": {"type": "string", "minLength": 1},
    },
}

_checked = checker(REQUEST_SCHEMA)

#: The body of the response to `POST /checkout-sessions`.
SESSION_SCHEMA = object_schema(
    "The checkout session: a new one, or the open one if the request is repeated.",
    url={"type": "string", "description": "Its page at Stripe"},
    id={"type": "string"},
)

#: The body of the response to `GET /checkout-sessions/{id}`.
RETRIEVED_SCHEMA = object_schema(
    "A checkout session of the subject's.",
    id={"type": "string"},
    status={"enum": ["open", "complete", "expired", None]},
    entitlements=ENTITLEMENTS_SCHEMA,
)

#: Stripe's own limit for client_reference_id.
MAX_REFERENCE_CHARACTERS = 200

#: Attempts to settle customer and session: a tombstone and each lost race cost one.
MAX_CUSTOMER_ATTEMPTS = 4

#: Syncs on the way back from checkout, while the purchase does not show in the row yet.
MAX_SYNC_ATTEMPTS = 4

_SESSION_ID = re.compile(r"cs_[A-Za-z0-9_]{1,200}")


class CheckoutApi(SessionsApi, BuyersApi, Protocol):
    """Every method raises StripeUnavailable or StripeRefused."""

    def find_price(self, name: str) -> StripeObject | None:
        """The active price with this lookup key or id, its product expanded."""
        ...

    def list_all_subscriptions(self, customer_id: str) -> Sequence[StripeObject]:
        """The customer's subscriptions whatever their status, each with all its items."""
        ...

    def create_checkout_session(self, parameters: Mapping[str, Any], key: str) -> StripeObject:
        """A new session, or the one that was created with this key. Raises Conflict where that one
        was for something else."""
        ...


class Created(NamedTuple):
    """An open checkout session. `url` is its page at Stripe."""

    id: str
    url: str


class Retrieved(NamedTuple):
    """A session of the subject's. `row` covers what it brought; None if the customer is deleted."""

    id: str
    status: str
    row: CustomerRow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutSessions:
    """What checkout depends on. `read_catalog` returns the catalog's document; `pause(n)` waits
    before attempt `n`; `clock` returns epoch seconds.
    """

    buyers: Buyers
    stripe: CheckoutApi
    read_catalog: Callable[[], Mapping[str, Any]]
    pause: Callable[[int], None]
    clock: Callable[[], float]
    offer: Checkout
    policy: AccessPolicy
    return_urls: ReturnUrls

    def create(self, subject: str, request: Mapping[str, Any]) -> Created:
        """A checkout session for what `request`, the body of `POST /checkout-sessions`, names.

        Creates the subject's customer where there is none: one, however many requests come at
        once. Raises BadRequest, AlreadySubscribed, StateConflict, and any Unavailable.
        """
        _checked(request)
        urls = {
            "success_url": self.return_urls.chosen(request, "success_url", with_session_id),
            "cancel_url": self.return_urls.chosen(request, "cancel_url"),
        }
        price = self._price(request["price"])
        product = product_id(price)
        wanted: dict[str, Any] = {
            "mode": "subscription",
            "line_items": [line_item(price, request.get("quantity"))],
            **urls,
        }

        deleted: CustomerKey | None = None
        for _ in range(MAX_CUSTOMER_ATTEMPTS):
            customer, deleted = self.buyers.living(subject, deleted)
            earlier = Earlier()
            try:
                if customer is None:
                    customer = self.buyers.created(subject, deleted)
                else:
                    earlier = settle(self.stripe, customer.id, product, wanted, self.clock())
                row = self._row(customer, earlier)
                if row.deleted:
                    deleted = customer
                if row.deleted or row.subject != subject:
                    # Another customer has the subject by now, or will be created.
                    if earlier.open is not None:
                        self.stripe.expire_checkout_session(earlier.open["id"])
                    continue
                self._refuse_what_is_paid(row, product, earlier)
                if earlier.open is not None:
                    return Created(earlier.open["id"], earlier.open["url"])
                return self._created(row, product, earlier, wanted, subject)
            except Conflict:
                # Another request created a different session at the same moment, or one was paid
                # or ended while they were read: read them again.
                continue
        raise StateConflict(
            "Your customer or another checkout in Stripe is changing at this moment. Try again."
        )

    def retrieve(self, subject: str, session_id: str) -> Retrieved:
        """The subject's checkout session. Once it is complete, the row has what was bought, even
        before the webhook comes. Raises NotFound, any Unavailable.
        """
        holder = self.buyers.held(subject).holder
        customer = holder.key if holder else None
        session = None
        if customer is not None and _SESSION_ID.fullmatch(session_id):
            session = self.stripe.retrieve_checkout_session(session_id)
        if customer is None or session is None or session["customer"] != customer.id:
            raise _no_such_session()

        row = self.buyers.row(customer)
        if row.subject != subject:
            raise _no_such_session()
        if session["status"] == "complete":
            # Long afterwards, what was bought may have ended: then one sync is enough.
            for attempt in range(1 if row.as_of > session["expires_at"] else MAX_SYNC_ATTEMPTS):
                if self._shows(row, session):
                    break
                if attempt:
                    self.pause(attempt)
                row = self.buyers.synced(customer)
                if row.subject != subject and not row.deleted:
                    # Its metadata names another subject by now: this purchase is that one's.
                    raise _no_such_session()
        return Retrieved(session["id"], session["status"], None if row.deleted else row)

    def _price(self, name: str) -> StripeObject:
        """The price that `name` means, if it is for sale. Raises BadRequest naming it."""
        # A name that is not listed can only be the id of a price whose lookup key is.
        may_be_sold = name in self.offer.prices or name.startswith("price_")
        price = self.stripe.find_price(name) if may_be_sold else None
        if price is None or not is_for_sale(price, self.offer.prices):
            raise BadRequest(f"price {name!r} is not for sale; GET /catalog lists what is.")
        return price

    def _row(self, customer: CustomerKey, earlier: Earlier) -> CustomerRow:
        """The customer's row, after a sync unless it covers what its sessions brought."""
        if earlier.is_covered:
            row = self.buyers.row(customer)
            if not unshown(row, earlier.paid):
                return row
        return self.buyers.synced(customer)

    def _refuse_what_is_paid(self, row: CustomerRow, product: str, earlier: Earlier) -> None:
        """Raises AlreadySubscribed where the customer holds the product, and StateConflict where
        it may have just been paid. No session for it stays open then."""
        refusal: StateConflict | None = None
        held = held_subscription(row, product)
        if held is not None:
            refusal = AlreadySubscribed(
                f"You already hold this product: subscription {held.id} is {held.status}. "
                "Change it in the customer portal: POST /portal-sessions."
            )
        elif just_paid(self.stripe, row, earlier.paid):
            refusal = refused_as_paid()
        if refusal is None:
            return
        if earlier.open is not None:
            self.stripe.expire_checkout_session(earlier.open["id"])
        raise refusal

    def _created(
        self,
        row: CustomerRow,
        product: str,
        earlier: Earlier,
        wanted: Mapping[str, Any],
        subject: str,
    ) -> Created:
        """A new session. Raises Conflict where another request created a different one."""
        parameters: dict[str, Any] = {**wanted, "customer": row.key.id}
        if len(subject) <= MAX_REFERENCE_CHARACTERS:
            parameters["client_reference_id"] = subject
        if trial_days := self._trial_days(row.key.id, product, earlier):
            parameters["subscription_data"] = trial(product, trial_days)
        if self.offer.allow_promotion_codes:
            parameters["allow_promotion_codes"] = True
        # One key for all requests that follow the same session: two at once get the same new
        # session, and of two that differ only one can be paid. The next one follows this one.
        key = idempotency_key("session", row.key.id, product, earlier.newest)
        session = self.stripe.create_checkout_session(parameters, key)
        if session["status"] == "complete":
            raise refused_as_paid()
        if session.get("url") is None:
            raise StateConflict("That checkout has just ended in another window. Try again.")
        return Created(session["id"], session["url"])

    def _trial_days(self, customer_id: str, product: str, earlier: Earlier) -> int | None:
        """The configured trial; None where the customer has had the product. Stripe is asked only
        where there is one, and where the customer is not new."""
        days = self.offer.trial_days
        if not days or not earlier.is_known_customer:
            return days
        return None if has_had(self.stripe.list_all_subscriptions(customer_id), product) else days

    def _shows(self, row: CustomerRow, session: StripeObject) -> bool:
        """Whether the row has what the complete session brought, features too: a read of Stripe may
        be stale, and Stripe lists entitlements a moment after their subscription."""
        wanted = session.get("subscription")
        for subscription in row.facts.subscriptions:
            if subscription.id == wanted:
                products = [item.product for item in subscription.items]
                features = catalog.features_of(self.read_catalog(), products)
                access = row.access(self.policy, self.clock())
                return subscription.id in access.subscriptions and features <= set(access.features)
        return False


def _no_such_session() -> NotFound:
    return NotFound("You have no such checkout session.")
