"""The Stripe account as a deploy uses it: the request of each call, and its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from billing.adapters.stripe_account import StripeAccount
from billing.errors import StripeRefused, StripeUnavailable
from tests.unit.adapters.stripe import connected_account
from tests.unit.adapters.wire import Response, Wire, missing, page, stripe_error

Call = Callable[[StripeAccount], Any]

LISTS: dict[str, tuple[Call, str]] = {
    "list_webhook_endpoints": (
        lambda adapter: adapter.list_webhook_endpoints(),
        "/v1/webhook_endpoints",
    ),
    "list_portal_configurations": (
        lambda adapter: adapter.list_portal_configurations(),
        "/v1/billing_portal/configurations",
    ),
}

#: Every call that writes, as (the call, its path, its form).
WRITES: dict[str, tuple[Call, str, dict[str, str]]] = {
    "create_webhook_endpoint": (
        lambda adapter: adapter.create_webhook_endpoint(
            {"url": "u", "enabled_events": ["invoice.paid"], "connect": True}
        ),
        "/v1/webhook_endpoints",
        {"url": "u", "enabled_events[0]": "invoice.paid", "connect": "true"},
    ),
    "update_webhook_endpoint": (
        lambda adapter: adapter.update_webhook_endpoint("we_1", {"disabled": True}),
        "/v1/webhook_endpoints/we_1",
        {"disabled": "true"},
    ),
    "create_portal_configuration": (
        lambda adapter: adapter.create_portal_configuration(
            {"features": {"invoice_history": {"enabled": True}}}
        ),
        "/v1/billing_portal/configurations",
        {"features[invoice_history][enabled]": "true"},
    ),
    "update_portal_configuration": (
        lambda adapter: adapter.update_portal_configuration("bpc_1", {"active": False}),
        "/v1/billing_portal/configurations/bpc_1",
        {"active": "false"},
    ),
}


def delete(adapter: StripeAccount) -> None:
    adapter.delete_webhook_endpoint("we_1")


def test_every_call_is_tested_here() -> None:
    public = {name for name in vars(StripeAccount) if not name.startswith("_")}
    assert {*LISTS, *WRITES, "delete_webhook_endpoint"} == public


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_read_to_its_last_page(wire: Wire, name: str) -> None:
    list_all, path = LISTS[name]
    wire.responds(page("a", more=True), page("b"))
    assert [each["id"] for each in list_all(connected_account(wire))] == ["a", "b"]
    assert [sent.path for sent in wire.sent] == [path, path]
    assert [sent.query for sent in wire.sent] == [
        {"limit": "100"},
        {"limit": "100", "starting_after": "a"},
    ]


@pytest.mark.parametrize("name", WRITES)
def test_a_write_sends_its_parameters_and_returns_a_plain_object(wire: Wire, name: str) -> None:
    write, path, form = WRITES[name]
    wire.responds(Response({"id": "x_1", "object": "x"}))
    assert write(connected_account(wire)) == {"id": "x_1", "object": "x"}
    assert (wire.only.method, wire.only.path, wire.only.form) == ("POST", path, form)


def test_an_endpoint_is_deleted_by_its_id(wire: Wire) -> None:
    wire.responds(Response({"id": "we_1", "object": "webhook_endpoint", "deleted": True}))
    delete(connected_account(wire))
    assert (wire.only.method, wire.only.path) == ("DELETE", "/v1/webhook_endpoints/we_1")


def test_a_missing_endpoint_counts_as_deleted_and_any_other_refusal_is_an_error(
    wire: Wire,
) -> None:
    wire.responds(missing("id"))
    delete(connected_account(wire))
    for response in (stripe_error(400), stripe_error(404)):
        wire.responds(response)
        with pytest.raises(StripeRefused):
            delete(connected_account(wire))


@pytest.mark.parametrize("call", [call for call, *_ in (*LISTS.values(), *WRITES.values())])
def test_a_call_of_a_deploy_that_fails_is_an_error(wire: Wire, call: Call) -> None:
    wire.responds(stripe_error(429, "rate_limit_error"))
    with pytest.raises(StripeUnavailable):
        call(connected_account(wire))
    wire.responds(missing("id"))
    with pytest.raises(StripeRefused):
        call(connected_account(wire))
