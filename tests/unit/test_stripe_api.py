"""Stripe's adapters: the HTTP request of each call, and the result of each response."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import pytest
import stripe

from billing.adapters.stripe_account import StripeAccount
from billing.adapters.stripe_api import NEWEST_SESSIONS, StripeApi
from billing.adapters.stripe_client import MAX_IDEMPOTENCY_KEYS, connect
from billing.errors import (
    Conflict,
    CustomerNotFound,
    SecretUnavailable,
    StripeRefused,
    StripeUnavailable,
)
from billing.settings import STRIPE_API_VERSION
from billing.stripe_state import StripeReads
from tests.unit.http_server import Server, serving

Response = tuple[int, dict[str, str], Any]

DATE = {"Date": "Sun, 22 Nov 2026 12:00:00 GMT"}


class Wire(stripe.HTTPClient):
    """The library's HTTP client: `respond(method, url, headers)` takes the place of the network."""

    name = "wire"

    def __init__(self, respond: Callable[[str, str, dict[str, str]], Response]) -> None:
        super().__init__()
        self._respond = respond
        self.keys: list[str] = []
        self.urls: list[str] = []

    def request(
        self, method: str, url: str, headers: Any, post_data: Any = None, **_: Any
    ) -> tuple[str, int, dict[str, str]]:
        self.urls.append(url)
        if "Idempotency-Key" in headers:
            self.keys.append(headers["Idempotency-Key"])
        status, extra, body = self._respond(method, url, headers)
        return json.dumps(body), status, {**DATE, **extra}

    def close(self) -> None:
        """Do nothing: no connection is open."""


def api(respond: Callable[[str, str, dict[str, str]], Response]) -> tuple[StripeApi, Wire]:
    wire = Wire(respond)
    client = stripe.StripeClient(
        "sk_test_x", stripe_version=STRIPE_API_VERSION, http_client=wire, max_network_retries=0
    )
    return StripeApi(lambda: client), wire


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


FAILED = {"error": {"type": "api_error", "message": "An unknown error occurred"}}


@pytest.mark.parametrize("status", [500, 400])
def test_after_a_recorded_failure_the_next_key_of_the_series_is_used(status: int) -> None:
    """Also after a refusal whose cause was fixed since: Stripe would repeat it for a day."""
    recorded: set[str] = set()

    def respond(method: str, url: str, headers: dict[str, str]) -> Response:
        key = headers["Idempotency-Key"]
        if key in recorded:
            return status, {"Idempotent-Replayed": "true"}, FAILED
        if not recorded:
            recorded.add(key)
            return 500, {}, FAILED
        return 200, {}, {"id": "cus_1", "object": "customer"}

    adapter, wire = api(respond)
    assert adapter.create_customer({"user_id": "ada"}, "k") == "cus_1"
    assert wire.keys == ["k-0", "k-0", "k-1"]
    assert adapter.create_customer({"user_id": "ada"}, "k") == "cus_1"
    assert wire.keys[3:] == ["k-0", "k-1"]


def test_a_failed_call_is_retried_once_and_then_raises_stripe_unavailable() -> None:
    adapter, wire = api(lambda method, url, headers: (503, {}, FAILED))
    with pytest.raises(StripeUnavailable):
        adapter.create_customer({"user_id": "ada"}, "k")
    assert wire.keys == ["k-0", "k-0"]


def test_a_recorded_failure_of_the_last_key_of_the_series_raises_stripe_unavailable() -> None:
    adapter, wire = api(lambda method, url, headers: (500, {"idempotent-replayed": "true"}, FAILED))
    with pytest.raises(StripeUnavailable):
        adapter.create_customer({"user_id": "ada"}, "k")
    assert len(set(wire.keys)) == MAX_IDEMPOTENCY_KEYS


def test_a_key_that_was_used_for_another_session_is_a_conflict() -> None:
    used = {"error": {"type": "idempotency_error", "message": "Keys for idempotent requests …"}}
    adapter, _ = api(lambda method, url, headers: (400, {}, used))
    with pytest.raises(Conflict):
        adapter.create_checkout_session({"mode": "subscription"}, "k")


def test_a_replayed_session_is_read_again_as_it_is_now() -> None:
    def respond(method: str, url: str, headers: dict[str, str]) -> Response:
        if method == "post":
            replayed = {"Idempotent-Replayed": "true"}
            return 200, replayed, {"id": "cs_1", "object": "x", "url": "u"}
        return 200, {}, {"id": "cs_1", "object": "x", "url": None}

    adapter, wire = api(respond)
    assert adapter.create_checkout_session({}, "k")["url"] is None
    assert len(wire.urls) == 2


def test_a_session_that_is_no_longer_open_is_not_said_to_be_expired() -> None:
    closed = {"error": {"type": "invalid_request_error", "message": "Only Checkout Sessions …"}}
    adapter, wire = api(lambda method, url, headers: (400, {}, closed))
    assert adapter.expire_checkout_session("cs_test_1") is False
    assert len(wire.urls) == 1
    adapter, _ = api(lambda method, url, headers: (200, {}, {"id": "cs_test_1", "object": "x"}))
    assert adapter.expire_checkout_session("cs_test_1") is True


def test_a_name_that_cannot_be_an_id_is_never_part_of_a_path() -> None:
    empty = {"object": "list", "data": [], "has_more": False, "url": "/v1/prices"}
    adapter, wire = api(lambda method, url, headers: (200, {}, empty))
    assert adapter.find_price("price_1/../../customers") is None
    assert len(wire.urls) == 1


def test_prices_are_found_by_ten_lookup_keys_per_call_or_by_id() -> None:
    def respond(method: str, url: str, headers: dict[str, str]) -> Response:
        if "/v1/prices?" in url:
            keys = [part for part in url.split("&") if "lookup_keys" in part]
            assert len(keys) <= 10
            data = [
                {"id": "price_a", "object": "price", "lookup_key": key, "active": True}
                for key in ("key_0", "key_11")
                if any(part.endswith(f"={key}") for part in keys)
            ]
            return 200, {}, {"object": "list", "data": data, "has_more": False, "url": "/v1/prices"}
        if "/v1/prices/price_b" in url:
            return 200, {}, {"id": "price_b", "object": "price", "active": True}
        if "/v1/prices/price_old" in url:
            return 200, {}, {"id": "price_old", "object": "price", "active": False}
        missing = {
            "type": "invalid_request_error",
            "code": "resource_missing",
            "message": "No such",
        }
        return 404, {}, {"error": missing}

    adapter, _ = api(respond)
    names = [f"key_{number}" for number in range(12)]
    prices, as_of = adapter.list_prices([*names, "price_b", "price_old"])
    assert [price.get("lookup_key") or price["id"] for price in prices] == [
        "key_0",
        "key_11",
        "price_b",
    ]
    assert as_of == 1_795_348_800
    assert adapter.list_prices([]) == ([], 0)


def page(*ids: str, more: bool = False) -> dict[str, Any]:
    data = [{"id": each, "object": "thing"} for each in ids]
    return {"object": "list", "data": data, "has_more": more, "url": "/v1/things"}


def missing(param: str) -> Response:
    error = {"type": "invalid_request_error", "code": "resource_missing", "param": param}
    return 404, {}, {"error": {**error, "message": f"No such {param}"}}


def query(url: str) -> tuple[str, list[str]]:
    path, _, parameters = url.partition("?")
    return path.removeprefix("https://api.stripe.com"), sorted(unquote(parameters).split("&"))


def test_a_customer_is_read_with_all_expansions_in_one_call() -> None:
    customer = {"id": "cus_1", "object": "customer"}
    adapter, wire = api(lambda method, url, headers: (200, {}, customer))
    assert adapter.retrieve_customer("cus_1") == (customer, 1_795_348_800)
    assert query(wire.urls[0]) == (
        "/v1/customers/cus_1",
        [
            "expand[0]=default_source",
            "expand[1]=invoice_settings.default_payment_method",
            "expand[2]=subscriptions.data.default_payment_method",
            "expand[3]=subscriptions.data.default_source",
            "expand[4]=tax_ids",
            "expand[5]=test_clock",
        ],
    )


def refused_expansion(method: str, url: str, headers: dict[str, str]) -> Response:
    if "expand" not in url:
        return 200, {}, {"id": "cus_1", "object": "customer", "deleted": True}
    error = {"type": "invalid_request_error", "param": "expand"}
    return 400, {}, {"error": {**error, "message": "This property cannot be expanded (tax_ids)."}}


def test_a_deleted_customer_is_read_once_without_expansions_if_stripe_refuses_them() -> None:
    adapter, wire = api(refused_expansion)
    found, as_of = adapter.retrieve_customer("cus_1")
    assert found["deleted"] is True
    assert as_of == 1_795_348_800
    assert len(wire.urls) == 2


def test_a_living_customer_is_never_read_without_its_expansions() -> None:
    def living(method: str, url: str, headers: dict[str, str]) -> Response:
        status, extra, body = refused_expansion(method, url, headers)
        return status, extra, body if status == 400 else {"id": "cus_1", "object": "customer"}

    adapter, _ = api(living)
    with pytest.raises(StripeRefused):
        adapter.retrieve_customer("cus_1")


#: The arguments of each read of a sync, and its outcome where Stripe has no such object.
READS: dict[str, tuple[tuple[str | None, ...], Any]] = {
    "retrieve_customer": (("cus_1",), CustomerNotFound),
    "list_active_entitlements": (("cus_1", None), StripeRefused),
    "list_invoice_lines": (("in_1", None), StripeRefused),
    "list_invoices": (("sub_1", None), StripeRefused),
    "list_subscription_items": (("sub_1", None), StripeRefused),
    "list_subscriptions": (("cus_1", None), StripeRefused),
    "list_tax_ids": (("cus_1", None), StripeRefused),
    # The optional ones.
    "list_product_features": (("prod_1", None), {"data": [], "has_more": False}),
    "retrieve_ended_subscription": (("sub_1",), None),
    "retrieve_price": (("price_1",), None),
}


def read(adapter: StripeApi, name: str) -> Any:
    return getattr(adapter, name)(*READS[name][0])


@pytest.mark.parametrize("name", READS)
def test_only_an_optional_read_is_empty_where_stripe_does_not_have_the_object(name: str) -> None:
    expected = READS[name][1]
    adapter, _ = api(lambda method, url, headers: missing("id"))
    if isinstance(expected, type):
        with pytest.raises(expected):
            read(adapter, name)
    else:
        assert read(adapter, name) == expected


@pytest.mark.parametrize("name", ["list_product_features", "retrieve_price"])
def test_an_optional_read_that_fails_otherwise_is_not_empty(name: str) -> None:
    refused = {"error": {"type": "invalid_request_error", "message": "Invalid id"}}
    adapter, _ = api(lambda method, url, headers: (400, {}, refused))
    with pytest.raises(StripeRefused):
        read(adapter, name)


def test_every_read_of_a_sync_is_optional_or_not() -> None:
    declared = {name for name in vars(StripeReads) if not name.startswith("_")}
    assert set(READS) == declared


def test_a_customer_that_stripe_does_not_have_is_not_found() -> None:
    adapter, _ = api(lambda method, url, headers: missing("customer"))
    with pytest.raises(CustomerNotFound):
        adapter.retrieve_customer("cus_1")


@pytest.mark.parametrize(
    ("list_page", "path", "parameters"),
    [
        (
            lambda adapter, after: adapter.list_subscriptions("cus_1", after),
            "/v1/subscriptions",
            [
                "customer=cus_1",
                "expand[0]=data.default_payment_method",
                "expand[1]=data.default_source",
            ],
        ),
        (
            lambda adapter, after: adapter.list_subscription_items("sub_1", after),
            "/v1/subscription_items",
            ["subscription=sub_1"],
        ),
        (
            lambda adapter, after: adapter.list_tax_ids("cus_1", after),
            "/v1/customers/cus_1/tax_ids",
            [],
        ),
        (
            lambda adapter, after: adapter.list_active_entitlements("cus_1", after),
            "/v1/entitlements/active_entitlements",
            ["customer=cus_1"],
        ),
        (
            lambda adapter, after: adapter.list_product_features("prod_1", after),
            "/v1/products/prod_1/features",
            [],
        ),
        (
            lambda adapter, after: adapter.list_invoices("sub_1", after),
            "/v1/invoices",
            ["subscription=sub_1"],
        ),
        (
            lambda adapter, after: adapter.list_invoice_lines("in_1", after),
            "/v1/invoices/in_1/lines",
            [],
        ),
    ],
)
def test_each_list_is_read_in_pages_of_a_hundred(
    list_page: Callable[[StripeApi, str | None], Any], path: str, parameters: list[str]
) -> None:
    adapter, wire = api(lambda method, url, headers: (200, {}, page("a", more=True)))
    assert list_page(adapter, None)["has_more"] is True
    list_page(adapter, "a")
    assert query(wire.urls[0]) == (path, sorted([*parameters, "limit=100"]))
    assert query(wire.urls[1]) == (path, sorted([*parameters, "limit=100", "starting_after=a"]))


def test_all_open_checkout_sessions_are_listed_and_no_others() -> None:
    pages = iter([page("cs_1", more=True), page("cs_2")])
    adapter, wire = api(lambda method, url, headers: (200, {}, next(pages)))
    assert [each["id"] for each in adapter.list_open_checkout_sessions("cus_1")] == ["cs_1", "cs_2"]
    assert "status=open" in query(wire.urls[0])[1]
    assert "expand[1]=data.customer" in query(wire.urls[0])[1]
    assert "starting_after=cs_1" in query(wire.urls[1])[1]


def test_all_subscriptions_of_a_customer_are_read_with_all_their_items() -> None:
    def subscription(name: str, *items: str, more: bool = False) -> dict[str, Any]:
        return {"id": name, "object": "subscription", "items": page(*items, more=more)}

    def subscriptions(*data: dict[str, Any], more: bool = False) -> dict[str, Any]:
        return {**page(more=more), "data": list(data)}

    responses = {
        "/v1/subscriptions": iter(
            [
                subscriptions(subscription("sub_1", "si_1"), more=True),
                subscriptions(subscription("sub_2", "si_2", more=True)),
            ]
        ),
        "/v1/subscription_items": iter([page("si_3", more=True), page("si_4")]),
    }
    adapter, wire = api(lambda method, url, headers: (200, {}, next(responses[query(url)[0]])))
    found = adapter.list_all_subscriptions("cus_1")
    assert {each["id"]: [item["id"] for item in each["items"]["data"]] for each in found} == {
        "sub_1": ["si_1"],
        "sub_2": ["si_2", "si_3", "si_4"],
    }
    assert [query(url)[1] for url in wire.urls] == [
        ["customer=cus_1", "limit=100", "status=all"],
        ["customer=cus_1", "limit=100", "starting_after=sub_1", "status=all"],
        ["limit=100", "starting_after=si_2", "subscription=sub_2"],
        ["limit=100", "starting_after=si_3", "subscription=sub_2"],
    ]


def test_further_items_that_stripe_does_not_have_are_left_out() -> None:
    def respond(method: str, url: str, headers: dict[str, str]) -> Response:
        if query(url)[0] == "/v1/subscription_items":
            return missing("subscription")
        owner = {"id": "sub_1", "object": "subscription", "items": page("si_1", more=True)}
        return 200, {}, {**page(), "data": [owner]}

    adapter, _ = api(respond)
    (found,) = adapter.list_all_subscriptions("cus_1")
    assert [each["id"] for each in found["items"]["data"]] == ["si_1"]


def test_the_newest_checkout_sessions_are_read_in_one_call() -> None:
    adapter, wire = api(lambda method, url, headers: (200, {}, page("cs_9", "cs_8", more=True)))
    assert [each["id"] for each in adapter.newest_checkout_sessions("cus_1")] == ["cs_9", "cs_8"]
    (url,) = wire.urls
    assert query(url)[1] == [
        "customer=cus_1",
        "expand[0]=data.line_items",
        f"limit={NEWEST_SESSIONS}",
    ]


@pytest.mark.parametrize(
    "retrieve",
    [
        lambda adapter: adapter.retrieve_subscription("x_1"),
        lambda adapter: adapter.retrieve_checkout_session("x_1"),
    ],
)
def test_an_object_that_does_not_exist_is_none(retrieve: Callable[[StripeApi], Any]) -> None:
    adapter, _ = api(lambda method, url, headers: (200, {}, {"id": "x_1", "object": "thing"}))
    assert retrieve(adapter)["id"] == "x_1"
    adapter, _ = api(lambda method, url, headers: missing("id"))
    assert retrieve(adapter) is None


def test_any_other_refusal_of_an_object_is_an_error() -> None:
    error = {"error": {"type": "invalid_request_error", "message": "Unrecognized request URL"}}
    adapter, _ = api(lambda method, url, headers: (404, {}, error))
    with pytest.raises(StripeRefused):
        adapter.retrieve_subscription("sub_1")


def test_a_portal_configuration_is_returned_with_stripes_date() -> None:
    adapter, wire = api(lambda method, url, headers: (200, {}, {"id": "bpc_1", "object": "x"}))
    configuration, as_of = adapter.retrieve_portal_configuration("bpc_1")
    assert (configuration["id"], as_of) == ("bpc_1", 1_795_348_800)
    assert query(wire.urls[0])[0] == "/v1/billing_portal/configurations/bpc_1"


def test_a_price_is_found_by_its_lookup_key_or_not_at_all() -> None:
    adapter, wire = api(lambda method, url, headers: (200, {}, page("price_1")))
    assert adapter.find_price_id("team_monthly") == "price_1"
    assert query(wire.urls[0])[1] == ["active=true", "limit=1", "lookup_keys[0]=team_monthly"]
    adapter, _ = api(lambda method, url, headers: (200, {}, page()))
    assert adapter.find_price_id("team_monthly") is None


def test_both_attempts_to_create_a_portal_session_have_the_same_idempotency_key() -> None:
    responses: Iterator[Response] = iter(
        [(503, {}, FAILED), (200, {}, {"id": "bps_1", "object": "x", "url": "u"})]
    )
    adapter, wire = api(lambda method, url, headers: next(responses))
    assert adapter.create_portal_session({"customer": "cus_1"}) == "u"
    assert len(wire.keys) == 2
    assert len(set(wire.keys)) == 1


@pytest.mark.parametrize(
    ("param", "error"), [("customer", CustomerNotFound), ("configuration", StripeRefused)]
)
def test_a_portal_session_raises_customer_not_found_only_for_a_missing_customer(
    param: str, error: type[Exception]
) -> None:
    adapter, _ = api(lambda method, url, headers: missing(param))
    with pytest.raises(error):
        adapter.create_portal_session({"customer": "cus_1"})


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (401, "invalid_request_error", StripeRefused),
        (403, "invalid_request_error", StripeRefused),
        (409, "idempotency_error", StripeUnavailable),
        (429, "rate_limit_error", StripeUnavailable),
        (500, "api_error", StripeUnavailable),
    ],
)
def test_the_status_of_an_error_decides_which_error_is_raised(
    status: int, kind: str, error: type[Exception]
) -> None:
    body = {"error": {"type": kind, "message": "No."}}
    adapter, _ = api(lambda method, url, headers: (status, {}, body))
    with pytest.raises(error):
        adapter.retrieve_customer("cus_1")


def test_a_client_sends_a_connected_account_only_if_one_is_configured() -> None:
    def header(account: str) -> str | None:
        wire = Wire(lambda method, url, headers: (200, headers, {"id": "x", "object": "x"}))
        client = connect(
            "sk_test_x", api_base="https://api", api_version=STRIPE_API_VERSION, account=account
        )
        client._requestor._client = wire
        customer = client.v1.customers.retrieve("cus_1")
        assert customer.last_response is not None
        sent: str | None = customer.last_response.headers.get("Stripe-Account")
        return sent

    assert header("own") is None
    assert header("acct_1") == "acct_1"


class RotatedKey:
    """The key's secret: `stored` is read only by `refreshed`."""

    def __init__(self, stored: str | None) -> None:
        self.stored = stored
        self.reads = 0

    def refreshed(self) -> str:
        self.reads += 1
        if self.stored is None:
            raise SecretUnavailable
        return self.stored


@contextmanager
def refusing(valid: str, key: RotatedKey) -> Iterator[tuple[StripeApi, Server]]:
    """Stripe with one valid key, and an adapter that still uses the key `sk_test_old`."""

    def respond(headers: dict[str, str]) -> tuple[int, Any]:
        if headers["authorization"] != f"Bearer {valid}":
            return 401, {"error": {"type": "invalid_request_error", "message": "Expired key."}}
        return 200, {"id": "x_1", "object": "thing", "url": "u"}

    with serving(respond) as server:
        client = connect(
            "sk_test_old",
            api_base=server.url,
            api_version=STRIPE_API_VERSION,
            account="own",
            refreshed_key=key.refreshed,
        )
        yield StripeApi(lambda: client), server


def test_a_refused_key_is_read_again_and_the_call_repeated_once_if_it_has_changed() -> None:
    key = RotatedKey("sk_test_new")
    with refusing("sk_test_new", key) as (adapter, server):
        assert adapter.retrieve_customer("cus_1")[0]["id"] == "x_1"
        used = [headers["authorization"] for headers in server.requests]
        assert used == ["Bearer sk_test_old", "Bearer sk_test_new"]
        # Both attempts stand for one call: they have one idempotency key.
        assert adapter.create_customer({"user_id": "ada"}, "k") == "x_1"
        assert adapter.create_portal_session({"customer": "cus_1"}) == "u"
        keys = [headers["idempotency-key"] for headers in server.requests[2:]]
    assert keys[:2] == ["k-0", "k-0"]
    assert keys[2] == keys[3]


@pytest.mark.parametrize(
    ("stored", "requests"),
    [("sk_test_old", 1), (None, 1), ("sk_test_newer", 2)],
    ids=["unchanged", "unreadable", "refused, too"],
)
def test_a_key_that_stays_refused_is_an_error_after_one_read_of_its_secret(
    stored: str | None, requests: int
) -> None:
    key = RotatedKey(stored)
    with refusing("sk_test_new", key) as (adapter, server), pytest.raises(StripeRefused) as raised:
        adapter.create_customer({"user_id": "ada"}, "k")
    assert raised.value.status == 401
    assert (len(server.requests), key.reads) == (requests, 1)


# ---------------------------------------------------------------- the calls of a deploy


def account(respond: Callable[[str, str, dict[str, str]], Response]) -> tuple[StripeAccount, Wire]:
    wire = Wire(respond)
    client = stripe.StripeClient(
        "sk_test_x", stripe_version=STRIPE_API_VERSION, http_client=wire, max_network_retries=0
    )
    return StripeAccount(lambda: client), wire


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (lambda adapter: adapter.list_webhook_endpoints(), "/v1/webhook_endpoints"),
        (lambda adapter: adapter.list_portal_configurations(), "/v1/billing_portal/configurations"),
    ],
)
def test_the_list_calls_of_a_deploy_read_every_page(
    call: Callable[[StripeAccount], Any], path: str
) -> None:
    pages = iter([page("a", more=True), page("b")])
    adapter, wire = account(lambda method, url, headers: (200, {}, next(pages)))
    assert [each["id"] for each in call(adapter)] == ["a", "b"]
    assert [query(url)[0] for url in wire.urls] == [path, path]


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (lambda adapter: adapter.create_webhook_endpoint({"url": "u"}), "/v1/webhook_endpoints"),
        (
            lambda adapter: adapter.update_webhook_endpoint("we_1", {"url": "u"}),
            "/v1/webhook_endpoints/we_1",
        ),
        (
            lambda adapter: adapter.create_portal_configuration({"features": {}}),
            "/v1/billing_portal/configurations",
        ),
        (
            lambda adapter: adapter.update_portal_configuration("bpc_1", {"active": False}),
            "/v1/billing_portal/configurations/bpc_1",
        ),
    ],
)
def test_the_write_calls_of_a_deploy_return_plain_objects(
    call: Callable[[StripeAccount], Any], path: str
) -> None:
    adapter, wire = account(lambda method, url, headers: (200, {}, {"id": "x_1", "object": "x"}))
    assert call(adapter) == {"id": "x_1", "object": "x"}
    assert query(wire.urls[0])[0] == path


def test_a_missing_endpoint_counts_as_deleted_and_any_other_refusal_is_an_error() -> None:
    adapter, _ = account(lambda method, url, headers: missing("id"))
    adapter.delete_webhook_endpoint("we_1")
    error = {"error": {"type": "invalid_request_error", "message": "No."}}
    adapter, _ = account(lambda method, url, headers: (400, {}, error))
    with pytest.raises(StripeRefused):
        adapter.delete_webhook_endpoint("we_1")
