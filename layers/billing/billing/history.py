"""Why access changed: what a row remembers of its last changes. Pure.

The history is for people. No decision depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from billing.access import Access, has_begun
from billing.facts import Facts, known
from billing.stripe_objects import StripeObject
from billing.sync_request import Cause

#: Transitions a row keeps, newest first.
MAX_TRANSITIONS = 10

#: Names that each list of a transition keeps, so that a history stays small beside the facts.
MAX_NAMES = 50

#: The type of the transition of a customer that has taken over a subject; its `event` is the id of
#: the customer that held it before.
TAKEN_OVER = "portcullis.subject_taken_over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What Stripe says has changed: a subscription's status.

    before, after     None: it was not current
    ended_at          when it ended, for a subscription that did
    reason, feedback  Stripe's `cancellation_details`, where it has any
    """

    subscription: str
    before: str | None = None
    after: str | None = None
    ended_at: int | None = None
    reason: str | None = None
    feedback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change in what the customer may use: the event that told of it, and what Stripe says."""

    at: int
    event: str
    type: str
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Transition:
        """What `facts.without_defaults` made, in this release or in a later one."""
        found = known(cls, stored)
        return cls(
            **found
            | {
                "gained": tuple(found.get("gained", ())),
                "lost": tuple(found.get("lost", ())),
                "changes": tuple(
                    Change(**known(Change, each)) for each in found.get("changes", ())
                ),
            }
        )


def transition(
    before: tuple[Facts, Access],
    after: tuple[Facts, Access],
    *,
    at: int,
    cause: Cause,
    ended: Iterable[StripeObject],
) -> Transition | None:
    """The transition between two states of a customer; None where access is the same and nothing
    ended. `ended` are subscriptions (Stripe's objects) that only the state before has.
    """
    held, holds = _names(before[1]), _names(after[1])
    changes = _changes(before[0], after[0], {each["id"]: each for each in ended})
    ends = (change for change in changes if change.ended_at)
    if held == holds and not any(has_begun(change.before or "") for change in ends):
        return None
    return Transition(
        at=at,
        event=cause.id,
        type=cause.type,
        gained=tuple(sorted(holds - held)[:MAX_NAMES]),
        lost=tuple(sorted(held - holds)[:MAX_NAMES]),
        changes=changes[:MAX_NAMES],
    )


def added(transitions: tuple[Transition, ...], newest: Transition | None) -> tuple[Transition, ...]:
    """The history with its newest transition, if there is one."""
    return transitions if newest is None else (newest, *transitions)[:MAX_TRANSITIONS]


def _names(access: Access) -> set[str]:
    """What is allowed, as one set of names: lookup keys and product ids with quantities."""
    products = {
        name if product.quantity == 1 else f"{name}×{product.quantity}"
        for name, product in access.products.items()
    }
    return {*access.features, *products}


def _changes(before: Facts, after: Facts, ended: Mapping[str, StripeObject]) -> tuple[Change, ...]:
    was = {each.id: each.status for each in before.subscriptions}
    now = {each.id: each.status for each in after.subscriptions}
    found = []
    for name in was | now:
        subscription = ended.get(name, {})
        details: Mapping[str, Any] = subscription.get("cancellation_details") or {}
        change = Change(
            subscription=name,
            before=was.get(name),
            after=now.get(name) or subscription.get("status"),
            ended_at=subscription.get("ended_at"),
            reason=details.get("reason"),
            feedback=details.get("feedback"),
        )
        if change.before != change.after:
            found.append(change)
    return tuple(found)
