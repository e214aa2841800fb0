"""The keys of the table's rows, and the partition key of each. Pure."""

from __future__ import annotations

from typing import NamedTuple

#: The API key's own account, as opposed to a connected one (`acct_…`). There is no other way to
#: write "no connected account": settings, events and keys all use this name.
OWN_ACCOUNT = "own"

#: Characters of an id or a type; Stripe's are far shorter.
MAX_NAME_CHARACTERS = 255

#: Kinds of rows that are kept equal to Stripe: the first segment of their partition key.
CUSTOMER = "CUS"
CONFIGURATION = "CONFIG"
CATALOG = "CATALOG"


class CustomerKey(NamedTuple):
    """A customer. Stripe's ids are unique within one account and one mode only."""

    account: str
    mode: str
    id: str

    @property
    def kind(self) -> str:
        return CUSTOMER

    @property
    def pk(self) -> str:
        """`CUS#own#test#cus_…`"""
        return f"{CUSTOMER}#{self.account}#{self.mode}#{self.id}"


class DocumentKey(NamedTuple):
    """A portal configuration (kind CONFIGURATION, by its id) or what is for sale (CATALOG)."""

    kind: str
    mode: str
    id: str = ""

    @property
    def pk(self) -> str:
        """`CONFIG#test#bpc_…`, `CATALOG#test`"""
        return f"{self.kind}#{self.mode}#{self.id}".rstrip("#")


#: What can be synced.
Key = CustomerKey | DocumentKey


class SubjectKey(NamedTuple):
    """Who is billed: the value of one verified claim of one issuer."""

    mode: str
    issuer: str
    subject: str

    @property
    def pk(self) -> str:
        return f"SUBJECT#{self.mode}#{self.issuer}#{self.subject}"


def key_of(pk: str) -> Key | None:
    """The key whose `pk` this is; None where it is not the key of anything that can be synced."""
    kind, _, rest = pk.partition("#")
    match kind, rest.split("#"):
        case "CUS", [account, ("test" | "live") as mode, name] if is_account(account):
            return CustomerKey(account, mode, name) if is_name(name) else None
        case "CONFIG", [("test" | "live") as mode, name] if is_name(name):
            return DocumentKey(CONFIGURATION, mode, name)
        case "CATALOG", [("test" | "live") as mode]:
            return DocumentKey(CATALOG, mode)
        case _:
            return None


def is_account(value: str) -> bool:
    """Whether `value` names an account: the key's own, or a connected one."""
    return value == OWN_ACCOUNT or (value.startswith("acct_") and is_name(value))


def is_name(value: object) -> bool:
    """Whether `value` can be an id or a type of Stripe's: printable, not empty, not too long."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARACTERS and value.isprintable()
