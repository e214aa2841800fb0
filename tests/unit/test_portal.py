"""Opening a portal session: whose it is, where it leads back to, and what it may name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from billing.customers import REMEMBERED, Customers
from billing.errors import BadRequest, CustomerNotFound, NotFound
from billing.model import Billing, CustomerKey, CustomerRow, SubjectKey
from billing.portal import PortalSessions, parse_request
from tests.unit.fakes import MemoryStore

KEY = CustomerKey("own", "test", "cus_1")
OTHER = CustomerKey("own", "test", "cus_2")


class Stripe:
    def __init__(self) -> None:
        self.subscriptions = {
            "sub_own": {"customer": "cus_1", "items": {"data": [{"id": "si_own"}]}},
            "sub_other": {"customer": "cus_2", "items": {"data": [{"id": "si_other"}]}},
        }
        self.sessions: list[Mapping[str, Any]] = []
        self.gone = False

    def subscription(self, subscription: str) -> Mapping[str, Any] | None:
        return self.subscriptions.get(subscription)

    def create_portal_session(self, parameters: Mapping[str, Any]) -> str:
        if self.gone:
            raise CustomerNotFound
        self.sessions.append(parameters)
        return "https://billing.stripe.com/p/session/x"


class World:
    def __init__(self) -> None:
        self.store = MemoryStore(
            rows={key: CustomerRow(key=key, revision=1, billing=Billing()) for key in (KEY, OTHER)},
            links={
                SubjectKey("test", "https://issuer/", "user-1"): KEY,
                SubjectKey("test", "https://issuer/", "user-2"): OTHER,
            },
        )
        self.now = 0.0
        self.customers = Customers(
            self.store, mode="test", issuer="https://issuer/", clock=lambda: self.now
        )
        self.stripe = Stripe()

    def open(self, body: Mapping[str, Any] | None = None, subject: str = "user-1") -> str:
        return PortalSessions(
            customers=self.customers,
            stripe=self.stripe,
            allowed_origins=("https://app.example.com",),
            default_return_url="https://app.example.com/account",
            stage="prod",
        )(subject, parse_request(body or {}))


@pytest.fixture
def world() -> World:
    return World()


def test_the_customer_comes_from_the_subject_and_the_return_url_from_the_settings(
    world: World,
) -> None:
    assert world.open().startswith("https://billing.stripe.com/")
    assert world.stripe.sessions == [
        {"customer": "cus_1", "return_url": "https://app.example.com/account"}
    ]


def test_an_allowed_return_url_and_a_locale_are_passed_on(world: World) -> None:
    world.open({"return_url": "https://app.example.com/x", "locale": "pt-BR"})
    assert world.stripe.sessions[0]["return_url"] == "https://app.example.com/x"
    assert world.stripe.sessions[0]["locale"] == "pt-BR"


def test_a_foreign_return_url_is_refused_before_anything_is_asked(world: World) -> None:
    with pytest.raises(BadRequest):
        world.open({"return_url": "https://evil.example/"})
    assert world.store.reads == 0


def test_a_subject_without_a_customer_or_with_a_deleted_one_is_told_so(world: World) -> None:
    with pytest.raises(NotFound, match="no customer"):
        world.open(subject="nobody")
    world.store.rows[KEY] = CustomerRow(key=KEY, revision=2, billing=Billing(deleted=True))
    with pytest.raises(NotFound, match="no customer"):
        world.open()


def test_a_customer_that_stripe_does_not_have_any_more_is_a_404(world: World) -> None:
    world.stripe.gone = True
    with pytest.raises(NotFound, match="any more"):
        world.open()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"customer": "cus_2"}, "customer"),
        ({"customerId": "cus_2"}, "customerId"),
        ({"return_url": 5}, "return_url"),
        ({"return_url": None}, "return_url"),
        ({"locale": "not a locale"}, "locale"),
        ({"flow": {}}, "flow"),
        ({"flow": {"type": "become_admin"}}, "flow.type"),
        ({"flow": {"type": "customer_update", "customer": "cus_2"}}, "customer"),
        ({"flow": {"type": "subscription_cancel"}}, "subscription"),
        ({"flow": {"type": "subscription_update_confirm", "subscription": "sub_own"}}, "items"),
    ],
)
def test_a_body_that_is_not_of_the_contract_is_refused_by_name(
    world: World, body: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadRequest, match=named):
        world.open(body)


def test_a_flow_is_passed_on_in_stripes_shape(world: World) -> None:
    world.open({"flow": {"type": "payment_method_update"}})
    world.open({"flow": {"type": "subscription_cancel", "subscription": "sub_own"}})
    items = [{"id": "si_own", "price": "price_b", "quantity": 2}]
    world.open(
        {
            "flow": {
                "type": "subscription_update_confirm",
                "subscription": "sub_own",
                "items": items,
            }
        }
    )
    assert [session["flow_data"] for session in world.stripe.sessions] == [
        {"type": "payment_method_update"},
        {"type": "subscription_cancel", "subscription_cancel": {"subscription": "sub_own"}},
        {
            "type": "subscription_update_confirm",
            "subscription_update_confirm": {"subscription": "sub_own", "items": items},
        },
    ]


@pytest.mark.parametrize("subscription", ["sub_other", "sub_unknown"])
def test_a_subscription_that_is_not_the_callers_own_is_a_404(
    world: World, subscription: str
) -> None:
    with pytest.raises(NotFound, match="no such subscription"):
        world.open({"flow": {"type": "subscription_cancel", "subscription": subscription}})
    assert world.stripe.sessions == []


def test_an_item_that_is_not_of_that_subscription_is_a_404(world: World) -> None:
    flow = {
        "type": "subscription_update_confirm",
        "subscription": "sub_own",
        "items": [{"id": "si_other", "price": "price_b"}],
    }
    with pytest.raises(NotFound, match="no such item"):
        world.open({"flow": flow})


def test_a_warm_look_up_of_the_customer_is_one_read(world: World) -> None:
    world.customers.of("user-1")
    world.store.reads = 0
    world.customers.of("user-1")
    assert world.store.reads == 1
    world.now += REMEMBERED
    world.customers.of("user-1")
    assert world.store.reads == 3


def test_a_remembered_customer_that_was_deleted_gives_way_to_its_successor(world: World) -> None:
    found = world.customers.of("user-1")
    assert found is not None
    assert found.key == KEY
    world.store.rows[KEY] = CustomerRow(key=KEY, revision=2, billing=Billing(deleted=True))
    assert world.customers.of("user-1") is None
    world.store.links[SubjectKey("test", "https://issuer/", "user-1")] = OTHER
    found = world.customers.of("user-1")
    assert found is not None
    assert found.key == OTHER
