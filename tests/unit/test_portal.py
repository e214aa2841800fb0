"""Creating a portal session: its customer, its return URL, its configuration and its flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest
from stripe.params.billing_portal import SessionCreateParamsFlowData

from billing.configuration.file import Checkout, Configuration, PortalConfiguration
from billing.configuration.shapes import PORTAL_CONFIGURATION, Table
from billing.customers import LINK_CACHE_SECONDS, Customers
from billing.errors import (
    BadRequest,
    CustomerNotFound,
    Forbidden,
    NotFound,
    StateConflict,
    StripeRefused,
)
from billing.facts import Facts, Grant
from billing.keys import CONFIGURATION, CustomerKey, DocumentKey, SubjectKey
from billing.model import CustomerRow, DocumentRow, Link
from billing.portal.flows import FLOWS
from billing.portal.sessions import PortalSessions
from billing.return_urls import ReturnUrls
from tests.unit.fakes import MemoryStore
from tests.unit.stripe_objects import NOW, POLICY

KEY = CustomerKey("own", "test", "cus_1")
OTHER = CustomerKey("own", "test", "cus_2")


class Stripe:
    def __init__(self) -> None:
        self.subscriptions: dict[str, dict[str, Any]] = {
            "sub_own": owned("sub_own", "cus_1", "si_own"),
            "sub_other": owned("sub_other", "cus_2", "si_other"),
        }
        self.sessions: list[Mapping[str, Any]] = []
        self.customer_deleted = False
        self.refuses = False

    def find_price_id(self, lookup_key: str) -> str | None:
        return {"team_yearly": "price_team_yearly"}.get(lookup_key)

    def retrieve_subscription(self, subscription: str) -> Mapping[str, Any] | None:
        return self.subscriptions.get(subscription)

    def create_portal_session(self, parameters: Mapping[str, Any]) -> str:
        if self.customer_deleted:
            raise CustomerNotFound
        if self.refuses:
            raise StripeRefused(400, None, "flow_data[type]", "InvalidRequestError")
        self.sessions.append(parameters)
        return "https://billing.stripe.com/p/session/x"


def owned(name: str, customer: str, item: str) -> dict[str, Any]:
    """A subscription of `customer` with one licensed item."""
    price = {"id": "price_a", "recurring": {"usage_type": "licensed"}}
    return {
        "id": name,
        "customer": customer,
        "status": "active",
        "cancel_at": None,
        "cancel_at_period_end": False,
        "pause_collection": None,
        "pending_update": None,
        "schedule": None,
        "items": {"data": [{"id": item, "price": price, "current_period_end": 1}]},
    }


def configuration(name: str, *features: str, **rules: Any) -> PortalConfiguration:
    parameters = {"features": {feature: {"enabled": True} for feature in features}}
    return PortalConfiguration(name=name, parameters=parameters, **rules)


EVERYTHING = (
    "customer_update",
    "payment_method_update",
    "subscription_cancel",
    "subscription_pause",
    "subscription_update",
)
FILE = Configuration(
    configurations=(
        configuration("default", *EVERYTHING),
        configuration("enterprise", "payment_method_update", when_features=("sso",)),
    ),
    retention_coupons=frozenset({"STAY20"}),
    promotion_codes=frozenset({"promo_spring"}),
    checkout=Checkout(),
)


def row_of(key: CustomerKey, subject: str, *grants: Grant) -> CustomerRow:
    return CustomerRow(
        key=key,
        revision=1,
        subject=subject,
        issuer="https://issuer/",
        facts=Facts(grants=grants),
    )


class World:
    def __init__(self) -> None:
        self.store = MemoryStore(
            rows={KEY: row_of(KEY, "user-1"), OTHER: row_of(OTHER, "user-2")},
            links={
                SubjectKey("test", "https://issuer/", "user-1"): KEY,
                SubjectKey("test", "https://issuer/", "user-2"): OTHER,
            },
        )
        self.now = 0.0
        self.customers = Customers(
            self.store, mode="test", issuers=("https://issuer/",), clock=lambda: self.now
        )
        self.stripe = Stripe()
        self.ids = {"default": "bpc_default", "enterprise": "bpc_enterprise"}
        self.on_behalf_of = self.account = "own"

    def configuration_named(self, mode: str, name: str) -> str | None:
        assert mode == "test"
        return self.ids.get(name)

    def load_document(self, key: DocumentKey, *, consistent: bool = True) -> DocumentRow:
        return self.store.load_document(key)

    def offers(self, configuration_id: str, *, active: bool = True, **features: bool) -> None:
        """Store what a configuration in Stripe offers."""
        key = DocumentKey(CONFIGURATION, "test", configuration_id)
        content = {"active": active, "features": features}
        self.store.documents[key] = DocumentRow(key=key, revision=1, content=content)

    def create(self, body: Mapping[str, Any] | None = None, subject: str = "user-1") -> str:
        return PortalSessions(
            customers=self.customers,
            stripe=self.stripe,
            store=self,
            configuration=FILE,
            policy=POLICY,
            on_behalf_of=self.on_behalf_of,
            account=self.account,
            clock=lambda: NOW,
            mode="test",
            return_urls=ReturnUrls(
                allowed_origins=("https://app.example.com",),
                default="https://app.example.com/account",
                stage="prod",
            ),
        ).create(subject, body or {})


@pytest.fixture
def world() -> World:
    return World()


def test_a_session_is_for_the_subjects_customer_and_has_the_default_return_url(
    world: World,
) -> None:
    assert world.create().startswith("https://billing.stripe.com/")
    assert world.stripe.sessions == [
        {
            "customer": "cus_1",
            "return_url": "https://app.example.com/account",
            "configuration": "bpc_default",
        }
    ]


def test_an_allowed_return_url_and_a_locale_are_passed_on(world: World) -> None:
    world.create({"return_url": "https://app.example.com/x", "locale": "pt-BR"})
    assert world.stripe.sessions[0]["return_url"] == "https://app.example.com/x"
    assert world.stripe.sessions[0]["locale"] == "pt-BR"


def test_a_foreign_return_url_is_refused_before_the_table_is_read(world: World) -> None:
    with pytest.raises(BadRequest):
        world.create({"return_url": "https://evil.example/"})
    assert world.store.reads == 0


def test_a_subject_without_a_customer_or_with_a_deleted_one_is_a_404(world: World) -> None:
    with pytest.raises(NotFound, match="No Stripe customer exists"):
        world.create(subject="nobody")
    world.store.rows[KEY] = CustomerRow(key=KEY, revision=2, facts=Facts(deleted=True))
    with pytest.raises(NotFound, match="No Stripe customer exists"):
        world.create()


def test_a_customer_that_no_longer_exists_in_stripe_is_a_404(world: World) -> None:
    world.stripe.customer_deleted = True
    with pytest.raises(NotFound, match="deleted"):
        world.create()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"customer": "cus_2"}, "customer"),
        ({"customerId": "cus_2"}, "customerId"),
        ({"return_url": 5}, "return_url"),
        ({"return_url": None}, "return_url"),
        ({"locale": "not a locale"}, "locale"),
        ({"locale": "xx"}, "locale"),
        ({"flow": {"type": "subscription_cancel", "subscription": ".."}}, "subscription"),
        ({"flow": {"type": "subscription_cancel", "subscription": "a/b"}}, "subscription"),
        ({"flow": {}}, "flow"),
        ({"flow": {"type": "become_admin"}}, "flow.type"),
        ({"flow": {"type": "customer_update", "customer": "cus_2"}}, "customer"),
        ({"flow": {"type": "subscription_cancel"}}, "subscription"),
        ({"flow": {"type": "subscription_update_confirm", "subscription": "sub_own"}}, "items"),
        ({"flow": {"type": "customer_update", "subscription": "sub_own"}}, "subscription"),
        (
            {"flow": {"type": "customer_update", "after_completion": {"type": "redirect"}}},
            "return_url",
        ),
        (
            {
                "flow": {
                    "type": "customer_update",
                    "after_completion": {"type": "portal_homepage", "custom_message": "x"},
                }
            },
            "custom_message",
        ),
        ({"configuration": "unknown"}, "unknown"),
        ({"configuration": 7}, "configuration"),
    ],
)
def test_a_body_outside_the_contract_is_refused_by_name(
    world: World, body: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadRequest, match=named):
        world.create(body)


def test_a_flow_is_passed_on_in_stripes_shape(world: World) -> None:
    world.create({"flow": {"type": "payment_method_update"}})
    world.create({"flow": {"type": "subscription_cancel", "subscription": "sub_own"}})
    items = [{"id": "si_own", "price": "price_b", "quantity": 2}]
    world.create(
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
        world.create({"flow": {"type": "subscription_cancel", "subscription": subscription}})
    assert world.stripe.sessions == []


def test_an_item_of_another_subscription_is_a_404(world: World) -> None:
    flow = {
        "type": "subscription_update_confirm",
        "subscription": "sub_own",
        "items": [{"id": "si_other", "price": "price_b"}],
    }
    with pytest.raises(NotFound, match="no such item"):
        world.create({"flow": flow})


def test_a_cached_lookup_of_the_customer_needs_one_read(world: World) -> None:
    world.customers.of("user-1")
    world.store.reads = 0
    world.customers.of("user-1")
    assert world.store.reads == 1
    world.now += LINK_CACHE_SECONDS
    world.customers.of("user-1")
    assert world.store.reads == 3


def test_a_cached_customer_that_was_deleted_is_replaced_by_the_next_one(world: World) -> None:
    found = world.customers.of("user-1")
    assert found is not None
    assert found.key == KEY
    world.store.rows[KEY] = CustomerRow(key=KEY, revision=2, facts=Facts(deleted=True))
    assert world.customers.of("user-1") is None
    subject = SubjectKey("test", "https://issuer/", "user-1")
    world.store.links[subject] = Link(key=subject, revision=2, customer=OTHER)
    world.store.rows[OTHER] = row_of(OTHER, "user-1")
    found = world.customers.of("user-1")
    assert found is not None
    assert found.key == OTHER


def test_a_customer_linked_by_a_former_issuer_is_found_until_it_is_linked_anew(
    world: World,
) -> None:
    def customers(*former: str) -> Customers:
        issuers = ("https://new/", *former)
        return Customers(world.store, mode="test", issuers=issuers, clock=lambda: world.now)

    assert customers().of("user-1") is None
    assert customers("https://other/").of("user-1") is None
    found = customers("https://other/", "https://issuer/")
    row = found.of("user-1")
    assert row is not None
    assert row.key == KEY
    world.store.reads = 0
    assert found.of("user-1") == row
    assert world.store.reads == 1
    # Its next sync links it anew; no process loses it, not even one that does not know the issuer:
    # an older one during a deploy, or after a rollback.
    world.store.rows[KEY] = replace(row, issuer="https://newest/")
    for process in (found, customers("https://issuer/")):
        again = process.of("user-1")
        assert again is not None
        assert again.key == KEY


@pytest.mark.parametrize("owner", ["user-2", None])
def test_a_link_to_a_row_with_another_subject_finds_no_customer(
    world: World, owner: str | None
) -> None:
    world.store.rows[KEY] = row_of(KEY, "user-1")
    assert world.customers.of("user-1") is not None
    world.store.rows[KEY] = replace(world.store.rows[KEY], subject=owner)
    assert world.customers.of("user-1") is None


def test_the_cache_of_links_is_cleared_when_it_is_full(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.customers.MAX_CACHED_LINKS", 1)
    world.customers.of("user-1")
    world.customers.of("user-2")
    world.store.reads = 0
    world.customers.of("user-1")
    assert world.store.reads == 2


CANCEL = {"type": "subscription_cancel", "subscription": "sub_own"}
UPDATE = {"type": "subscription_update", "subscription": "sub_own"}
PAUSE = {"type": "subscription_pause", "subscription": "sub_own"}


def test_a_retention_coupon_a_discount_and_after_completion_are_passed_on(world: World) -> None:
    back = {"type": "redirect", "return_url": "https://app.example.com/bye"}
    world.create({"flow": {**CANCEL, "retention": {"coupon": "STAY20"}, "after_completion": back}})
    thanks = {"type": "hosted_confirmation", "custom_message": "Thank you"}
    world.create(
        {
            "flow": {
                "type": "subscription_update_confirm",
                "subscription": "sub_own",
                "items": [{"id": "si_own", "price": "team_yearly"}],
                "discounts": [{"promotion_code": "promo_spring"}],
                "after_completion": thanks,
            }
        }
    )
    assert [session["flow_data"] for session in world.stripe.sessions] == [
        {
            "type": "subscription_cancel",
            "after_completion": {
                "type": "redirect",
                "redirect": {"return_url": "https://app.example.com/bye"},
            },
            "subscription_cancel": {
                "subscription": "sub_own",
                "retention": {"type": "coupon_offer", "coupon_offer": {"coupon": "STAY20"}},
            },
        },
        {
            "type": "subscription_update_confirm",
            "after_completion": {
                "type": "hosted_confirmation",
                "hosted_confirmation": {"custom_message": "Thank you"},
            },
            "subscription_update_confirm": {
                "subscription": "sub_own",
                "items": [{"id": "si_own", "price": "price_team_yearly"}],
                "discounts": [{"promotion_code": "promo_spring"}],
            },
        },
    ]


def test_a_coupon_that_the_deployment_does_not_offer_is_refused(world: World) -> None:
    with pytest.raises(BadRequest, match="FREE100"):
        world.create({"flow": {**CANCEL, "retention": {"coupon": "FREE100"}}})
    confirmed = {
        "type": "subscription_update_confirm",
        "subscription": "sub_own",
        "items": [{"id": "si_own"}],
        "discounts": [{"coupon": "STAY20"}],
    }
    with pytest.raises(BadRequest, match="STAY20"):
        world.create({"flow": confirmed})


def test_after_completion_redirects_only_to_allowed_origins(world: World) -> None:
    elsewhere = {"type": "redirect", "return_url": "https://evil.example/"}
    with pytest.raises(BadRequest):
        world.create({"flow": {**CANCEL, "after_completion": elsewhere}})


@pytest.mark.parametrize(
    ("flow", "state", "reason"),
    [
        (CANCEL, {"status": "canceled"}, "ended"),
        (CANCEL, {"cancel_at": 1_790_000_000}, "2026-09-21"),
        (CANCEL, {"cancel_at_period_end": True}, "already scheduled to end"),
        (UPDATE, {"schedule": "sub_sched_1"}, "scheduled"),
        (UPDATE, {"pending_update": {"expires_at": 1}}, "payment"),
        (PAUSE, {"status": "paused"}, "already paused"),
        (PAUSE, {"schedule": "sub_sched_1"}, "scheduled"),
    ],
)
def test_a_flow_that_the_portal_would_refuse_is_a_conflict(
    world: World, flow: dict[str, Any], state: dict[str, Any], reason: str
) -> None:
    world.stripe.subscriptions["sub_own"] |= state
    with pytest.raises(StateConflict, match=reason):
        world.create({"flow": flow})
    assert world.stripe.sessions == []


def test_a_subscription_with_several_products_or_usage_billing_can_be_cancelled_but_not_changed(
    world: World,
) -> None:
    items = world.stripe.subscriptions["sub_own"]["items"]["data"]
    items.append({**items[0], "id": "si_second"})
    with pytest.raises(StateConflict, match="several products"):
        world.create({"flow": UPDATE})
    items.pop()
    items[0]["price"]["recurring"]["usage_type"] = "metered"
    with pytest.raises(StateConflict, match="usage"):
        world.create({"flow": UPDATE})
    world.create({"flow": CANCEL})


def test_a_flow_that_stripe_refuses_is_a_conflict_too(world: World) -> None:
    world.stripe.refuses = True
    with pytest.raises(StateConflict):
        world.create({"flow": CANCEL})
    with pytest.raises(StripeRefused):
        world.create()


def test_the_configuration_is_the_named_one_or_the_first_whose_rule_matches(
    world: World,
) -> None:
    world.create()
    world.store.rows[KEY] = row_of(KEY, "user-1", Grant(feature="sso", until=NOW + 1))
    world.create()
    world.create({"configuration": "enterprise"})
    world.create({"configuration": "default"})
    assert [session["configuration"] for session in world.stripe.sessions] == [
        "bpc_default",
        "bpc_enterprise",
        "bpc_enterprise",
        "bpc_default",
    ]


def test_a_named_configuration_is_refused_if_its_rule_does_not_match_the_customer(
    world: World,
) -> None:
    with pytest.raises(Forbidden, match="another plan"):
        world.create({"configuration": "enterprise"})
    assert world.stripe.sessions == []


def test_a_rule_is_not_met_by_what_has_ended(world: World) -> None:
    world.store.rows[KEY] = row_of(KEY, "user-1", Grant(feature="sso", until=NOW))
    with pytest.raises(Forbidden):
        world.create({"configuration": "enterprise"})


def test_for_a_connected_account_the_file_says_what_the_portal_offers(world: World) -> None:
    world.account = "acct_1"
    world.offers("bpc_default", subscription_cancel=False)
    world.create({"flow": CANCEL})


def test_an_unknown_configuration_is_refused_with_the_known_ones(world: World) -> None:
    with pytest.raises(BadRequest, match="'gold'; allowed: default, enterprise"):
        world.create({"configuration": "gold"})


def test_a_flow_that_its_configuration_does_not_offer_is_a_conflict(world: World) -> None:
    world.store.rows[KEY] = row_of(KEY, "user-1", Grant(feature="sso", until=NOW + 1))
    with pytest.raises(StateConflict, match="'enterprise' does not offer subscription_cancel"):
        world.create({"flow": CANCEL})


def test_the_configuration_in_stripe_takes_precedence_over_the_file(world: World) -> None:
    world.offers("bpc_default", subscription_cancel=False)
    with pytest.raises(StateConflict, match="does not offer"):
        world.create({"flow": CANCEL})
    world.offers("bpc_default", subscription_cancel=True, active=False)
    with pytest.raises(StateConflict, match="does not offer"):
        world.create({"flow": CANCEL})
    world.offers("bpc_default", subscription_cancel=True)
    world.create({"flow": CANCEL})


def test_without_a_deployed_configuration_the_accounts_default_is_used(
    world: World,
) -> None:
    world.ids.clear()
    world.create()
    assert "configuration" not in world.stripe.sessions[0]
    with pytest.raises(BadRequest, match="not set up in Stripe yet"):
        world.create({"configuration": "default"})


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_names_a_feature_that_the_configuration_file_knows(name: str) -> None:
    features = PORTAL_CONFIGURATION.keys["features"]
    assert isinstance(features, Table)
    assert FLOWS[name].feature in features.keys


def test_every_flow_of_stripes_can_be_requested() -> None:
    literal, _any_string = get_args(get_type_hints(SessionCreateParamsFlowData)["type"])
    assert set(FLOWS) == set(get_args(literal))


def test_the_portal_acts_on_behalf_of_the_configured_account(world: World) -> None:
    world.on_behalf_of = "acct_1"
    world.create()
    assert world.stripe.sessions[0]["on_behalf_of"] == "acct_1"
