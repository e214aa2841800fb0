"""The first purchase: a checkout session for the signed-in subject, and the way back from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from billing import catalog, request_body
from billing.configuration.file import Checkout
from billing.errors import (
    AlreadySubscribed,
    BadRequest,
    Conflict,
    CustomerNotFound,
    NotFound,
    StateConflict,
    StoreUnavailable,
    StripeUnavailable,
)
from billing.model import OWN_ACCOUNT, CustomerKey, CustomerRow, SubjectKey
from billing.origins import checked_return_url
from billing.projection import StripeObject

#: The body of `POST /checkout-sessions`. Strict: a customer id is refused whatever it is called.
REQUEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["price"],
    "properties": {
        "price": {"type": "string", "minLength": 1, "maxLength": 255},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 999_999},
        "success_url": {"type": "string", "minLength": 1},
        "cancel_url": {"type": "string", "minLength": 1},
    },
}

#: The body itself if it is a valid request. Raises BadRequest naming what is not.
parse_request = request_body.checker(REQUEST_SCHEMA)

#: Statuses of a subscription that nobody holds: it is over, or was never paid for. An incomplete
#: one must not keep a customer whose card failed from trying again.
NOT_HELD = frozenset({"canceled", "incomplete", "incomplete_expired"})

#: Stripe's own limit for client_reference_id.
LONGEST_REFERENCE = 200

#: Rounds until the subject's customer is settled: a tombstone and a lost race cost one each.
ROUNDS = 4

#: Syncs on the way back, while what was bought does not show yet.
LOOKS = 4

_SESSION = re.compile(r"cs_[A-Za-z0-9_]{1,200}")


class CheckoutApi(Protocol):
    """Every method raises StripeUnavailable or StripeRefused."""

    def priced(self, name: str) -> StripeObject | None:
        """The active price with this lookup key or id, its product expanded."""
        ...

    def create_customer(self, metadata: Mapping[str, str], key: str) -> str:
        """The id of a new customer; of the same one for whoever asks with the same key."""
        ...

    def checkout_sessions(self, customer: str) -> Sequence[StripeObject]:
        """All the customer's sessions, newest first, with their line items."""
        ...

    def checkout_session(self, session: str) -> StripeObject | None: ...

    def expire_checkout_session(self, session: str) -> None:
        """Afterwards the session cannot be completed any more; it may have been before."""
        ...

    def create_checkout_session(self, parameters: Mapping[str, Any], key: str) -> StripeObject:
        """A new session, or the one that was made with this key. Raises Conflict where that one
        was for something else."""
        ...


class CheckoutStore(Protocol):
    """The entitlement table by consistent reads. Both raise StoreUnavailable."""

    def load(self, key: CustomerKey) -> CustomerRow: ...
    def customer_of(self, subject: SubjectKey) -> CustomerKey | None: ...


class Opened(NamedTuple):
    """An open checkout session. `url` is its hosted page."""

    id: str
    url: str


class Returned(NamedTuple):
    """A session of the subject's, and the row of its customer, which covers it."""

    id: str
    status: str
    row: CustomerRow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutSessions:
    """What checkout depends on. `sync` makes a customer's row equal to Stripe, whatever it already
    answers for; `catalogue` gives the catalogue's document; `pause(n)` waits before look `n`."""

    store: CheckoutStore
    stripe: CheckoutApi
    sync: Callable[[CustomerKey], None]
    catalogue: Callable[[], Mapping[str, Any]]
    pause: Callable[[int], None]
    offer: Checkout
    account: str
    mode: str
    issuer: str
    subject_metadata_key: str
    allowed_origins: tuple[str, ...]
    default_return_url: str
    stage: str

    def open(self, subject: str, request: Mapping[str, Any]) -> Opened:
        """A new checkout session for what `request` (valid by REQUEST_SCHEMA) names.

        The subject's customer is created where there is none: once, however many ask at once.
        Raises BadRequest, AlreadySubscribed, StateConflict, and any Unavailable.
        """
        success_url = self._url(request, "success_url", with_session_id)
        cancel_url = self._url(request, "cancel_url")
        price = self._price(request["price"])
        product: str = price["product"]["id"]
        row, newest = self._customer(subject, product)
        self._refuse_what_is_held(row, product)

        parameters: dict[str, Any] = {
            "mode": "subscription",
            "customer": row.key.customer,
            "line_items": [_line_item(price, request.get("quantity"))],
            "success_url": success_url,
            "cancel_url": cancel_url,
        }
        if len(subject) <= LONGEST_REFERENCE:
            parameters["client_reference_id"] = subject
        if self.offer.trial_days and not has_had(row, product):
            parameters["subscription_data"] = {"trial_period_days": self.offer.trial_days}
        if self.offer.allow_promotion_codes:
            parameters["allow_promotion_codes"] = True

        # One key for all that follow the same session: of two clicks at once both get the same
        # session, and two that differ cannot both be paid. The next one follows this one.
        key = _key("session", row.key.customer, product, newest)
        try:
            session = self.stripe.create_checkout_session(parameters, key)
        except Conflict:
            raise StateConflict(
                "Another checkout for this product was begun at the same moment. Try again."
            ) from None
        if session.get("url") is None:
            raise StateConflict("That checkout has just ended in another window. Try again.")
        return Opened(session["id"], session["url"])

    def look_up(self, subject: str, session_id: str) -> Returned:
        """The subject's checkout session, and where it is complete, the row with what it brought:
        at once, whether the webhook has come or not.

        Raises NotFound, any Unavailable.
        """
        customer = self.store.customer_of(self._subject(subject))
        session = None
        if customer is not None and _SESSION.fullmatch(session_id):
            session = self.stripe.checkout_session(session_id)
        if customer is None or session is None or session["customer"] != customer.customer:
            raise NotFound("You have no such checkout session.")

        row = self.store.load(customer)
        if session["status"] == "complete":
            # Long after, what it brought may be over: then one look is enough.
            for look in range(1 if row.as_of > session["expires_at"] else LOOKS):
                if self._shows(row, session):
                    break
                if look:
                    self.pause(look)
                self._sync(customer)
                row = self.store.load(customer)
        return Returned(session["id"], session["status"], None if row.deleted else row)

    # ------------------------------------------------------------------ what is asked for

    def _url(
        self, request: Mapping[str, Any], name: str, dressed: Callable[[str], str] = str
    ) -> str:
        if name not in request:
            return dressed(self.default_return_url)
        return checked_return_url(
            dressed(request[name]), self.allowed_origins, stage=self.stage, name=name
        )

    def _price(self, name: str) -> StripeObject:
        """The price that `name` means, if it is for sale. Raises BadRequest naming it."""
        # Only an id may stand for another name on the list; anything else is not worth a call.
        known = name in self.offer.prices or name.startswith("price_")
        price = self.stripe.priced(name) if known else None
        if price is None or not is_for_sale(price, self.offer.prices):
            raise BadRequest(f"price {name!r} is not for sale; GET /catalog lists what is.")
        return price

    def _refuse_what_is_held(self, row: CustomerRow, product: str) -> None:
        for subscription in row.billing.subscriptions:
            held = {item.product for item in subscription.items}
            if product in held and subscription.status not in NOT_HELD:
                raise AlreadySubscribed(
                    f"You already hold this product: subscription {subscription.id} is "
                    f"{subscription.status}. Change it in the customer portal: "
                    "POST /portal-sessions."
                )

    # ------------------------------------------------------------------ whose it is

    def _subject(self, subject: str) -> SubjectKey:
        return SubjectKey(self.mode, self.issuer, subject)

    def _customer(self, subject: str, product: str) -> tuple[CustomerRow, str]:
        """The subject's living customer as Stripe states it now, and the id of its newest session.

        Its open sessions for the product are expired *before* it is read: what somebody has paid
        for meanwhile is then part of what we read, and nothing can be paid for after.
        """
        gone: CustomerKey | None = None
        for _ in range(ROUNDS):
            customer = self.store.customer_of(self._subject(subject))
            if customer is None or customer == gone:
                customer = self._created(subject, gone)
            newest = self._expire_open(customer, product)
            self._sync(customer)
            row = self.store.load(customer)
            if row.deleted:
                gone = customer
            elif row.subject == subject:
                return row, newest
            # Else another customer has taken the subject: it is found in the next round.
        raise StateConflict("Your customer in Stripe is changing at this moment. Try again.")

    def _created(self, subject: str, gone: CustomerKey | None) -> CustomerKey:
        """The subject's new customer, the same for all who ask at once. After a deleted one the
        key differs: Stripe would answer with that one for a day."""
        key = _key(
            "customer",
            self.mode,
            self.issuer,
            subject,
            self.subject_metadata_key,
            gone.customer if gone else "",
        )
        customer = self.stripe.create_customer({self.subject_metadata_key: subject}, key)
        return CustomerKey(self.account or OWN_ACCOUNT, self.mode, customer)

    def _expire_open(self, customer: CustomerKey, product: str) -> str:
        sessions = self.stripe.checkout_sessions(customer.customer)
        for session in sessions:
            if session["status"] == "open" and product in _products(session):
                self.stripe.expire_checkout_session(session["id"])
        return str(sessions[0]["id"]) if sessions else ""

    def _sync(self, customer: CustomerKey) -> None:
        """A sync at once. It is the worker's own; the webhook that follows it changes nothing."""
        try:
            self.sync(customer)
        except Conflict as error:
            raise StoreUnavailable("too many writers at once") from error
        except CustomerNotFound as error:
            # A read that lags behind its creation, or a key of another account: never "deleted".
            raise StripeUnavailable("the customer is not found (yet)") from error

    def _shows(self, row: CustomerRow, session: StripeObject) -> bool:
        """Whether the row has what the complete session has brought, its features too: Stripe's
        reads may lag, and it lists entitlements a moment after the subscription."""
        wanted = session.get("subscription")
        for subscription in row.billing.subscriptions:
            if subscription.id == wanted:
                products = [item.product for item in subscription.items]
                features = catalog.features_of(self.catalogue(), products)
                return subscription.until is not None and features <= set(row.billing.features)
        return False


def is_for_sale(price: StripeObject, allowed: Collection[str]) -> bool:
    """Whether a subscription to the price (its product expanded) may be bought."""
    product = price["product"]
    return bool(
        catalog.is_allowed(price, allowed)
        and price["active"]
        and price.get("recurring")
        and not product.get("deleted")
        and product["active"]
    )


def _line_item(price: StripeObject, quantity: int | None) -> dict[str, Any]:
    """Raises BadRequest for a quantity of what is billed by usage: Stripe takes none there."""
    if price["recurring"].get("usage_type") != "metered":
        return {"price": price["id"], "quantity": int(quantity or 1)}
    if quantity is not None:
        raise BadRequest("body.quantity has no meaning for a price that is billed by usage.")
    return {"price": price["id"]}


def has_had(row: CustomerRow, product: str) -> bool:
    """Whether the customer has or had the product, as far as its row remembers: no second trial."""
    names = {name for each in row.transitions for name in (*each.gained, *each.lost)}
    return product in {name.partition("×")[0] for name in names}


def with_session_id(url: str) -> str:
    """`url` with the query parameter that Stripe fills in on the way back, before any fragment."""
    address, hash_sign, fragment = url.partition("#")
    separator = "&" if "?" in address else "?"
    return f"{address}{separator}checkout_session_id={{CHECKOUT_SESSION_ID}}{hash_sign}{fragment}"


def _products(session: StripeObject) -> set[str]:
    return {line["price"]["product"] for line in session["line_items"]["data"] if line.get("price")}


def _key(*parts: str) -> str:
    """An idempotency key: the same for the same parts, and no secret in it."""
    return f"portcullis-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"
