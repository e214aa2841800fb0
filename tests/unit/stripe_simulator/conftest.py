"""One simulator for all tests, reset before each test, and a receiver of its webhooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import stripe
from starlette.requests import Request
from starlette.responses import Response

from local.stripe_simulator import api as api_module
from local.stripe_simulator.control import Control
from local.stripe_simulator.library import CURRENT_VERSION
from local.stripe_simulator.server import listen, serve
from local.stripe_simulator.simulator import TEST, Simulator
from local.stripe_simulator.webhooks import Deliveries
from local.stripe_simulator.world import World
from tests.unit.stripe_simulator.shapes import check, unknown_urls, unserved_lists

stripe.enable_telemetry = False
KEY = "sk_test_simulator"


@pytest.fixture(scope="session", autouse=True)
def found_in_responses() -> Iterator[list[str]]:
    """Check every response and event of the newest version. Yields what is wrong with them."""
    found: list[str] = []
    handle, publish = api_module.handle, Deliveries.publish

    async def checked_handle(simulator: Simulator, request: Request) -> Response:
        response = await handle(simulator, request)
        if response.headers.get("stripe-version") == CURRENT_VERSION and response.status_code < 300:
            body = json.loads(bytes(response.body))
            found.extend(check(body))
            found.extend(unserved_lists(simulator.worlds[TEST], body))
        return response

    def checked_publish(self: Deliveries, world: World, event: dict[str, Any]) -> None:
        found.extend(check(event))
        found.extend(unknown_urls(event["data"]["object"]))
        publish(self, world, event)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_module, "handle", checked_handle)
        patch.setattr(Deliveries, "publish", checked_publish)
        yield found


@pytest.fixture(autouse=True)
def every_response_is_as_declared(found_in_responses: list[str]) -> Iterator[None]:
    found_in_responses.clear()
    yield
    assert not found_in_responses, "\n".join(sorted(set(found_in_responses)))


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    simulator = Simulator(seed=7)
    server = serve(simulator, listener := listen(0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield simulator.base_url
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def control(base_url: str) -> Iterator[Control]:
    with Control(base_url) as control:
        control.reset()
        yield control


@pytest.fixture
def client(control: Control) -> stripe.StripeClient:
    return client_at(control.base_url)


@pytest.fixture
def api(client: stripe.StripeClient) -> Any:
    return client.v1


@pytest.fixture
def browser(control: Control) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=control.base_url, trust_env=False) as browser:
        yield browser


def client_at(base_url: str, key: str = KEY, **options: Any) -> stripe.StripeClient:
    return stripe.StripeClient(key, base_addresses={"api": base_url}, **options)


class Receiver:
    """A webhook endpoint that records every request. It responds with `statuses`, then with 200."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.statuses: list[int] = []
        received, statuses = self.received, self.statuses

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.headers["Stripe-Signature"], body))
                self.send_response(statuses.pop(0) if statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def events(self) -> list[stripe.Event]:
        return [stripe.Event.construct_from(json.loads(body), KEY) for _, body in self.received]

    def types(self) -> list[str]:
        return [event.type for event in self.events()]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


class Shop:
    """A small catalog, with shortcuts to subscribe to it."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.feature = api.entitlements.features.create({"name": "Export", "lookup_key": "export"})
        self.priority = api.entitlements.features.create(
            {"name": "Priority", "lookup_key": "priority"}
        )
        self.basic = api.products.create({"name": "Basic"})
        self.pro = api.products.create({"name": "Pro <b>&"})
        api.products.features.create(self.basic.id, {"entitlement_feature": self.feature.id})
        for feature in (self.feature, self.priority):
            api.products.features.create(self.pro.id, {"entitlement_feature": feature.id})
        self.basic_price = self.price(self.basic.id, 1000, "basic_monthly")
        self.pro_price = self.price(self.pro.id, 3000, "pro_monthly")

    def price(self, product: str, amount: int, key: str, interval: str = "month") -> Any:
        return self.api.prices.create(
            {
                "product": product,
                "currency": "usd",
                "unit_amount": amount,
                "lookup_key": key,
                "recurring": {"interval": interval},
            }
        )

    def customer(self, card: str | None = "pm_card_visa", **params: Any) -> Any:
        if card is not None:
            params["payment_method"] = card
            params["invoice_settings"] = {"default_payment_method": card}
        return self.api.customers.create({"email": "ada@example.com", **params})

    def subscription(self, customer: Any = None, price: Any = None, **params: Any) -> Any:
        customer = customer or self.customer()
        price = price or self.basic_price
        return self.api.subscriptions.create(
            {"customer": customer.id, "items": [{"price": price.id}], **params}
        )

    def keys(self, customer: str) -> list[str]:
        found = self.api.entitlements.active_entitlements.list({"customer": customer, "limit": 100})
        return sorted(entitlement.lookup_key for entitlement in found.auto_paging_iter())

    def portal_configuration(self, **features: Any) -> Any:
        wanted: dict[str, Any] = {
            "customer_update": {"enabled": True, "allowed_updates": ["name", "email", "tax_id"]},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {
                "enabled": True,
                "mode": "at_period_end",
                "cancellation_reason": {"enabled": True, "options": ["too_expensive", "other"]},
            },
            "subscription_update": {
                "enabled": True,
                "default_allowed_updates": ["price", "quantity"],
                "products": [
                    {
                        "product": product.id,
                        "prices": [price.id],
                        "adjustable_quantity": {"enabled": True, "minimum": 1, "maximum": 9},
                    }
                    for product, price in (
                        (self.basic, self.basic_price),
                        (self.pro, self.pro_price),
                    )
                ],
            },
        }
        wanted.update(features)
        return self.api.billing_portal.configurations.create({"features": wanted})

    def portal(self, customer: str, **params: Any) -> Any:
        return self.api.billing_portal.sessions.create(
            {"customer": customer, "return_url": "https://app.example.com/account", **params}
        )


@pytest.fixture
def shop(api: Any) -> Shop:
    return Shop(api)
