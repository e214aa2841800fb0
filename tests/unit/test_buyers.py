"""The subject's customer: who is looked at before one is created, and by which key it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from billing.checkout.buyers import Buyers
from billing.errors import Conflict, CustomerNotFound, StoreUnavailable, StripeUnavailable
from billing.keys import CustomerKey
from tests.unit.stripe_objects import customer
from tests.unit.test_checkout import SUBJECT, World

FIRST = CustomerKey("own", "test", "cus_1")


@pytest.fixture
def world() -> World:
    return World()


def waiting(world: World, *names: str) -> list[CustomerKey]:
    """Customers whose claim was refused, because "cus_1" held the subject until it was deleted."""
    world.add_customer()
    keys = [CustomerKey("own", "test", name) for name in names]
    for key in keys:
        world.stripe.customers[key.id] = customer(id=key.id, metadata={"user_id": SUBJECT})
        world.sync(key)
    world.stripe.customers["cus_1"] = {"id": "cus_1", "deleted": True}
    world.sync(FIRST)
    world.synced.clear()
    return keys


def living(world: World) -> CustomerKey | None:
    return world.sessions().buyers.living(SUBJECT, None)[0]


def test_those_who_wait_are_synced_until_one_takes_the_subject_over(world: World) -> None:
    second, third = waiting(world, "cus_2", "cus_3")
    assert living(world) == second
    assert world.synced == [second]
    assert world.store.load(third).subject is None


def test_a_waiting_customer_that_was_deleted_does_not_hide_the_next_one(world: World) -> None:
    second, third = waiting(world, "cus_2", "cus_3")
    world.stripe.customers["cus_2"] = {"id": "cus_2", "deleted": True}
    world.sync(second)
    world.synced.clear()
    assert living(world) == third
    assert world.synced == [third]


def test_a_waiting_customer_that_stripe_does_not_know_does_not_hide_the_next_one(
    world: World,
) -> None:
    second, third = waiting(world, "cus_2", "cus_3")
    del world.stripe.customers["cus_2"]
    assert living(world) == third
    assert world.synced == [second, third]


def test_a_new_customer_claims_the_subject_of_the_current_issuer(world: World) -> None:
    buyers = world.sessions(issuers=("https://new/", "https://issuer/")).buyers
    created = buyers.created(SUBJECT, None)
    assert world.stripe.customers[created.id]["metadata"] == {
        "user_id": SUBJECT,
        "user_id_issuer": "https://new/",
    }


def key_of(world: World, buyers: Buyers, deleted: CustomerKey | None = None) -> str:
    """The idempotency key that a creation sends."""
    world.stripe.keys.clear()
    buyers.created(SUBJECT, deleted)
    (key,) = world.stripe.keys
    return key


def test_the_key_of_a_creation_names_mode_subject_and_the_customer_that_was_deleted(
    world: World,
) -> None:
    """It is the same in every release: a deploy between two clicks creates no second customer."""
    metadata = json.dumps({"user_id": SUBJECT, "user_id_issuer": "https://issuer/"})
    buyers = world.sessions().buyers
    for mode in ("test", "live"):
        for deleted, name in ((None, ""), (FIRST, "cus_1")):
            parts = json.dumps(["customer", mode, metadata, name])
            expected = f"portcullis-{hashlib.sha256(parts.encode()).hexdigest()}"
            assert key_of(world, replace(buyers, mode=mode), deleted) == expected


def test_a_sync_that_fails_says_why(world: World) -> None:
    buyers = world.sessions().buyers

    def raises(error: Exception) -> None:
        raise error

    missing = replace(buyers, sync=lambda key: raises(CustomerNotFound()))
    with pytest.raises(StripeUnavailable, match=r"^the customer is not found \(yet\)$"):
        missing.synced(FIRST)
    beaten = replace(buyers, sync=lambda key: raises(Conflict()))
    with pytest.raises(StoreUnavailable, match=r"^too many writers at once$"):
        beaten.synced(FIRST)
