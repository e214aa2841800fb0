"""The first purchase: one customer per subject, one subscription per product, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from billing.checkout.offer import has_had, with_session_id
from billing.checkout.sessions import FRESH_SECONDS, MAX_CUSTOMER_ATTEMPTS, CheckoutSessions
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
from billing.model import CustomerRow, Transition
from billing.return_urls import MAX_URL_CHARACTERS, ReturnUrls
from billing.sync import ATTEMPT_BUDGET_MS
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

    def newest_checkout_session(self, customer_id: str) -> str | None:
        self._session_read("newest")
        theirs = [each["id"] for each in self.sessions if each["customer"] == customer_id]
        return theirs[-1] if theirs else None

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

    def expire_checkout_session(self, session: str) -> None:
        if self.before_expire:
            self.before_expire()
        found = self.retrieve_checkout_session(session)
        if found is not None and found["status"] == "open":
            found.update(status="expired", url=None)

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

    def sessions(self, **changes: Any) -> CheckoutSessions:
        return replace(
            CheckoutSessions(
                store=self.store,
                stripe=self.stripe,
                sync=self.sync,
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
                account="own",
                mode="test",
                issuers=("https://issuer/",),
                subject_metadata_key="user_id",
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
    with pytest.raises(StateConflict, match="changing at this moment"):
        world.create(quantity=2)


def test_the_configuration_sets_trial_and_promotion_codes(world: World) -> None:
    world.offer = Checkout(prices=("team_monthly",), trial_days=14, allow_promotion_codes=True)
    parameters = world.create(quantity=3)["parameters"]
    assert parameters["subscription_data"] == {"trial_period_days": 14}
    assert parameters["allow_promotion_codes"] is True
    assert parameters["line_items"] == [{"price": "price_team", "quantity": 3}]


def test_a_product_has_only_one_trial_per_customer(world: World) -> None:
    world.offer = Checkout(prices=("team_monthly",), trial_days=14)
    session = world.create()
    world.stripe.pay(session)
    world.sync(CustomerKey("own", "test", "cus_new0"))
    world.stripe.subscriptions_of.clear()
    assert "subscription_data" not in world.create()["parameters"]


@pytest.mark.parametrize(
    ("name", "had"), [("prod_team", True), ("prod_team×5", True), ("prod_teams", False)]
)
def test_the_transitions_show_which_products_a_customer_has_had(name: str, had: bool) -> None:
    change = Transition(at=1, event="evt", type="t", gained=(), lost=(name,))
    row = CustomerRow(key=CustomerKey("own", "test", "cus_1"), transitions=(change,))
    assert has_had(row, "prod_team") is had


def test_a_subject_that_is_too_long_is_not_sent_as_the_reference(world: World) -> None:
    assert "client_reference_id" not in world.create(subject="x" * 201)["parameters"]


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
    with pytest.raises(BadRequest, match="quantity"):
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
        ("team_monthly", price("price_x", "other")),
    ],
    ids=["not listed", "not listed, by id", "archived", "one-off", "product archived", "unknown"],
)
def test_a_price_that_is_not_for_sale_is_refused_by_name(
    world: World, requested: str, for_sale: dict[str, Any]
) -> None:
    world.stripe.for_sale = [for_sale]
    with pytest.raises(BadRequest, match=requested):
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
    with pytest.raises(AlreadySubscribed, match=r"sub_1 is .*POST /portal-sessions"):
        world.create()
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
        with pytest.raises(NotFound, match="no such checkout session"):
            world.sessions().retrieve(subject, session)
