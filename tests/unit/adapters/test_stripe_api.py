"""Stripe's API as the syncs, checkout and the portal use it: each request and its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from billing.adapters.stripe_api import NEWEST_SESSIONS, StripeApi
from billing.errors import Conflict, CustomerNotFound, StripeRefused, StripeUnavailable
from billing.stripe_state import StripeReads
from tests.unit.adapters.stripe import connected
from tests.unit.adapters.wire import (
    AS_OF,
    Response,
    Sent,
    Wire,
    missing,
    page,
    stripe_error,
)

CUSTOMER = {"id": "cus_1", "object": "customer"}


# ---------------------------------------------------------------- every call, as it is sent

Query = dict[str, str]


def expanded(*names: str) -> Query:
    return {f"expand[{number}]": name for number, name in enumerate(names)}


#: Every read of one object, as (the call, its path, its query).
RETRIEVALS: dict[str, tuple[Callable[[StripeApi], Any], str, Query]] = {
    "retrieve_customer": (
        lambda adapter: adapter.retrieve_customer("cus_1"),
        "/v1/customers/cus_1",
        expanded(
            "default_source",
            "invoice_settings.default_payment_method",
            "subscriptions.data.default_payment_method",
            "subscriptions.data.default_source",
            "tax_ids",
            "test_clock",
        ),
    ),
    "retrieve_ended_subscription": (
        lambda adapter: adapter.retrieve_ended_subscription("sub_1"),
        "/v1/subscriptions/sub_1",
        {},
    ),
    "retrieve_price": (lambda adapter: adapter.retrieve_price("price_1"), "/v1/prices/price_1", {}),
    "retrieve_portal_configuration": (
        lambda adapter: adapter.retrieve_portal_configuration("bpc_1"),
        "/v1/billing_portal/configurations/bpc_1",
        {},
    ),
    "retrieve_checkout_session": (
        lambda adapter: adapter.retrieve_checkout_session("cs_1"),
        "/v1/checkout/sessions/cs_1",
        {},
    ),
    "retrieve_subscription": (
        lambda adapter: adapter.retrieve_subscription("sub_1"),
        "/v1/subscriptions/sub_1",
        {},
    ),
}

#: Every read of a page of a list: `after` is the object before it.
LISTS: dict[str, tuple[Callable[[StripeApi, str | None], Any], str, Query]] = {
    "list_subscriptions": (
        lambda adapter, after: adapter.list_subscriptions("cus_1", after),
        "/v1/subscriptions",
        {
            "customer": "cus_1",
            **expanded("data.default_payment_method", "data.default_source"),
        },
    ),
    "list_subscription_items": (
        lambda adapter, after: adapter.list_subscription_items("sub_1", after),
        "/v1/subscription_items",
        {"subscription": "sub_1"},
    ),
    "list_tax_ids": (
        lambda adapter, after: adapter.list_tax_ids("cus_1", after),
        "/v1/customers/cus_1/tax_ids",
        {},
    ),
    "list_active_entitlements": (
        lambda adapter, after: adapter.list_active_entitlements("cus_1", after),
        "/v1/entitlements/active_entitlements",
        {"customer": "cus_1"},
    ),
    "list_invoices": (
        lambda adapter, after: adapter.list_invoices("sub_1", after),
        "/v1/invoices",
        {"subscription": "sub_1"},
    ),
    "list_invoice_lines": (
        lambda adapter, after: adapter.list_invoice_lines("in_1", after),
        "/v1/invoices/in_1/lines",
        {},
    ),
    "list_product_features": (
        lambda adapter, after: adapter.list_product_features("prod_1", after),
        "/v1/products/prod_1/features",
        {},
    ),
}

#: Every call whose requests are the subject of a test of their own, below.
OTHERS = {
    "create_checkout_session",
    "create_customer",
    "create_portal_session",
    "expire_checkout_session",
    "find_price",
    "find_price_id",
    "list_all_subscriptions",
    "list_open_checkout_sessions",
    "list_prices",
    "newest_checkout_sessions",
}


def test_every_call_stands_in_a_table_above() -> None:
    public = {name for name in vars(StripeApi) if not name.startswith("_")}
    assert {*RETRIEVALS, *LISTS, *OTHERS} == public


@pytest.mark.parametrize("name", RETRIEVALS)
def test_an_object_is_read_in_one_request_with_what_is_expanded(wire: Wire, name: str) -> None:
    retrieve, path, query = RETRIEVALS[name]
    wire.responds(Response({"id": "x_1", "object": "thing"}))
    found = retrieve(connected(wire))
    assert (wire.only.method, wire.only.path, wire.only.query) == ("GET", path, query)
    assert (found[0] if isinstance(found, tuple) else found) == {"id": "x_1", "object": "thing"}


@pytest.mark.parametrize("name", ["retrieve_customer", "retrieve_portal_configuration"])
def test_what_is_stored_is_read_with_stripes_date(wire: Wire, name: str) -> None:
    wire.responds(Response({"id": "x_1", "object": "thing"}))
    assert RETRIEVALS[name][0](connected(wire)) == ({"id": "x_1", "object": "thing"}, AS_OF)


@pytest.mark.parametrize("name", LISTS)
def test_each_list_is_read_in_pages_of_a_hundred(wire: Wire, name: str) -> None:
    list_page, path, query = LISTS[name]
    wire.responds(page("a", more=True))
    adapter = connected(wire)
    assert list_page(adapter, None)["has_more"] is True
    assert list_page(adapter, "a")["data"] == [{"id": "a", "object": "thing"}]
    assert [sent.path for sent in wire.sent] == [path, path]
    assert wire.sent[0].query == {**query, "limit": "100"}
    assert wire.sent[1].query == {**query, "limit": "100", "starting_after": "a"}


# ---------------------------------------------------------------- what Stripe does not have

#: The outcome of each read of a sync where Stripe has no such object.
ABSENT: dict[str, Any] = {
    "retrieve_customer": CustomerNotFound,
    "list_active_entitlements": StripeRefused,
    "list_invoice_lines": StripeRefused,
    "list_invoices": StripeRefused,
    "list_subscription_items": StripeRefused,
    "list_subscriptions": StripeRefused,
    "list_tax_ids": StripeRefused,
    # The optional ones.
    "list_product_features": {"data": [], "has_more": False},
    "retrieve_ended_subscription": None,
    "retrieve_price": None,
}


def read(adapter: StripeApi, name: str) -> Any:
    return LISTS[name][0](adapter, None) if name in LISTS else RETRIEVALS[name][0](adapter)


def test_every_read_of_a_sync_is_optional_or_not() -> None:
    declared = {name for name in vars(StripeReads) if not name.startswith("_")}
    assert set(ABSENT) == declared


@pytest.mark.parametrize("name", ABSENT)
def test_only_an_optional_read_is_empty_where_stripe_does_not_have_the_object(
    wire: Wire, name: str
) -> None:
    expected = ABSENT[name]
    wire.responds(missing("id"))
    if isinstance(expected, type):
        with pytest.raises(expected):
            read(connected(wire), name)
    else:
        assert read(connected(wire), name) == expected


@pytest.mark.parametrize("name", [*RETRIEVALS, *LISTS])
@pytest.mark.parametrize(
    ("response", "error"),
    [
        (stripe_error(400), StripeRefused),
        # An address that Stripe does not know is no missing object.
        (stripe_error(404), StripeRefused),
        (stripe_error(429, "rate_limit_error"), StripeUnavailable),
    ],
    ids=["400", "404", "429"],
)
def test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found(
    wire: Wire, name: str, response: Response, error: type[Exception]
) -> None:
    wire.responds(response)
    with pytest.raises(error) as raised:
        read(connected(wire), name)
    assert raised.type is error


@pytest.mark.parametrize("name", ["retrieve_subscription", "retrieve_checkout_session"])
def test_an_object_that_does_not_exist_is_none(wire: Wire, name: str) -> None:
    wire.responds(missing("id"))
    assert read(connected(wire), name) is None


def refused_expansion(sent: Sent) -> Response:
    if not sent.query:
        return Response({**CUSTOMER, "deleted": True})
    return stripe_error(400, param="expand")


def test_a_deleted_customer_is_read_once_without_expansions_if_stripe_refuses_them(
    wire: Wire,
) -> None:
    wire.respond = refused_expansion
    found, as_of = connected(wire).retrieve_customer("cus_1")
    assert found["deleted"] is True
    assert as_of == AS_OF
    assert [bool(sent.query) for sent in wire.sent] == [True, False]


def test_a_living_customer_is_never_read_without_its_expansions(wire: Wire) -> None:
    wire.responds(stripe_error(400, param="expand"), Response(CUSTOMER))
    with pytest.raises(StripeRefused):
        connected(wire).retrieve_customer("cus_1")


# ---------------------------------------------------------------- prices


def test_prices_are_found_by_ten_lookup_keys_per_call_or_by_id(wire: Wire) -> None:
    stored = {
        "price_b": Response({"id": "price_b", "object": "price", "active": True}),
        "price_old": Response({"id": "price_old", "object": "price", "active": False}),
    }

    def respond(sent: Sent) -> Response:
        name = sent.path.removeprefix("/v1/prices").removeprefix("/")
        if name:
            return stored.get(name, missing("price"))
        wanted = [value for key, value in sent.query.items() if key.startswith("lookup_keys")]
        data = [
            {"id": f"price_of_{key}", "object": "price", "lookup_key": key, "active": True}
            for key in ("key_0", "key_11")
            if key in wanted
        ]
        return Response({"object": "list", "data": data, "has_more": False, "url": "/v1/prices"})

    wire.respond = respond
    names = [f"key_{number}" for number in range(12)]
    prices, as_of = connected(wire).list_prices([*names, "price_b", "price_old"])
    assert [price["id"] for price in prices] == ["price_of_key_0", "price_of_key_11", "price_b"]
    assert as_of == AS_OF
    first, second, *by_id = wire.sent
    always = {"active": "true", "limit": "10", "expand[0]": "data.product"}
    assert first.query == always | {f"lookup_keys[{n}]": name for n, name in enumerate(names[:10])}
    assert second.query == always | {
        f"lookup_keys[{n}]": name for n, name in enumerate([*names[10:], "price_b", "price_old"])
    }
    assert {sent.path for sent in by_id} >= {"/v1/prices/price_b", "/v1/prices/price_old"}
    assert all(sent.query == {"expand[0]": "product"} for sent in by_id)


def test_without_any_name_no_price_is_asked_for(wire: Wire) -> None:
    assert connected(wire).list_prices([]) == ([], 0)
    assert wire.sent == []


def test_a_name_that_cannot_be_an_id_is_never_part_of_a_path(wire: Wire) -> None:
    wire.responds(page(), missing("price"))
    assert connected(wire).find_price("price_1/../../customers") is None
    assert wire.only.path == "/v1/prices"


def test_a_price_that_is_for_sale_is_found_with_its_product(wire: Wire) -> None:
    price = {"id": "price_1", "object": "price", "lookup_key": "team_monthly", "active": True}
    wire.responds(
        Response({"object": "list", "data": [price], "has_more": False, "url": "/v1/prices"})
    )
    assert connected(wire).find_price("team_monthly") == price
    assert wire.only.query == {
        "active": "true",
        "limit": "10",
        "lookup_keys[0]": "team_monthly",
        "expand[0]": "data.product",
    }


def test_a_price_id_is_found_by_its_lookup_key_or_not_at_all(wire: Wire) -> None:
    wire.responds(page("price_1"), page())
    adapter = connected(wire)
    assert adapter.find_price_id("team_monthly") == "price_1"
    assert wire.only.path == "/v1/prices"
    assert wire.only.query == {"active": "true", "limit": "1", "lookup_keys[0]": "team_monthly"}
    assert adapter.find_price_id("team_monthly") is None


# ---------------------------------------------------------------- checkout


def test_a_customer_is_created_with_its_metadata_under_an_idempotency_key(wire: Wire) -> None:
    wire.responds(Response(CUSTOMER))
    metadata = {"user_id": "ada", "user_id_issuer": "https://issuer/"}
    assert connected(wire).create_customer(metadata, "k") == "cus_1"
    assert (wire.only.method, wire.only.path) == ("POST", "/v1/customers")
    assert wire.only.form == {
        "metadata[user_id]": "ada",
        "metadata[user_id_issuer]": "https://issuer/",
    }
    assert wire.only.headers["idempotency-key"] == "k-0"


def test_the_newest_checkout_sessions_are_read_in_one_call(wire: Wire) -> None:
    wire.responds(page("cs_9", "cs_8", more=True))
    found = connected(wire).newest_checkout_sessions("cus_1")
    assert [each["id"] for each in found] == ["cs_9", "cs_8"]
    assert wire.only.path == "/v1/checkout/sessions"
    assert wire.only.query == {
        "customer": "cus_1",
        "limit": str(NEWEST_SESSIONS),
        **expanded("data.line_items"),
    }


def test_all_open_checkout_sessions_are_listed_and_no_others(wire: Wire) -> None:
    wire.responds(page("cs_1", more=True), page("cs_2"))
    found = connected(wire).list_open_checkout_sessions("cus_1")
    assert [each["id"] for each in found] == ["cs_1", "cs_2"]
    query = {
        "customer": "cus_1",
        "status": "open",
        "limit": "100",
        **expanded("data.line_items", "data.customer"),
    }
    assert [sent.query for sent in wire.sent] == [query, query | {"starting_after": "cs_1"}]


def test_all_subscriptions_of_a_customer_are_read_with_all_their_items(wire: Wire) -> None:
    def subscription(name: str, *items: str, more: bool = False) -> dict[str, Any]:
        return {"id": name, "object": "subscription", "items": page(*items, more=more).body}

    def subscriptions(*data: dict[str, Any], more: bool = False) -> Response:
        return Response({**page(more=more).body, "data": list(data)})

    responses = {
        "/v1/subscriptions": iter(
            [
                subscriptions(subscription("sub_1", "si_1"), more=True),
                subscriptions(subscription("sub_2", "si_2", more=True)),
            ]
        ),
        "/v1/subscription_items": iter([page("si_3", more=True), page("si_4")]),
    }
    wire.respond = lambda sent: next(responses[sent.path])
    found = connected(wire).list_all_subscriptions("cus_1")
    assert {each["id"]: [item["id"] for item in each["items"]["data"]] for each in found} == {
        "sub_1": ["si_1"],
        "sub_2": ["si_2", "si_3", "si_4"],
    }
    ours, theirs = {"customer": "cus_1", "status": "all"}, {"subscription": "sub_2"}
    assert [sent.query for sent in wire.sent] == [
        {**ours, "limit": "100"},
        {**ours, "limit": "100", "starting_after": "sub_1"},
        {**theirs, "limit": "100", "starting_after": "si_2"},
        {**theirs, "limit": "100", "starting_after": "si_3"},
    ]


def test_further_items_that_stripe_does_not_have_are_left_out(wire: Wire) -> None:
    owner = {"id": "sub_1", "object": "subscription", "items": page("si_1", more=True).body}

    def respond(sent: Sent) -> Response:
        if sent.path == "/v1/subscription_items":
            return missing("subscription")
        return Response({**page().body, "data": [owner]})

    wire.respond = respond
    (found,) = connected(wire).list_all_subscriptions("cus_1")
    assert [each["id"] for each in found["items"]["data"]] == ["si_1"]


def test_a_checkout_session_is_created_with_its_parameters_under_an_idempotency_key(
    wire: Wire,
) -> None:
    session = {"id": "cs_1", "object": "checkout.session", "url": "u"}
    wire.responds(Response(session))
    parameters = {
        "mode": "subscription",
        "customer": "cus_1",
        "line_items": [{"price": "price_1", "quantity": 2}],
    }
    assert connected(wire).create_checkout_session(parameters, "k") == session
    assert (wire.only.method, wire.only.path) == ("POST", "/v1/checkout/sessions")
    assert wire.only.form == {
        "mode": "subscription",
        "customer": "cus_1",
        "line_items[0][price]": "price_1",
        "line_items[0][quantity]": "2",
    }
    assert wire.only.headers["idempotency-key"] == "k-0"


def test_a_key_that_was_used_for_another_session_is_a_conflict(wire: Wire) -> None:
    wire.responds(stripe_error(400, "idempotency_error"))
    with pytest.raises(Conflict):
        connected(wire).create_checkout_session({"mode": "subscription"}, "k")


def test_a_replayed_session_is_read_again_as_it_is_now(wire: Wire) -> None:
    created = {"id": "cs_1", "object": "checkout.session", "url": "u"}
    wire.responds(
        Response(created, headers={"Idempotent-Replayed": "true"}),
        Response({**created, "url": None}),
    )
    assert connected(wire).create_checkout_session({}, "k")["url"] is None
    assert [(sent.method, sent.path) for sent in wire.sent] == [
        ("POST", "/v1/checkout/sessions"),
        ("GET", "/v1/checkout/sessions/cs_1"),
    ]


def test_a_session_that_is_no_longer_open_is_not_said_to_be_expired(wire: Wire) -> None:
    wire.responds(Response({"id": "cs_1", "object": "checkout.session"}))
    assert connected(wire).expire_checkout_session("cs_1") is True
    wire.responds(stripe_error(400))
    assert connected(wire).expire_checkout_session("cs_1") is False
    assert [(sent.method, sent.path) for sent in wire.sent] == [
        ("POST", "/v1/checkout/sessions/cs_1/expire")
    ] * 2


# ---------------------------------------------------------------- the portal


def test_a_portal_session_is_created_with_its_parameters_and_its_url_returned(wire: Wire) -> None:
    wire.responds(Response({"id": "bps_1", "object": "billing_portal.session", "url": "u"}))
    parameters = {
        "customer": "cus_1",
        "configuration": "bpc_1",
        "return_url": "https://app.example.com",
        "flow_data": {"type": "payment_method_update"},
    }
    assert connected(wire).create_portal_session(parameters) == "u"
    assert (wire.only.method, wire.only.path) == ("POST", "/v1/billing_portal/sessions")
    assert wire.only.form == {
        "customer": "cus_1",
        "configuration": "bpc_1",
        "return_url": "https://app.example.com",
        "flow_data[type]": "payment_method_update",
    }


def test_two_portal_sessions_have_different_idempotency_keys(wire: Wire) -> None:
    wire.responds(Response({"id": "bps_1", "object": "billing_portal.session", "url": "u"}))
    for _ in range(2):
        connected(wire).create_portal_session({"customer": "cus_1"})
    assert len({sent.headers["idempotency-key"] for sent in wire.sent}) == 2


@pytest.mark.parametrize(
    ("param", "error"),
    [("customer", CustomerNotFound), ("id", CustomerNotFound), ("configuration", StripeRefused)],
)
def test_a_portal_session_raises_customer_not_found_only_for_a_missing_customer(
    wire: Wire, param: str, error: type[Exception]
) -> None:
    wire.responds(missing(param))
    with pytest.raises(error):
        connected(wire).create_portal_session({"customer": "cus_1"})
