"""What a customer's earlier checkout sessions mean for a purchase: an open one for the same is used
again, any other for the product is ended, and one that was just paid refuses the purchase.

Stripe's reads may be stale by up to MARGIN_SECONDS, so a row does not show at once what was paid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from billing.access import is_held
from billing.checkout.offer import is_for, products_of
from billing.errors import Conflict, StateConflict
from billing.model import CustomerRow
from billing.stripe_objects import StripeObject, is_deleted
from billing.sync import MARGIN_SECONDS

#: How old an open session may be to be returned without another sync.
FRESH_SECONDS = 60


class SessionsApi(Protocol):
    """Every method raises StripeUnavailable or StripeRefused."""

    def newest_checkout_sessions(self, customer_id: str) -> Sequence[StripeObject]:
        """Some of the customer's sessions, newest first, whatever their status, with their line
        items: one call."""
        ...

    def list_open_checkout_sessions(self, customer_id: str) -> Sequence[StripeObject]:
        """The customer's open sessions, newest first, with their line items and customer."""
        ...

    def retrieve_checkout_session(self, session: str) -> StripeObject | None: ...

    def expire_checkout_session(self, session: str) -> bool:
        """Whether this call ended the session. If not, it was not open any more: it had ended, or
        it had been paid."""
        ...

    def retrieve_subscription(self, subscription: str) -> StripeObject | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A customer's earlier sessions for a product. The default: the customer has just been created.

    newest             the id of the customer's newest session, for whatever product; empty: none
    open               the open session for exactly what is wanted; no other of these is open
    paid               those that were paid, or may have been
    is_covered         whether the row still covers the rest: `open` is new, so a sync came just
                       before it, and no other was ended
    is_known_customer  whether the customer existed before this purchase
    """

    newest: str = ""
    open: StripeObject | None = None
    paid: Sequence[StripeObject] = ()
    is_covered: bool = False
    is_known_customer: bool = False


def settle(
    stripe: SessionsApi, customer_id: str, product: str, wanted: Mapping[str, Any], now: float
) -> Earlier:
    """The customer's earlier sessions for the product, all ended but the one for exactly what is
    `wanted` (parameters of a session). Nothing more can be paid through those, and a sync that
    follows sees what was, or `paid` has it.

    Two calls, and for each session to be ended one, or two if Stripe refuses to end it. Raises
    Conflict where a session was paid or ended between the two calls.
    """
    # In this order: a session that another request creates meanwhile either is among the open
    # ones, or gets the same idempotency key as ours.
    newest = stripe.newest_checkout_sessions(customer_id)
    listed = stripe.list_open_checkout_sessions(customer_id)
    ours = [each for each in newest if product in products_of(each)]
    if {each["id"] for each in ours if each["status"] == "open"} - {each["id"] for each in listed}:
        raise Conflict("the customer's sessions have changed")

    same: StripeObject | None = None
    paid = [each for each in ours if each["status"] == "complete"]
    is_covered = True
    for session in listed:
        if product not in products_of(session):
            continue
        usable = session.get("url") and not is_deleted(session["customer"])
        if same is None and usable and is_for(session, wanted):
            same = session
            continue
        is_covered = False
        if not stripe.expire_checkout_session(session["id"]):
            # Paid, about to be, or expired. A stale read may still say open.
            again = stripe.retrieve_checkout_session(session["id"]) or session
            if again["status"] != "expired":
                paid.append(again)
    return Earlier(
        newest=newest[0]["id"] if newest else "",
        open=same,
        # No other mode brings a subscription.
        paid=[each for each in paid if each["mode"] == "subscription"],
        is_covered=is_covered and same is not None and now - same["created"] <= FRESH_SECONDS,
        is_known_customer=True,
    )


def unshown(row: CustomerRow, paid: Sequence[StripeObject]) -> list[StripeObject]:
    """The sessions whose payment the row may be too old to show.

    A session says when it can be paid at the latest, and not when it was.
    """
    held = {each.id for each in row.facts.subscriptions if is_held(each.status)}
    return [
        each
        for each in paid
        if each.get("subscription") not in held and row.as_of <= each["expires_at"] + MARGIN_SECONDS
    ]


def just_paid(stripe: SessionsApi, row: CustomerRow, paid: Sequence[StripeObject]) -> bool:
    """Whether one of the sessions brought a subscription that the row does not show yet.

    One call for each that the row does not show: the subscription may have ended since.
    """
    for session in unshown(row, paid):
        name = session.get("subscription")
        subscription = stripe.retrieve_subscription(name) if name else None
        if subscription is None or is_held(subscription["status"]):
            return True
    return False


def refused_as_paid() -> StateConflict:
    """The refusal of a purchase that may have just been paid."""
    return StateConflict(
        "This product has just been paid for in another checkout, or is being paid for at this "
        "moment. Try again in a moment; repeating the request is safe."
    )
