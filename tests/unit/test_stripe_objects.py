"""What every reader of Stripe's objects has to know."""

from __future__ import annotations

from typing import Any

import pytest

from billing.stripe_objects import all_pages, is_deleted

PAGES = {
    None: {"data": [{"id": "a"}, {"id": "b"}], "has_more": True},
    "b": {"data": [{"id": "c"}], "has_more": False},
}


def test_all_pages_are_read_each_after_the_last_object_of_the_one_before() -> None:
    assert [each["id"] for each in all_pages(PAGES.__getitem__)] == ["a", "b", "c"]


def test_a_first_page_that_is_at_hand_is_not_read_again() -> None:
    read: list[Any] = []

    def page_after(after: str | None) -> Any:
        read.append(after)
        return PAGES[after]

    found = all_pages(page_after, first={"data": [{"id": "x"}, {"id": "b"}], "has_more": True})
    assert [each["id"] for each in found] == ["x", "b", "c"]
    assert read == ["b"]


def test_an_empty_page_is_the_last_one_whatever_it_says() -> None:
    assert all_pages(lambda after: {"data": [], "has_more": True}) == []


@pytest.mark.parametrize(
    ("reference", "deleted"),
    [({"deleted": True}, True), ({"id": "cus_1"}, False), ("cus_1", False), (None, False)],
)
def test_only_an_expanded_reference_can_lead_to_a_deleted_object(
    reference: object, deleted: bool
) -> None:
    assert is_deleted(reference) is deleted
