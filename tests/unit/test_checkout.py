"""The first purchase: one customer per subject, one subscription per product, and the way back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from billing.adapters.stripe_api import NEWEST_SESSIONS
from billing.checkout.buyers import Buyers
from billing.checkout.earlier import FRESH_SECONDS
from billing.checkout.offer import trial, with_session_id
from billing.checkout.sessions import MAX_CUSTOMER_ATTEMPTS, CheckoutSessions
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
from billing.keys import CustomerKey, SubjectKey
from billing.return_urls import MAX_URL_CHARACTERS, ReturnUrls
from billing.stripe_objects import StripeObject
from billing.sync import ATTEMPT_BUDGET_MS, MARGIN_SECONDS
from tests.unit.fakes import MemoryQueue, MemoryStore, MemoryStripe, Reports, sync_of
from tests.unit.stripe_objects import NOW, POLICY, customer, entitlements, item, subscription

SUBJECT = "user-1"
LINK = SubjectKey("test", "https://issuer/", SUBJECT)


def price(price_id: str = "price_team", key: str = "team_monthly", **fields: Any) -> dict[str, Any]:
    return {
        "id": price_id,
        "lookup_key": key,
        "active": True,
        "recurring": {"interval": "month"},
        "product": {"id": "prod_team", "active": True},
        **fields,
    }


@dataclass
class Stripe(MemoryStripe):
    """MemoryStripe with prices and checkout sessions, and with idempotency keys like Stripe's."""

    for_sale: list[dict[str, Any]] = field(default_factory=lambda: [price()])
    sessions: list[dict[str, Any]] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)
    price_calls: int = 0
    before_expire: Callable[[], None] | None = None
    before_read: Callable[[str], None] | None = None
    before_create: Callable[[str], None] | None = None
    session_calls: list[str] = field(default_factory=list)
    subscription_reads: list[str] = field(default_factory=list)
    history_reads: list[str] = field(default_factory=list)
    #: Reads of a customer, or of a subscription, do not show any subscription yet.
    customers_lag: bool = False
    subscriptions_lag: bool = False

    def find_price(self, name: str) -> Mapping[str, Any] | None:
        self.price_calls += 1
        return next((p for p in self.for_sale if name in (p["id"], p["lookup_key"])), None)

    def create_customer(self, metadata: Mapping[str, str], key: str) -> str:
        if self.before_create:
            self.before_create(key)
        if key not in self.keys:
            self.keys[key] = f"cus_new{len(self.customers)}"
            self.customers[self.keys[key]] = customer(id=self.keys[key], metadata=dict(metadata))
        return str(self.keys[key])

    def _session_read(self, kind: str) -> None:
        self.session_calls.append(kind)
        if self.before_read:
            self.before_read(kind)

    def newest_checkout_sessions(self, customer_id: str) -> list[dict[str, Any]]:
        self._session_read("newest")
        theirs = [dict(each) for each in self.sessions if each["customer"] == customer_id]
        return theirs[: -NEWEST_SESSIONS - 1 : -1]

    def list_open_checkout_sessions(self, customer_id: str) -> list[dict[str, Any]]:
        self._session_read("open")
        theirs = [each for each in reversed(self.sessions) if each["customer"] == customer_id]
        return [
            {**each, "customer": self.customers[customer_id]}
            for each in theirs
            if each["status"] == "open"
        ]

    def retrieve_checkout_session(self, session: str) -> dict[str, Any] | None:
        return next((each for each in self.sessions if each["id"] == session), None)

    def expire_checkout_session(self, session: str) -> bool:
        if self.before_expire:
            self.before_expire()
        found = self.retrieve_checkout_session(session)
        if found is None or found["status"] != "open":
            return False
        found.update(status="expired", url=None)
        return True

    def retrieve_customer(self, customer_id: str) -> tuple[StripeObject, int]:
        found, as_of = super().retrieve_customer(customer_id)
        nothing = {"data": [], "has_more": False}
        return ({**found, "subscriptions": nothing} if self.customers_lag else found), as_of

    def retrieve_subscription(self, subscription: str) -> StripeObject | None:
        self.subscription_reads.append(subscription)
        current = [each for theirs in self.subscriptions_of.values() for each in theirs]
        found = {**self.ended, **{each["id"]: each for each in current}}
        return None if self.subscriptions_lag else found.get(subscription)

    def list_all_subscriptions(self, customer_id: str) -> list[StripeObject]:
        self.history_reads.append(customer_id)
        ended = [each for each in self.ended.values() if each["customer"] == customer_id]
        return [*self.subscriptions_of.get(customer_id, []), *ended]

    def create_checkout_session(self, parameters: Mapping[str, Any], key: str) -> dict[str, Any]:
        if key in self.keys:
            created, before = self.keys[key]
            if before != parameters:
                raise Conflict
            # The adapter reads a replayed session again.
            return dict(created)
        line = parameters["line_items"][0]
        product = next(p["product"]["id"] for p in self.for_sale if p["id"] == line["price"])
        session = {
            "id": f"cs_test_{len(self.sessions)}",
            "customer": parameters["customer"],
            "status": "open",
            "created": NOW,
            "expires_at": NOW + 86_400,
            "url": f"https://checkout.stripe.com/{len(self.sessions)}",
            "subscription": None,
            "line_items": {
                "data": [
                    {
                        "price": {"id": line["price"], "product": product},
                        "quantity": line.get("quantity"),
                    }
                ]
            },
            **{name: parameters[name] for name in ("mode", "success_url", "cancel_url")},
            "parameters": dict(parameters),
        }
        self.sessions.append(session)
        self.keys[key] = (session, dict(parameters))
        return session

    def pay(self, session: Mapping[str, Any]) -> None:
        """Do what a payment on the hosted page does."""
        found = self.retrieve_checkout_session(session["id"])
        assert found is not None
        assert found["status"] == "open"
        found.update(status="complete", url=None, subscription="sub_1")
        self.subscriptions_of[found["customer"]] = [subscription()]
        self.entitlements_of[found["customer"]] = entitlements("api_access")

    def cancel(self, session: Mapping[str, Any]) -> None:
        """End the subscription that the session brought."""
        (ended,) = self.subscriptions_of.pop(session["customer"])
        self.end(session["customer"], {**ended, "status": "canceled"})

    def end(self, customer_id: str, ended: StripeObject) -> None:
        """Record a subscription that has ended, or that never began."""
        self.ended[ended["id"]] = {**ended, "customer": customer_id}


class World:
    def __init__(self) -> None:
        self.stripe = Stripe()
        self.store = MemoryStore()
        self.queue = MemoryQueue()
        self.reports = Reports()
        self.offer = Checkout(prices=("team_monthly",))
        self.document: dict[str, Any] = {}
        self.synced: list[CustomerKey] = []
        self.pauses: list[int] = []
        self.now = float(NOW)
        self.before_sync: Callable[[CustomerKey], None] = lambda key: None

    def sync(self, key: CustomerKey) -> None:
        self.before_sync(key)
        self.synced.append(key)
        sync = sync_of(store=self.store, stripe=self.stripe, queue=self.queue, report=self.reports)
        sync(key, (), lambda: ATTEMPT_BUDGET_MS, on_demand=True)

    def sessions(
        self, *, issuers: tuple[str, ...] = ("https://issuer/",), **changes: Any
    ) -> CheckoutSessions:
        buyers = Buyers(
            store=self.store,
            stripe=self.stripe,
            sync=self.sync,
            account="own",
            mode="test",
            issuers=issuers,
            subject_metadata_key="user_id",
        )
        return replace(
            CheckoutSessions(
                buyers=buyers,
                stripe=self.stripe,
                read_catalog=lambda: self.document,
                pause=self.pauses.append,
                clock=lambda: self.now,
                offer=self.offer,
                policy=POLICY,
                return_urls=ReturnUrls(
                    allowed_origins=("https://app.example.com",),
                    default="https://app.example.com/account",
                    stage="prod",
                ),
            ),
            **changes,
        )

    def create(self, subject: str = SUBJECT, **body: Any) -> dict[str, Any]:
        created = self.sessions().create(subject, {"price": "team_monthly", **body})
        session = self.stripe.retrieve_checkout_session(created.id)
        assert session is not None
        assert session["url"] == created.url
        return session

    def add_customer(self) -> None:
        """Create the subject's customer in Stripe and sync it."""
        self.stripe.customers["cus_1"] = customer(id="cus_1", metadata={"user_id": SUBJECT})
        self.sync(CustomerKey("own", "test", "cus_1"))
        self.synced.clear()


@pytest.fixture
def world() -> World:
    return World()


# ---------------------------------------------------------------- what is sent to Stripe


def test_a_first_purchase_creates_and_links_the_customer(world: World) -> None:
    session = world.create()
    assert world.stripe.customers["cus_new0"]["metadata"] == {
        "user_id": SUBJECT,
        "user_id_issuer": "https://issuer/",
    }
    assert world.store.linked == {SUBJECT: "cus_new0"}
    assert session["parameters"] == {
        "mode": "subscription",
        "customer": "cus_new0",
        "client_reference_id": SUBJECT,
        "line_items": [{"price": "price_team", "quantity": 1}],
        "success_url": (
            "https://app.example.com/account?checkout_session_id={CHECKOUT_SESSION_ID}"
        ),
        "cancel_url": "https://app.example.com/account",
    }
    assert len(world.queue.confirms) == 1


def test_a_second_click_uses_the_same_customer_even_after_the_idempotency_key_expires(
    world: World,
) -> None:
    world.create()
    world.stripe.keys.clear()
    world.create()
    assert list(world.stripe.customers) == ["cus_new0"]


def test_two_clicks_that_both_find_no_customer_get_one_customer_and_one_session(
    world: World,
) -> None:
    first = world.create()
    # The second click read the table and Stripe before the first one wrote.
    world.store.links.clear()
    world.store.rows.clear()
    sessions, world.stripe.sessions = world.stripe.sessions, []
    second = world.sessions().create(SUBJECT, {"price": "team_monthly"})
    assert second.id == first["id"] == sessions[0]["id"]
    assert list(world.stripe.customers) == ["cus_new0"]


def test_two_different_clicks_at_once_cannot_both_be_paid(world: World) -> None:
    world.create()
    world.stripe.sessions = []
    changing = (
        "^Your customer or another checkout in Stripe is changing at this moment. Try again.$"
    )
    with pytest.raises(StateConflict, match=changing):
        world.create(quantity=2)


def test_the_configuration_sets_trial_and_promotion_codes(world: World) -> None:
    world.offer = Checkout(prices=("team_monthly",), trial_days=14, allow_promotion_codes=True)
    parameters = world.create(quantity=3)["parameters"]
    assert parameters["subscription_data"] == {
        "trial_period_days": 14,
        "metadata": {"portcullis_trial": "prod_team"},
    }
    assert parameters["allow_promotion_codes"] is True
    assert parameters["line_items"] == [{"price": "price_team", "quantity": 3}]


TRIAL = Checkout(prices=("team_monthly",), trial_days=14)


def test_a_product_has_only_one_trial_per_customer_for_good(world: World) -> None:
    world.offer = TRIAL
    session = world.create()
    assert session["parameters"]["subscription_data"] == trial("prod_team", 14)
    world.stripe.pay(session)
    world.stripe.cancel(session)
    key = CustomerKey("own", "test", "cus_new0")
    world.sync(key)
    world.store.rows[key] = replace(world.store.rows[key], transitions=())
    assert "subscription_data" not in world.create()["parameters"]


@pytest.mark.parametrize("status", ["incomplete_expired", "incomplete"])
def test_a_subscription_that_never_began_does_not_use_up_the_trial(
    world: World, status: str
) -> None:
    world.offer = TRIAL
    world.add_customer()
    world.stripe.end("cus_1", subscription(status))
    assert "subscription_data" in world.create()["parameters"]


def test_the_trial_of_another_product_does_not_use_up_this_one(world: World) -> None:
    world.offer = TRIAL
    world.add_customer()
    world.stripe.end("cus_1", subscription("canceled", items=[item("prod_teams")]))
    assert "subscription_data" in world.create()["parameters"]
    assert world.stripe.history_reads == ["cus_1"]


def test_all_items_of_a_subscription_count_for_the_trial(world: World) -> None:
    world.offer = TRIAL
    world.add_customer()
    items = [item("prod_addon"), item("prod_team")]
    world.stripe.end("cus_1", subscription("canceled", items=items))
    assert "subscription_data" not in world.create()["parameters"]


def test_a_trial_stays_used_up_after_a_change_to_another_product(world: World) -> None:
    """Stripe lists the items that a subscription has now, not those that it began with."""
    world.offer = TRIAL
    world.add_customer()
    began = world.create()["parameters"]["subscription_data"]["metadata"]
    changed = subscription("canceled", items=[item("prod_other")], metadata=began)
    world.stripe.end("cus_1", changed)
    world.stripe.sessions[0].update(status="expired", url=None)
    assert "subscription_data" not in world.create()["parameters"]


def test_past_subscriptions_are_read_only_where_a_trial_is_configured(world: World) -> None:
    world.add_customer()
    world.create()
    assert world.stripe.history_reads == []


def test_past_subscriptions_of_a_customer_that_is_created_for_the_purchase_are_not_read(
    world: World,
) -> None:
    world.offer = TRIAL
    assert "subscription_data" in world.create()["parameters"]
    assert world.stripe.history_reads == []


def test_past_subscriptions_are_not_read_to_return_an_open_session(world: World) -> None:
    world.offer = TRIAL
    assert world.create() is world.create()
    assert world.stripe.history_reads == []


def test_a_subject_that_is_too_long_is_not_sent_as_the_reference(world: World) -> None:
    assert "client_reference_id" not in world.create(subject="x" * 201)["parameters"]
    longest = "x" * 200
    assert world.create(subject=longest)["parameters"]["client_reference_id"] == longest


def test_the_key_of_a_session_names_customer_product_and_the_newest_session(world: World) -> None:
    """It is the same in every release: a deploy between two clicks creates no second session."""
    first = world.create()
    first.update(status="expired", url=None)
    world.create()
    for newest in ("", first["id"]):
        parts = json.dumps(["session", "cus_new0", "prod_team", newest])
        assert f"portcullis-{hashlib.sha256(parts.encode()).hexdigest()}" in world.stripe.keys


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a/", "https://a/?checkout_session_id={CHECKOUT_SESSION_ID}"),
        ("https://a/?x=1", "https://a/?x=1&checkout_session_id={CHECKOUT_SESSION_ID}"),
        ("https://a/#/done", "https://a/?checkout_session_id={CHECKOUT_SESSION_ID}#/done"),
    ],
)
def test_the_success_url_contains_the_session_id(url: str, expected: str) -> None:
    assert with_session_id(url) == expected


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "price"),
        ({"price": 5}, "price"),
        ({"price": "team_monthly", "customer": "cus_2"}, "customer"),
        ({"price": "team_monthly", "email": "a@example.com"}, "email"),
        ({"price": "team_monthly", "quantity": 0}, "quantity"),
        ({"price": "team_monthly", "quantity": True}, "quantity"),
        ({"price": "team_monthly", "trial_days": 90}, "trial_days"),
        ({"price": "team_monthly", "success_url": None}, "success_url"),
    ],
)
def test_a_body_outside_the_contract_is_refused_by_name(body: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        World().sessions().create(SUBJECT, body)


@pytest.mark.parametrize("name", ["success_url", "cancel_url"])
def test_a_foreign_url_is_refused_by_name_before_any_call_to_stripe(
    world: World, name: str
) -> None:
    with pytest.raises(BadRequest, match=name):
        world.create(**{name: "https://evil.example/"})
    assert (world.stripe.price_calls, world.store.reads) == (0, 0)


def test_a_refused_body_creates_no_customer(world: World) -> None:
    metered = price(recurring={"interval": "month", "usage_type": "metered"})
    world.stripe.for_sale = [metered]
    refused = "^Field quantity is not allowed for a price that is billed by usage.$"
    with pytest.raises(BadRequest, match=refused):
        world.create(quantity=2)
    assert world.stripe.customers == {}


@pytest.mark.parametrize(
    ("requested", "for_sale"),
    [
        ("enterprise_monthly", price("price_ent", "enterprise_monthly")),
        ("price_ent", price("price_ent", "enterprise_monthly")),
        ("team_monthly", price(active=False)),
        ("team_monthly", price(recurring=None)),
        ("team_monthly", price(product={"id": "prod_team", "active": False})),
        ("team_monthly", price(product={"id": "prod_team", "deleted": True})),
        ("team_monthly", price("price_x", "other")),
    ],
    ids=[
        *("not listed", "not listed, by id", "archived", "one-off", "product archived"),
        *("product deleted", "unknown"),
    ],
)
def test_a_price_that_is_not_for_sale_is_refused_by_name(
    world: World, requested: str, for_sale: dict[str, Any]
) -> None:
    world.stripe.for_sale = [for_sale]
    refused = f"^price '{requested}' is not for sale; GET /catalog lists what is.$"
    with pytest.raises(BadRequest, match=refused):
        world.create(price=requested)
    assert world.stripe.customers == {}


def test_a_listed_price_can_be_requested_by_its_id(world: World) -> None:
    assert world.create(price="price_team")["parameters"]["line_items"][0]["price"] == "price_team"
    world.offer = Checkout(prices=("price_team",))
    assert world.create(price="price_team")


@pytest.mark.parametrize("status", ["active", "trialing", "past_due", "unpaid", "paused", "new"])
def test_a_product_that_is_held_is_not_sold_again(world: World, status: str) -> None:
    world.stripe.subscriptions_of["cus_1"] = [subscription(status)]
    world.add_customer()
    with pytest.raises(AlreadySubscribed) as refused:
        world.create()
    assert refused.value.detail == (
        f"You already hold this product: subscription sub_1 is {status}. "
        "Change it in the customer portal: POST /portal-sessions."
    )
    assert world.stripe.sessions == []


@pytest.mark.parametrize("status", ["canceled", "incomplete", "incomplete_expired"])
def test_a_subscription_that_has_ended_or_was_never_paid_does_not_count_as_held(
    world: World, status: str
) -> None:
    world.stripe.subscriptions_of["cus_1"] = [subscription(status)]
    world.add_customer()
    assert world.create()["customer"] == "cus_1"


def test_another_product_can_be_bought_too(world: World) -> None:
    world.stripe.subscriptions_of["cus_1"] = [subscription(items=[item("prod_other")])]
    world.add_customer()
    assert world.create()["customer"] == "cus_1"


def test_a_new_subscription_counts_as_held_before_its_webhook_arrives(world: World) -> None:
    world.add_customer()
    world.stripe.subscriptions_of["cus_1"] = [subscription()]
    with pytest.raises(AlreadySubscribed):
        world.create()


# ---------------------------------------------------------------- sessions that are still open


def test_a_repeated_checkout_returns_the_open_session(world: World) -> None:
    first = world.create(quantity=2)
    world.synced.clear()
    world.stripe.session_calls.clear()
    again = world.create(quantity=2)
    assert again is first
    assert first["status"] == "open"
    # Price, newest, open: three calls to Stripe, and no sync.
    assert world.stripe.session_calls == ["newest", "open"]
    assert world.synced == []


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 2},
        {"price": "team_yearly"},
        {"success_url": "https://app.example.com/done"},
        {"cancel_url": "https://app.example.com/plans"},
    ],
)
def test_another_quantity_price_or_url_ends_the_open_session_and_creates_another(
    world: World, change: dict[str, Any]
) -> None:
    world.stripe.for_sale.append(price("price_yearly", "team_yearly"))
    world.offer = Checkout(prices=("team_monthly", "team_yearly"))
    first = world.create()
    second = world.create(**change)
    assert (first["status"], second["status"]) == ("expired", "open")


def test_only_the_newest_of_several_equal_open_sessions_stays_open(world: World) -> None:
    first = world.create()
    twin = {**first, "id": "cs_test_twin", "url": "https://checkout.stripe.com/twin"}
    world.stripe.sessions.append(twin)
    assert world.create() is twin
    assert first["status"] == "expired"


def test_an_open_session_of_another_kind_is_left_alone(world: World) -> None:
    world.add_customer()
    setup = {"id": "cs_test_setup", "customer": "cus_1", "status": "open", "line_items": None}
    world.stripe.sessions.append(setup)
    assert world.create()["status"] == "open"
    assert setup["status"] == "open"


def test_a_session_with_more_than_this_line_is_ended_and_not_returned(world: World) -> None:
    session = world.create()
    session["line_items"]["data"].append({"price": None, "quantity": 1})
    assert world.create() is not session
    assert session["status"] == "expired"


@pytest.mark.parametrize("quantity", [1, 2])
def test_a_session_that_appears_between_the_two_reads_leaves_one_live_session(
    world: World, quantity: int
) -> None:
    world.add_customer()

    def another_tab(read: str) -> None:
        # Before the second read, whichever it is.
        if len(world.stripe.session_calls) == 2:
            world.stripe.before_read = None
            world.create(quantity=quantity)

    world.stripe.before_read = another_tab
    session = world.create()
    assert [each["id"] for each in world.stripe.sessions if each["status"] == "open"] == [
        session["id"]
    ]


def test_two_tabs_at_the_first_purchase_create_one_customer(world: World) -> None:
    def another_tab(key: str) -> None:
        world.stripe.before_create = None
        world.create()

    world.stripe.before_create = another_tab
    world.create()
    assert list(world.stripe.customers) == ["cus_new0"]
    assert "SubjectTaken" not in world.reports.names


def test_a_customer_that_was_deleted_before_it_was_linked_is_followed_by_a_new_one(
    world: World,
) -> None:
    world.stripe.error = StripeUnavailable("503")
    with pytest.raises(StripeUnavailable):
        world.create()
    world.stripe.error = None
    world.stripe.customers["cus_new0"] = {"id": "cus_new0", "deleted": True}
    assert world.create()["customer"] == "cus_new1"


def test_a_session_is_not_returned_where_another_for_the_product_was_paid(world: World) -> None:
    session = world.create()
    other = {**session, "id": "cs_test_server", "success_url": "https://server.example.com/"}
    world.stripe.sessions.append(other)

    def paid() -> None:
        if other["status"] == "open":
            world.stripe.pay(other)

    world.stripe.before_expire = paid
    with pytest.raises(AlreadySubscribed):
        world.create()
    assert session["status"] == "expired"


def test_a_session_whose_row_belongs_to_another_subject_is_a_404(world: World) -> None:
    session = world.create()
    key = CustomerKey("own", "test", session["customer"])
    world.store.rows[key] = replace(world.store.rows[key], subject="somebody-else")
    with pytest.raises(NotFound):
        world.sessions().retrieve(SUBJECT, session["id"])


def test_a_session_whose_row_goes_to_another_subject_meanwhile_is_a_404(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = world.create()
    key = CustomerKey("own", "test", session["customer"])
    before = world.store.rows[key]
    rows = iter((before, replace(before, subject="somebody-else")))
    monkeypatch.setattr(world.store, "load", lambda key: next(rows))
    with pytest.raises(NotFound, match=r"^You have no such checkout session.$"):
        world.sessions().retrieve(SUBJECT, session["id"])


def test_an_older_open_session_is_returned_only_after_a_sync(world: World) -> None:
    session = world.create()
    world.synced.clear()
    world.now += FRESH_SECONDS + 1
    assert world.create() is session
    assert len(world.synced) == 1
    # Bought elsewhere; its webhook is late.
    world.stripe.subscriptions_of[session["customer"]] = [subscription()]
    with pytest.raises(AlreadySubscribed):
        world.create()
    assert session["status"] == "expired"


def test_a_repeated_checkout_of_a_metered_price_returns_the_open_session(world: World) -> None:
    world.stripe.for_sale = [price(recurring={"interval": "month", "usage_type": "metered"})]
    session = world.create()
    session["line_items"]["data"][0]["price"]["recurring"] = {"usage_type": "metered"}
    assert world.create() is session


def test_the_deployments_own_default_need_not_be_on_an_allowed_origin(world: World) -> None:
    urls = ReturnUrls(allowed_origins=(), default="https://elsewhere.example.com/", stage="prod")
    created = world.sessions(return_urls=urls).create(SUBJECT, {"price": "team_monthly"})
    session = world.stripe.retrieve_checkout_session(created.id)
    assert session is not None
    assert session["success_url"].startswith("https://elsewhere.example.com/?checkout_session_id=")
    assert session["cancel_url"] == "https://elsewhere.example.com/"


def test_a_success_url_is_measured_with_what_is_added_to_it(world: World) -> None:
    longest = "https://app.example.com/".ljust(MAX_URL_CHARACTERS, "x")
    with pytest.raises(BadRequest, match="success_url"):
        world.create(success_url=longest)
    assert world.stripe.customers == {}


def test_an_open_session_for_a_product_that_is_now_held_is_expired(world: World) -> None:
    session = world.create()
    customer_id = session["customer"]
    world.stripe.subscriptions_of[customer_id] = [subscription()]
    world.sync(CustomerKey("own", "test", customer_id))
    with pytest.raises(AlreadySubscribed):
        world.create()
    assert session["status"] == "expired"


def test_an_open_session_for_another_product_stays_open(world: World) -> None:
    other = price("price_other", "other", product={"id": "prod_other", "active": True})
    world.stripe.for_sale.append(other)
    world.offer = Checkout(prices=("team_monthly", "other"))
    first = world.create(price="other")
    world.create()
    assert first["status"] == "open"


def test_a_product_that_is_paid_while_its_session_is_expired_counts_as_held(world: World) -> None:
    first = world.create()
    world.stripe.before_expire = lambda: world.stripe.pay(first)
    with pytest.raises(AlreadySubscribed):
        world.create(quantity=2)


# ---------------------------------------------------------------- what was just paid


JUST_PAID = "just been paid.*Try again in a moment.*repeating the request is safe"


def test_a_session_that_was_just_paid_does_not_lead_to_a_second_page(world: World) -> None:
    first = world.create()
    world.stripe.before_expire = lambda: world.stripe.pay(first)
    world.stripe.customers_lag = True
    with pytest.raises(StateConflict, match=JUST_PAID) as refused:
        world.create(quantity=2)
    assert not isinstance(refused.value, AlreadySubscribed)
    assert len(world.stripe.sessions) == 1
    assert world.stripe.subscription_reads == ["sub_1"]

    world.stripe.before_expire = None
    world.stripe.customers_lag = False
    with pytest.raises(AlreadySubscribed):
        world.create(quantity=2)


def test_a_session_that_refuses_to_expire_and_reads_as_open_may_have_been_paid(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.create()
    with monkeypatch.context() as patched:
        patched.setattr(world.stripe, "expire_checkout_session", lambda session: False)
        with pytest.raises(StateConflict, match=JUST_PAID):
            world.create(quantity=2)
    assert world.create(quantity=2) is not first


def test_a_session_that_ended_by_itself_a_moment_ago_does_not_stop_a_purchase(
    world: World,
) -> None:
    first = world.create()
    world.stripe.before_expire = lambda: first.update(status="expired", url=None)
    assert world.create(quantity=2)["status"] == "open"


@pytest.mark.parametrize("found", [True, False], ids=["found", "not found yet"])
def test_a_purchase_in_another_tab_that_the_row_does_not_show_yet_is_a_409(
    world: World, found: bool
) -> None:
    world.stripe.pay(world.create())
    world.stripe.customers_lag = True
    world.stripe.subscriptions_lag = not found
    with pytest.raises(StateConflict, match=JUST_PAID):
        world.create()
    assert len(world.stripe.sessions) == 1


def test_a_purchase_that_the_row_shows_as_unpaid_by_a_stale_read_is_a_409(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = world.create()
    world.stripe.pay(session)
    (paid,) = world.stripe.subscriptions_of[session["customer"]]

    def stale(key: CustomerKey) -> None:
        world.stripe.subscriptions_of[key.id] = [{**paid, "status": "incomplete"}]

    world.before_sync = stale
    monkeypatch.setattr(world.stripe, "retrieve_subscription", lambda name: paid)
    with pytest.raises(StateConflict, match=JUST_PAID):
        world.create()


def test_a_purchase_of_another_product_after_it_does_not_hide_one_that_was_just_paid(
    world: World,
) -> None:
    other = price("price_other", "other", product={"id": "prod_other", "active": True})
    world.stripe.for_sale.append(other)
    world.offer = Checkout(prices=("team_monthly", "other"))
    world.stripe.pay(world.create())
    world.stripe.customers_lag = True
    later = world.create(price="other")
    assert later["status"] == "open"
    with pytest.raises(StateConflict, match=JUST_PAID):
        world.create()


def test_a_purchase_that_was_cancelled_since_does_not_stop_the_next_one(world: World) -> None:
    first = world.create()
    world.stripe.pay(first)
    world.stripe.cancel(first)
    assert world.create()["status"] == "open"
    assert world.stripe.subscription_reads == ["sub_1"]


def test_a_session_that_ended_before_the_row_was_read_costs_no_call(world: World) -> None:
    first = world.create()
    world.stripe.pay(first)
    world.stripe.cancel(first)
    world.stripe.now = first["expires_at"] + MARGIN_SECONDS + 1
    world.create()
    assert world.stripe.subscription_reads == []


def test_a_subscription_that_was_moved_to_another_product_does_not_stop_a_purchase(
    world: World,
) -> None:
    session = world.create()
    world.stripe.pay(session)
    world.stripe.subscriptions_of[session["customer"]] = [subscription(items=[item("prod_other")])]
    assert world.create()["status"] == "open"
    assert world.stripe.subscription_reads == []


@pytest.mark.parametrize("change", [{"mode": "payment"}, {"mode": "setup", "line_items": None}])
def test_a_complete_session_without_a_subscription_does_not_stop_a_purchase(
    world: World, change: dict[str, Any]
) -> None:
    first = world.create()
    first.update(status="complete", url=None, subscription=None, **change)
    assert world.create()["status"] == "open"


def test_an_open_page_is_ended_where_another_session_was_just_paid(world: World) -> None:
    session = world.create()
    server = {**session, "id": "cs_test_server", "status": "complete", "url": None}
    world.stripe.sessions.insert(0, {**server, "subscription": "sub_server"})
    world.synced.clear()
    with pytest.raises(StateConflict, match=JUST_PAID):
        world.create()
    assert session["status"] == "expired"
    # The row may be older than the payment, although the open session is new.
    assert len(world.synced) == 1


def test_a_session_that_is_paid_between_the_two_reads_does_not_lead_to_a_second_page(
    world: World,
) -> None:
    first = world.create()

    def paid(read: str) -> None:
        if read == "open" and first["status"] == "open":
            world.stripe.pay(first)

    world.stripe.before_read = paid
    world.stripe.customers_lag = True
    with pytest.raises(StateConflict, match=JUST_PAID):
        world.create(quantity=2)
    assert len(world.stripe.sessions) == 1


def test_a_session_that_a_stale_read_keeps_listing_as_open_is_a_409(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.create()
    monkeypatch.setattr(world.stripe, "list_open_checkout_sessions", lambda customer: [])
    with pytest.raises(StateConflict, match="Try again"):
        world.create(quantity=2)
    assert len(world.stripe.sessions) == 1


def test_a_replayed_session_that_was_paid_is_a_409_that_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = world.create()
    world.stripe.pay(session)
    world.stripe.customers_lag = True
    # Neither list shows the session yet, so that the new one would have its key.
    monkeypatch.setattr(world.stripe, "newest_checkout_sessions", lambda customer: [])
    with pytest.raises(StateConflict, match=JUST_PAID):
        world.create()
    session.update(status="expired")
    ended = "^That checkout has just ended in another window. Try again.$"
    with pytest.raises(StateConflict, match=ended):
        world.create()


# ---------------------------------------------------------------- the subject's customer


def test_a_purchase_after_the_customer_is_deleted_creates_a_new_customer(world: World) -> None:
    world.create()
    world.stripe.customers["cus_new0"] = {"id": "cus_new0", "deleted": True}
    assert world.create()["customer"] == "cus_new1"
    assert world.store.linked == {SUBJECT: "cus_new1"}
    assert world.create()["customer"] == "cus_new1"


def test_another_customer_that_already_has_the_subject_is_used(world: World) -> None:
    def link_another_customer(key: CustomerKey) -> None:
        if key.id == "cus_new0" and LINK not in world.store.links:
            world.before_sync = lambda key: None
            world.stripe.customers["cus_server"] = customer(
                id="cus_server", metadata={"user_id": SUBJECT}
            )
            world.sync(CustomerKey("own", "test", "cus_server"))

    world.before_sync = link_another_customer
    assert world.create()["customer"] == "cus_server"
    assert "SubjectTaken" in world.reports.names


def test_a_customer_that_keeps_changing_is_a_409_after_the_last_attempt(world: World) -> None:
    world.before_sync = lambda key: world.stripe.customers.update(
        {key.id: {"id": key.id, "deleted": True}}
    )
    with pytest.raises(StateConflict, match="Try again"):
        world.create()
    assert len(world.synced) == MAX_CUSTOMER_ATTEMPTS


def test_a_customer_that_stripe_does_not_find_yet_is_a_503(world: World) -> None:
    world.stripe.error = CustomerNotFound()
    with pytest.raises(StripeUnavailable):
        world.create()


def test_a_row_with_too_many_writers_is_a_503(world: World) -> None:
    def conflict(key: CustomerKey) -> None:
        raise Conflict

    world.before_sync = conflict
    with pytest.raises(StoreUnavailable):
        world.create()


def pays_and_waits(world: World, customer_id: str = "cus_2") -> CustomerKey:
    """A customer whose claim was refused, because "cus_1" held the subject, and that pays."""
    key = CustomerKey("own", "test", customer_id)
    world.stripe.customers[customer_id] = customer(id=customer_id, metadata={"user_id": SUBJECT})
    world.stripe.subscriptions_of[customer_id] = [subscription()]
    world.sync(key)
    world.synced.clear()
    return key


def test_nobody_is_sold_what_a_waiting_customer_pays_for(world: World) -> None:
    """The empty customer came first. It is deleted, and no message has arrived yet."""
    world.add_customer()
    paying = pays_and_waits(world)
    world.stripe.customers["cus_1"] = {"id": "cus_1", "deleted": True}
    with pytest.raises(AlreadySubscribed):
        world.create()
    assert world.store.linked == {SUBJECT: paying.id}
    assert set(world.stripe.customers) == {"cus_1", "cus_2"}


def test_a_waiting_customer_is_used_where_the_holder_gave_its_claim_up(world: World) -> None:
    world.add_customer()
    pays_and_waits(world)
    world.stripe.customers["cus_1"] = customer(id="cus_1", metadata={"user_id": "somebody-else"})
    world.sync(CustomerKey("own", "test", "cus_1"))
    with pytest.raises(AlreadySubscribed):
        world.create()


def test_a_holder_that_gave_its_claim_up_is_used_while_nobody_else_has_it(world: World) -> None:
    world.add_customer()
    pays_and_waits(world)
    world.stripe.customers["cus_1"] = world.stripe.customers["cus_2"] = customer(metadata={})
    world.sync(CustomerKey("own", "test", "cus_1"))
    assert world.create()["customer"] == "cus_1"


@pytest.mark.parametrize("gone", [{"id": "cus_2", "deleted": True}, None])
def test_a_waiting_customer_that_is_gone_does_not_hold_up_the_purchase(
    world: World, gone: dict[str, Any] | None
) -> None:
    world.add_customer()
    pays_and_waits(world)
    world.stripe.customers["cus_1"] = {"id": "cus_1", "deleted": True}
    del world.stripe.customers["cus_2"]
    world.stripe.customers |= {"cus_2": gone} if gone else {}
    assert world.create()["customer"].startswith("cus_new")
    # Once its tombstone is stored it is not looked at again.
    world.stripe.customers |= {
        name: {"id": name, "deleted": True} for name in world.stripe.customers
    }
    world.synced.clear()
    world.create()
    assert (CustomerKey("own", "test", "cus_2") in world.synced) is (gone is None)


def test_a_waiting_customer_with_too_many_writers_is_a_503(world: World) -> None:
    world.add_customer()
    waiting = pays_and_waits(world)
    world.stripe.customers["cus_1"] = {"id": "cus_1", "deleted": True}

    def conflict(key: CustomerKey) -> None:
        if key == waiting:
            raise Conflict

    world.before_sync = conflict
    with pytest.raises(StoreUnavailable):
        world.create()


def test_the_customer_of_a_former_issuer_is_used(world: World) -> None:
    world.add_customer()
    sessions = world.sessions(issuers=("https://new/", "https://issuer/"))
    created = sessions.create(SUBJECT, {"price": "team_monthly"})
    assert list(world.stripe.customers) == ["cus_1"]
    assert sessions.retrieve(SUBJECT, created.id).id == created.id


# ---------------------------------------------------------------- the way back


def test_on_the_way_back_from_checkout_the_purchase_shows_without_a_webhook(world: World) -> None:
    session = world.create()
    world.stripe.pay(session)
    returned = world.sessions().retrieve(SUBJECT, session["id"])
    assert (returned.id, returned.status) == (session["id"], "complete")
    assert returned.row is not None
    assert returned.row.facts.entitlements == ("api_access",)


def test_after_the_webhook_the_customer_is_not_read_from_stripe_again(
    world: World,
) -> None:
    session = world.create()
    world.stripe.pay(session)
    world.sync(CustomerKey("own", "test", "cus_new0"))
    world.synced.clear()
    assert world.sessions().retrieve(SUBJECT, session["id"]).row is not None
    assert world.synced == []


def test_on_the_way_back_the_sync_is_repeated_until_the_purchase_and_its_features_show(
    world: World,
) -> None:
    world.document = {"products": [{"id": "prod_team", "features": [{"lookup_key": "api_access"}]}]}
    session = world.create()
    world.stripe.pay(session)
    subscriptions = world.stripe.subscriptions_of.pop("cus_new0")
    features = world.stripe.entitlements_of.pop("cus_new0")
    syncs: list[CustomerKey] = []

    def catch_up(key: CustomerKey) -> None:
        syncs.append(key)
        if len(syncs) == 2:
            world.stripe.subscriptions_of["cus_new0"] = subscriptions
        if len(syncs) == 3:
            world.stripe.entitlements_of["cus_new0"] = features

    world.before_sync = catch_up
    returned = world.sessions().retrieve(SUBJECT, session["id"])
    assert returned.row is not None
    assert returned.row.facts.entitlements == ("api_access",)
    assert world.pauses == [1, 2]


def test_a_customer_that_moves_to_another_subject_on_the_way_back_is_not_shown(
    world: World,
) -> None:
    session = world.create()
    world.stripe.pay(session)

    def corrected(key: CustomerKey) -> None:
        world.before_sync = lambda key: None
        world.stripe.customers[key.id] = customer(id=key.id, metadata={"user_id": "another"})
        world.sync(key)

    world.before_sync = corrected
    with pytest.raises(NotFound, match="no such checkout session"):
        world.sessions().retrieve(SUBJECT, session["id"])
    assert world.store.linked["another"] == session["customer"]


def test_an_open_session_is_returned_without_a_sync(world: World) -> None:
    session = world.create()
    world.synced.clear()
    assert world.sessions().retrieve(SUBJECT, session["id"]).status == "open"
    assert world.synced == []


@pytest.mark.parametrize(
    "session", ["cs_test_0", "cs_test_unknown", "../customers/cus_1", "", "cs_x/y"]
)
def test_a_session_that_is_not_the_callers_own_is_a_404(world: World, session: str) -> None:
    world.create(subject="somebody-else")
    world.add_customer()
    for subject in (SUBJECT, "without-customer"):
        with pytest.raises(NotFound, match=r"^You have no such checkout session.$"):
            world.sessions().retrieve(subject, session)


@pytest.mark.parametrize(
    ("subject", "session"), [(SUBJECT, "../customers/cus_1"), ("without-customer", "cs_test_0")]
)
def test_stripe_is_asked_for_nothing_that_cannot_be_a_session_of_the_callers(
    world: World, monkeypatch: pytest.MonkeyPatch, subject: str, session: str
) -> None:
    world.add_customer()
    asked: list[str] = []
    monkeypatch.setattr(world.stripe, "retrieve_checkout_session", asked.append)
    with pytest.raises(NotFound):
        world.sessions().retrieve(subject, session)
    assert asked == []


@pytest.mark.parametrize(("after_its_end", "syncs"), [(0, 4), (1, 1)])
def test_what_was_bought_and_has_ended_is_looked_for_once_after_the_sessions_end(
    world: World, after_its_end: int, syncs: int
) -> None:
    session = world.create()
    world.stripe.pay(session)
    world.stripe.cancel(session)
    world.stripe.now = session["expires_at"] + after_its_end
    world.sync(CustomerKey("own", "test", session["customer"]))
    world.synced.clear()
    assert world.sessions().retrieve(SUBJECT, session["id"]).status == "complete"
    assert len(world.synced) == syncs


def test_a_customer_that_was_deleted_before_its_first_sync_is_not_created_again(
    world: World,
) -> None:
    """Stripe would return the deleted one for a day: the idempotency key has to name it."""
    world.add_customer()
    world.stripe.customers["cus_1"] = {"id": "cus_1", "deleted": True}
    world.sync(CustomerKey("own", "test", "cus_1"))
    gone = CustomerKey("own", "test", "cus_gone")
    buyers = world.sessions().buyers
    assert buyers.living(SUBJECT, None) == (None, CustomerKey("own", "test", "cus_1"))
    assert buyers.living(SUBJECT, gone) == (None, gone)


def test_the_session_of_a_customer_that_loses_the_subject_is_not_left_open(world: World) -> None:
    world.add_customer()
    first = world.create()
    world.now += FRESH_SECONDS + 1
    other = CustomerKey("own", "test", "cus_2")
    world.stripe.customers["cus_2"] = customer(id="cus_2", metadata={"user_id": SUBJECT})

    def taken_over(key: CustomerKey) -> None:
        if key.id == "cus_1" and world.stripe.customers["cus_1"]["metadata"]:
            world.stripe.customers["cus_1"] = customer(id="cus_1", metadata={})
            world.before_sync = lambda key: None
            world.sync(key)
            world.sync(other)

    world.before_sync = taken_over
    second = world.create()
    assert second["customer"] == "cus_2"
    ended = world.stripe.retrieve_checkout_session(first["id"])
    assert ended is not None
    assert ended["status"] == "expired"
