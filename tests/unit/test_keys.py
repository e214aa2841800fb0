"""The keys of rows, and what can be the name in one."""

from __future__ import annotations

import pytest

from billing.keys import (
    CATALOG,
    CONFIGURATION,
    MAX_NAME_CHARACTERS,
    CustomerKey,
    DocumentKey,
    Key,
    is_account,
    key_of,
)

LONGEST = "x" * MAX_NAME_CHARACTERS


@pytest.mark.parametrize("mode", ["test", "live"])
@pytest.mark.parametrize("name", ["x", "bpc_1X", LONGEST])
def test_a_key_can_be_read_from_its_partition_key(mode: str, name: str) -> None:
    keys: list[Key] = [
        CustomerKey("own", mode, name),
        CustomerKey("acct_1", mode, name),
        DocumentKey(CONFIGURATION, mode, name),
        DocumentKey(CATALOG, mode),
    ]
    assert [key_of(key.pk) for key in keys] == keys


@pytest.mark.parametrize("name", ["", LONGEST + "x", "a\nb", "\ud800"])
def test_what_cannot_be_a_name_is_in_no_key(name: str) -> None:
    assert key_of(f"CUS#own#test#{name}") is None
    assert key_of(f"CONFIG#test#{name}") is None
    assert not is_account(f"acct_{name}{LONGEST}")


def test_stripe_limits_no_name_to_more_characters() -> None:
    assert MAX_NAME_CHARACTERS == 255


@pytest.mark.parametrize("account", ["other", "org_1", "acct_" + LONGEST, ""])
def test_a_customer_belongs_to_the_keys_own_account_or_to_a_connected_one(account: str) -> None:
    assert is_account("own")
    assert is_account("acct_1")
    assert not is_account(account)
