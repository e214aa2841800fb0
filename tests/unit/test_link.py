"""Links: one customer per subject; a refused claim is remembered and succeeds when it can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from billing.customers import Customers
from billing.errors import QueueUnavailable
from billing.facts import Facts
from billing.history import TAKEN_OVER
from billing.keys import CustomerKey, SubjectKey
from billing.link import MAX_CLAIMANTS, Held, held
from billing.model import CustomerRow, Link
from billing.subjects import why_unusable
from billing.sync_request import CLAIM, SyncRequest
from tests.unit.fakes import request
from tests.unit.stripe_objects import NOW, customer
from tests.unit.test_sync import KEY, World

OTHER = CustomerKey("own", "test", "cus_2")
SUBJECT = SubjectKey("test", "https://issuer/", "user-1")


@pytest.fixture
def world() -> World:
    return World()


def claim(
    world: World, key: CustomerKey, subject: str | None, *, at: int = NOW, **metadata: str
) -> CustomerRow:
    """Sync a customer whose metadata claims `subject` since `at`."""
    claims = {"user_id": subject} if subject else {}
    world.stripe.customers[key.id] = customer(id=key.id, metadata=claims | metadata)
    world.stripe.now = at
    return world.sync(request(f"evt_{at}", up_to=at, key=key), key=key)


def delete(world: World, key: CustomerKey, *, at: int = NOW) -> CustomerRow:
    world.stripe.customers[key.id] = {"id": key.id, "deleted": True}
    world.stripe.now = at
    return world.sync(request(f"evt_{at}", up_to=at, key=key), key=key)


def claims(world: World) -> list[SyncRequest]:
    """The syncs that were requested because a claim may succeed now."""
    return [sent for sent, after in world.queue.requests if (sent.cause.type, after) == (CLAIM, 0)]


@pytest.mark.parametrize("subject", ["x" * 257, "[a b]", "map[a:b]"])
def test_a_claim_that_cannot_be_a_subject_is_reported_and_creates_no_link(
    world: World, subject: str
) -> None:
    row = claim(world, KEY, subject)
    assert (row.revision, row.subject, world.store.links) == (1, None, {})
    ((name, details),) = world.reports.all
    assert (name, details) == (
        "SubjectUnusable",
        {"customer": "cus_1", "reason": why_unusable(subject)},
    )


def test_the_metadata_links_the_subject_once(world: World) -> None:
    row = claim(world, KEY, "user-1")
    assert (row.subject, row.issuer) == ("user-1", "https://issuer/")
    assert world.store.linked == {"user-1": "cus_1"}
    assert claim(world, KEY, "user-1", at=NOW + 90).subject == "user-1"
    assert world.store.links[SUBJECT].revision == 1


def test_a_second_customer_that_claims_the_subject_is_reported_and_remembered(world: World) -> None:
    claim(world, KEY, "user-1")
    row = claim(world, OTHER, "user-1")
    assert (row.revision, row.subject, row.facts.claimed_subject) == (1, None, "user-1")
    assert world.reports.all[-1] == (
        "SubjectTaken",
        {"customer": "cus_2", "claimed": "user-1", "held_by": "cus_1"},
    )
    held = Link(key=SUBJECT, revision=2, customer=KEY, claimants=(OTHER,))
    assert world.store.links == {SUBJECT: held}
    # Once is enough.
    claim(world, OTHER, "user-1", at=NOW + 90)
    assert world.store.links == {SUBJECT: held}


def test_when_the_holder_is_deleted_those_who_wait_are_synced_and_one_takes_over(
    world: World,
) -> None:
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    assert claims(world) == []
    delete(world, KEY, at=NOW + 500)
    (woken,) = claims(world)
    assert (woken.key, woken.cause.id) == (OTHER, "cus_1")

    row = world.sync(woken, key=OTHER)
    assert (row.subject, row.issuer) == ("user-1", "https://issuer/")
    newest = row.transitions[0]
    assert (newest.type, newest.event, newest.at) == (TAKEN_OVER, "cus_1", row.as_of)
    assert world.reports.all[-1] == (
        "SubjectTakenOver",
        {"customer": "cus_2", "claimed": "user-1", "held_by": "cus_1"},
    )
    taken = Link(key=SUBJECT, revision=3, customer=OTHER)
    assert world.store.links == {SUBJECT: taken}
    assert (world.row.subject, world.row.deleted, world.row.revision) == (None, True, 3)
    # The tombstone holds nothing any more, and a deleted customer needs no sync.


def test_a_tombstone_wakes_them_again_when_its_message_comes_again(world: World) -> None:
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    delete(world, KEY, at=NOW + 500)
    world.queue.requests.clear()
    world.stripe.calls.clear()
    world.sync(request("evt_again", up_to=NOW + 500))
    assert [woken.key for woken in claims(world)] == [OTHER]
    assert world.stripe.calls == []


def test_a_message_is_not_acknowledged_before_those_who_wait_are_woken(world: World) -> None:
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    delete(world, KEY, at=NOW + 500)
    world.queue.error = QueueUnavailable()
    with pytest.raises(QueueUnavailable):
        world.sync(request("evt_again", up_to=NOW + 500))


def test_a_claimant_that_holds_another_subject_is_not_woken(world: World) -> None:
    """It cannot take this one over. Otherwise two customers could wake each other for ever."""
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    claim(world, OTHER, "user-2", at=NOW + 200)
    assert world.store.linked == {"user-1": "cus_1", "user-2": "cus_2"}
    delete(world, KEY, at=NOW + 500)
    assert claims(world) == []


@pytest.mark.parametrize("subject", ["x" * 257, "[a b]"])
def test_a_claim_that_can_be_no_subject_requests_no_sync_of_its_own(
    world: World, subject: str
) -> None:
    claim(world, KEY, "user-1")
    claim(world, KEY, subject, at=NOW + 500)
    claim(world, OTHER, subject, at=NOW + 500)
    assert claims(world) == []


def test_a_deleted_customer_is_not_woken_even_if_its_row_still_claims(world: World) -> None:
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    # The first release's tombstones kept what the metadata had claimed.
    gone = Facts(deleted=True, claimed_subject="user-1")
    world.store.rows[OTHER] = CustomerRow(key=OTHER, revision=2, facts=gone)
    delete(world, KEY, at=NOW + 500)
    assert claims(world) == []


@pytest.mark.parametrize(
    ("subject", "issuer"), [("user-1", "https://issuer/"), ("user-2", "https://unknown/")]
)
def test_a_claimant_whose_row_names_a_subject_that_it_does_not_hold_is_woken(
    world: World, subject: str, issuer: str
) -> None:
    """The same subject, which the other holds, or one by an issuer that is not named any more."""
    claim(world, KEY, "user-1")
    row = claim(world, OTHER, "user-1")
    world.store.rows[OTHER] = replace(row, subject=subject, issuer=issuer)
    delete(world, KEY, at=NOW + 500)
    assert [woken.key for woken in claims(world)] == [OTHER]


def test_a_holder_keeps_its_subject_while_nobody_else_claims_it(world: World) -> None:
    claim(world, KEY, "user-1")
    row = claim(world, KEY, None, at=NOW + 500)
    assert row.subject == "user-1"
    assert claims(world) == []


def test_a_holder_that_claims_another_subject_moves_once_its_row_says_so(world: World) -> None:
    claim(world, KEY, "user-1")
    row = claim(world, KEY, "user-2", at=NOW + 500)
    assert row.subject == "user-1"
    (again,) = claims(world)
    assert again.key == KEY
    assert world.sync(again).subject == "user-2"
    assert world.store.linked == {"user-1": "cus_1", "user-2": "cus_1"}
    assert (
        "SubjectChanged",
        {"customer": "cus_1", "held": "user-1", "claimed": "user-2"},
    ) in world.reports.all


def test_a_function_of_the_release_before_does_not_move_a_customer_at_once(world: World) -> None:
    world.issuers = ("https://new/", "https://issuer/")
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    # It has been deployed before the issuer changed, and still runs.
    world.issuers = ("https://issuer/",)
    row = claim(world, KEY, "user-2", at=NOW + 500)
    assert (row.subject, row.issuer) == ("user-1", "https://new/")
    assert [request.key for request in claims(world)] == [OTHER, KEY]


def test_a_holder_whose_wanted_subject_is_taken_meanwhile_is_remembered_with_it(
    world: World,
) -> None:
    claim(world, KEY, "user-1")

    def taken() -> None:
        claim(world, OTHER, "user-2", at=NOW + 500)

    world.store.before_commit = taken
    claim(world, KEY, "user-2", at=NOW + 500)
    (again,) = claims(world)
    world.sync(again)
    assert world.store.links[SubjectKey("test", "https://issuer/", "user-2")].claimants == (KEY,)


def test_customers_that_claim_a_subject_no_more_are_forgotten_before_one_that_does(
    world: World,
) -> None:
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    for number in range(MAX_CLAIMANTS - 1):
        key = CustomerKey("own", "test", f"cus_x{number}")
        claim(world, key, "user-1")
        claim(world, key, None)
        # Nobody is forgotten as long as there is room.
        assert len(world.store.links[SUBJECT].claimants) == number + 2
    claim(world, CustomerKey("own", "test", "cus_last"), "user-1")
    assert [key.id for key in world.store.links[SUBJECT].claimants] == ["cus_2", "cus_last"]


def test_a_holder_keeps_its_subject_while_a_living_customer_has_the_one_it_claims(
    world: World,
) -> None:
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-2")
    row = claim(world, KEY, "user-2", at=NOW + 500)
    assert row.subject == "user-1"
    assert claims(world) == []
    delete(world, OTHER, at=NOW + 600)
    (woken,) = claims(world)
    assert world.sync(woken).subject == "user-2"


def test_two_customers_whose_claims_were_swapped_swap_their_subjects(world: World) -> None:
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-2")
    claim(world, KEY, "user-2", at=NOW + 500)
    claim(world, OTHER, "user-1", at=NOW + 600)
    for _ in range(4):
        for claimed in claims(world):
            assert isinstance(claimed.key, CustomerKey)
            world.sync(claimed, key=claimed.key)
    subjects = {key.id: row.subject for key, row in world.store.rows.items()}
    assert subjects == {"cus_1": "user-2", "cus_2": "user-1"}


def test_a_holder_that_moves_first_wakes_those_who_wait_for_the_subject_it_leaves(
    world: World,
) -> None:
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    claim(world, KEY, "user-2", at=NOW + 500)
    own = [request for request in claims(world) if request.key == KEY]
    # Whoever should have been woken after the commit was not: the function had crashed.
    world.queue.requests.clear()
    assert world.sync(*own).subject == "user-2"
    (woken,) = claims(world)
    assert woken.key == OTHER
    assert world.sync(woken, key=OTHER).subject == "user-1"


def test_a_holder_that_gives_its_claim_up_yields_and_then_gets_what_it_claims(world: World) -> None:
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    claim(world, KEY, "user-2", at=NOW + 500)
    woken, own = claims(world)
    assert (woken.key, own.key) == (OTHER, KEY)
    assert world.sync(woken, key=OTHER).subject == "user-1"
    assert world.row.subject is None
    assert world.sync(own).subject == "user-2"
    assert world.store.linked == {"user-1": "cus_2", "user-2": "cus_1"}


def test_a_takeover_and_a_commit_of_the_holder_do_not_both_happen(world: World) -> None:
    claim(world, KEY, "user-1")
    claim(world, KEY, None, at=NOW + 500)

    def the_holder_claims_it_again() -> None:
        claim(world, KEY, "user-1", at=NOW + 501)

    world.store.before_commit = the_holder_claims_it_again
    row = claim(world, OTHER, "user-1", at=NOW + 501)
    assert (row.subject, world.row.subject) == (None, "user-1")
    assert world.store.links[SUBJECT].claimants == (OTHER,)


def test_a_holder_that_yields_while_a_claim_is_refused_is_noticed(world: World) -> None:
    claim(world, KEY, "user-1")

    def the_holder_is_deleted() -> None:
        delete(world, KEY, at=NOW + 500)

    # After the holder was read, before the claim is remembered: nobody is there to be woken.
    world.store.before_commit = the_holder_is_deleted
    row = claim(world, OTHER, "user-1", at=NOW + 500)
    assert row.subject is None
    (noticed,) = claims(world)
    assert world.sync(noticed, key=OTHER).subject == "user-1"


def test_only_so_many_claims_are_remembered(world: World) -> None:
    claim(world, KEY, "user-1")
    many = [CustomerKey("own", "test", f"cus_x{number}") for number in range(MAX_CLAIMANTS + 1)]
    for key in many:
        claim(world, key, "user-1")
    assert world.store.links[SUBJECT].claimants == tuple(many[1:])
    assert ("ClaimForgotten", {"customer": "cus_x0", "claimed": "user-1"}) in world.reports.all


def test_while_there_is_room_even_the_claim_of_a_deleted_customer_is_kept(world: World) -> None:
    claim(world, KEY, "user-1")
    many = [CustomerKey("own", "test", f"cus_x{number}") for number in range(MAX_CLAIMANTS)]
    for key in many[:-1]:
        claim(world, key, "user-1")
    delete(world, many[0], at=NOW + 200)
    claim(world, many[-1], "user-1", at=NOW + 200)
    assert world.store.links[SUBJECT].claimants == tuple(many)


def test_the_claims_of_deleted_customers_are_forgotten_before_a_living_one(world: World) -> None:
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    for number in range(MAX_CLAIMANTS):
        gone = CustomerKey("own", "test", f"cus_x{number}")
        claim(world, gone, "user-1")
        delete(world, gone, at=NOW + 200)
    assert OTHER in world.store.links[SUBJECT].claimants
    assert "ClaimForgotten" not in world.reports.names


def test_the_others_that_wait_are_remembered_after_a_takeover(world: World) -> None:
    third = CustomerKey("own", "test", "cus_3")
    for key in (KEY, OTHER, third):
        claim(world, key, "user-1")
    delete(world, KEY, at=NOW + 500)
    claim(world, third, "user-1", at=NOW + 500)
    assert world.store.links[SUBJECT].customer == third
    assert world.store.links[SUBJECT].claimants == (OTHER,)


FORMER = "https://issuer-of-before/"


def linked_by_the_former_issuer(world: World) -> SubjectKey:
    """The customer KEY holds "user-1" and OTHER waits; then the stack gets another issuer."""
    world.issuers = (FORMER,)
    claim(world, KEY, "user-1")
    claim(world, OTHER, "user-1")
    world.issuers = ("https://issuer/", FORMER)
    return SubjectKey("test", FORMER, "user-1")


def test_the_holder_under_a_former_issuer_is_the_holder(world: World) -> None:
    linked_by_the_former_issuer(world)
    third = CustomerKey("own", "test", "cus_3")
    row = claim(world, third, "user-1", at=NOW + 500)
    assert row.subject is None
    # The claim is remembered under the current issuer, with those from before.
    assert world.store.links[SUBJECT] == Link(
        key=SUBJECT, revision=1, customer=KEY, claimants=(OTHER, third)
    )
    delete(world, KEY, at=NOW + 900)
    assert [woken.key for woken in claims(world)] == [OTHER, third]


def test_a_customer_of_a_former_issuer_is_linked_anew_with_those_who_wait(world: World) -> None:
    former = linked_by_the_former_issuer(world)
    before = world.store.links[former]
    row = claim(world, KEY, "user-1", at=NOW + 500)
    assert (row.subject, row.issuer) == ("user-1", "https://issuer/")
    assert world.store.links[SUBJECT] == replace(before, key=SUBJECT, revision=1)
    assert world.store.links[former] == before


def test_those_who_wait_under_a_former_issuer_are_woken(world: World) -> None:
    linked_by_the_former_issuer(world)
    delete(world, KEY, at=NOW + 500)
    (woken,) = claims(world)
    row = world.sync(woken, key=OTHER)
    assert (row.subject, row.issuer) == ("user-1", "https://issuer/")
    assert (world.row.subject, world.row.issuer) == (None, None)


def test_a_link_counts_only_where_the_row_of_its_customer_says_the_same(world: World) -> None:
    """The issuer was changed, OTHER took the subject over, and the issuer was changed back."""
    linked_by_the_former_issuer(world)
    delete(world, KEY, at=NOW + 500)
    claim(world, OTHER, "user-1", at=NOW + 500)
    world.issuers = (FORMER, "https://issuer/")
    third = CustomerKey("own", "test", "cus_3")
    assert claim(world, third, "user-1", at=NOW + 900).subject is None
    assert world.reports.all[-1][1]["held_by"] == "cus_2"
    assert claim(world, OTHER, "user-1", at=NOW + 900).issuer == FORMER


def test_those_who_wait_are_found_under_every_issuer(world: World) -> None:
    """A link of the current issuer that leads to no holder may have claimants too."""
    linked_by_the_former_issuer(world)
    third = CustomerKey("own", "test", "cus_3")
    stray = Link(key=SUBJECT, revision=1, customer=third, claimants=(third,))
    world.store.links[SUBJECT] = stray
    found = held("user-1", mode="test", issuers=world.issuers, store=world.store)
    assert found == Held(stray, world.row, False, (third, OTHER))


def test_a_subject_that_nobody_holds_is_linked_under_the_current_issuer(world: World) -> None:
    former = linked_by_the_former_issuer(world)
    world.store.rows[KEY] = replace(world.row, subject=None, issuer=None)
    before = world.store.links[former]
    assert claim(world, OTHER, "user-1", at=NOW + 500).subject == "user-1"
    assert world.store.links == {
        SUBJECT: Link(key=SUBJECT, revision=1, customer=OTHER),
        former: before,
    }


def test_a_link_by_an_issuer_that_is_not_named_any_more_holds_nothing(world: World) -> None:
    linked_by_the_former_issuer(world)
    world.issuers = ("https://issuer/",)
    assert claim(world, OTHER, "user-1", at=NOW + 500).subject == "user-1"
    row = claim(world, KEY, "user-2", at=NOW + 500)
    assert (row.subject, row.issuer) == ("user-2", "https://issuer/")


@pytest.mark.parametrize("named", ["https://issuer/", FORMER])
def test_metadata_may_name_the_current_or_a_former_issuer(world: World, named: str) -> None:
    world.issuers = ("https://issuer/", FORMER)
    row = claim(world, KEY, "user-1", user_id_issuer=named)
    assert (row.subject, row.issuer) == ("user-1", "https://issuer/")


def test_metadata_that_names_another_issuer_links_nobody(world: World) -> None:
    row = claim(world, KEY, "user-1", user_id_issuer="https://elsewhere/")
    assert (row.subject, world.store.links) == (None, {})
    assert world.reports.all[-1] == (
        "SubjectOfAnotherIssuer",
        {"customer": "cus_1", "claimed": "user-1", "issuer": "https://elsewhere/"},
    )


def test_a_holder_whose_metadata_names_another_issuer_yields(world: World) -> None:
    claim(world, KEY, "user-1")
    claim(world, KEY, "user-1", at=NOW + 500, user_id_issuer="https://elsewhere/")
    assert world.row.subject == "user-1"
    assert claim(world, OTHER, "user-1", at=NOW + 500).subject == "user-1"


def test_a_new_issuer_links_the_same_subject_again(world: World) -> None:
    before = claim(world, KEY, "user-1")
    world.store.rows[KEY] = replace(before, issuer=FORMER)
    world.store.links.clear()
    row = claim(world, KEY, "user-1", at=NOW + 500)
    assert (row.subject, row.issuer) == ("user-1", "https://issuer/")
    assert world.store.linked == {"user-1": "cus_1"}


def test_a_sync_that_loses_the_race_for_a_link_still_writes_the_billing(world: World) -> None:
    def another_link() -> None:
        claim(world, OTHER, "user-1")

    world.store.before_commit = another_link
    row = claim(world, KEY, "user-1")
    assert (row.revision, row.subject) == (1, None)
    assert world.reports.all[-1][1]["held_by"] == "cus_2"


def test_a_customer_that_lost_its_subject_while_its_issuer_was_unknown_gives_it_up(
    world: World,
) -> None:
    """Otherwise two rows would hold one subject, each by another issuer."""
    world.issuers = ("https://old/",)
    claim(world, KEY, "user-1")
    world.issuers = ("https://new/",)
    claim(world, OTHER, "user-1", at=NOW + 200)
    world.issuers = ("https://new/", "https://old/")
    row = claim(world, KEY, "user-1", at=NOW + 400)
    assert (row.subject, row.issuer) == (None, None)
    # And it is the first to be woken.
    delete(world, OTHER, at=NOW + 600)
    assert [woken.key for woken in claims(world)] == [KEY]


def test_a_row_that_names_a_subject_of_another_customer_may_claim_its_own(world: World) -> None:
    world.issuers = ("https://old/",)
    claim(world, KEY, "user-1")
    world.issuers = ("https://new/",)
    claim(world, OTHER, "user-1", at=NOW + 200)
    world.issuers = ("https://new/", "https://old/")
    assert claim(world, KEY, "user-5", at=NOW + 400).subject == "user-5"
    delete(world, OTHER, at=NOW + 600)
    readers = Customers(world.store, mode="test", issuers=world.issuers, clock=lambda: float(NOW))
    assert readers.of("user-1") is None
    found = readers.of("user-5")
    assert found is not None
    assert found.key == KEY


def test_a_reader_does_not_look_behind_a_deleted_customer_that_holds_the_subject(
    world: World,
) -> None:
    """A link of a former issuer may lead to a row that names the subject too."""
    former = linked_by_the_former_issuer(world)
    deleted = CustomerKey("own", "test", "cus_3")
    world.store.rows[deleted] = CustomerRow(
        key=deleted, revision=1, subject="user-1", issuer=SUBJECT.issuer, facts=Facts(deleted=True)
    )
    issuers = (SUBJECT.issuer, former.issuer)
    readers = Customers(world.store, mode="test", issuers=issuers, clock=lambda: float(NOW))
    assert readers.of("user-1") is not None
    world.store.links[SUBJECT] = Link(key=SUBJECT, revision=1, customer=deleted)
    readers = Customers(world.store, mode="test", issuers=issuers, clock=lambda: float(NOW))
    assert readers.of("user-1") is None
