"""Record `events/webhooks/`: one webhook payload for each event type that our endpoint receives.

`make events` takes one customer through the simulator, from a trial to deletion, and keeps the
first event of each type that has no file yet (`--all`: of every type). Ids repeat from run to run.
Types that this never causes are derived from the event of another type.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import stripe

from billing.events import EFFECTS
from billing.settings import STRIPE_API_VERSION
from local.catalog import create_catalog, create_customer, subscribe
from local.engine import ROOT
from local.stripe_simulator.control import Control

FOLDER = ROOT / "events" / "webhooks"
API_KEY = "sk_test_recording"

#: Types that it never causes: the type each is derived from, and its previous attributes.
DERIVED: dict[str, tuple[str, dict[str, Any]]] = {
    "customer.subscription.pending_update_applied": ("customer.subscription.updated", {}),
    "customer.subscription.pending_update_expired": ("customer.subscription.updated", {}),
    "customer.tax_id.updated": ("customer.tax_id.created", {"verification": None}),
    # The API deletes no price. The simulator's control does, together with its product.
    "price.deleted": ("price.created", {}),
    "payment_method.automatically_updated": (
        "payment_method.attached",
        {"card": {"exp_year": 2029}},
    ),
}


def main() -> None:
    """Start a simulator, record the events, and write the files."""
    process = subprocess.Popen(
        [sys.executable, "-m", "local.stripe_simulator", "--seed", "1", "--api-key", API_KEY],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        recorded = record(address)
    finally:
        process.terminate()
        process.wait(10)
    FOLDER.mkdir(parents=True, exist_ok=True)
    known = {path.stem: path for path in FOLDER.glob("*.json")}
    for name in set(known) - set(recorded):
        known[name].unlink()
    kept = set() if "--all" in sys.argv else set(known)
    for name in sorted(set(recorded) - kept):
        write(FOLDER / f"{name}.json", recorded[name])
        print(f"Recorded events/webhooks/{name}.json")


def record(address: str) -> dict[str, dict[str, Any]]:
    """Return the first event of each type, by type. Exits if the simulator sends none of a type."""
    client = stripe.StripeClient(
        API_KEY, stripe_version=STRIPE_API_VERSION, base_addresses={"api": address}
    )
    with Control(address) as control:
        _run(client, control)
    first: dict[str, dict[str, Any]] = {}
    for event in client.v1.events.list({"limit": 100}).auto_paging_iter():
        first[event.type] = event.to_dict(for_json=True)
    for name, (like, previous) in DERIVED.items():
        about = first[like]
        data = {"object": about["data"]["object"], "previous_attributes": previous}
        first[name] = {**about, "id": f"{about['id']}_{len(name)}", "type": name, "data": data}
    missing = sorted(set(EFFECTS) - set(first))
    if missing:
        raise SystemExit(f"The simulator sent no event of these types: {', '.join(missing)}")
    return {name: first[name] for name in sorted(EFFECTS)}


def _run(client: stripe.StripeClient, control: Control) -> None:
    """Trial, purchase, upgrade, pause, failed renewals, portal, tax id, card, deletion."""
    catalog = create_catalog(client, return_url="https://app.example.com/account")
    customer = create_customer(client, "user_ada", name="Ada Okafor", email="ada@example.com")
    trial = subscribe(client, customer, catalog.prices["starter_monthly"], trial_days=7)
    control.advance(days=5)
    client.v1.subscriptions.cancel(trial)
    team = subscribe(client, customer, catalog.prices["team_monthly"], quantity=5)
    item = client.v1.subscriptions.retrieve(team)["items"]["data"][0]["id"]
    client.v1.subscriptions.update(
        team, {"items": [{"id": item, "price": catalog.prices["enterprise_monthly"]}]}
    )
    control.payment_outcome(customer, "requires_action")
    control.advance(days=32)
    control.payment_outcome(customer, "fail")
    control.advance(days=3)
    control.payment_outcome(customer, None)
    tax_id = client.v1.customers.tax_ids.create(
        customer, {"type": "eu_vat", "value": "DE123456789"}
    )
    client.v1.customers.tax_ids.delete(customer, tax_id.id)
    card = client.v1.customers.retrieve(customer).invoice_settings
    assert card is not None
    method = str(card.default_payment_method)
    client.v1.payment_methods.update(method, {"card": {"exp_month": 1, "exp_year": 2031}})
    client.v1.billing_portal.sessions.create({"customer": customer})
    configuration = client.v1.billing_portal.configurations.create(
        {"name": "invoices only", "features": {"invoice_history": {"enabled": True}}}
    )
    client.v1.billing_portal.configurations.update(
        configuration.id, {"features": {"payment_method_update": {"enabled": True}}}
    )
    _pause_and_resume(client, control, catalog.prices["starter_monthly"])
    _check_out(client, customer, catalog.prices["starter_monthly"])
    client.v1.payment_methods.detach(method)
    client.v1.customers.delete(customer)
    _sell_something_else(client)


def _pause_and_resume(client: stripe.StripeClient, control: Control, price: str) -> None:
    """Let a trial end without a card, which pauses it, then add a card and resume it."""
    customer = create_customer(client, "user_ben", card=None)
    trial = client.v1.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": price}],
            "trial_period_days": 1,
            "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
        }
    )
    control.advance(days=2)
    method = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    client.v1.customers.update(
        customer, {"invoice_settings": {"default_payment_method": method.id}}
    )
    client.v1.subscriptions.resume(trial.id)


def _check_out(client: stripe.StripeClient, customer: str, price: str) -> None:
    session = client.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer,
            "line_items": [{"price": price, "quantity": 1}],
            "success_url": "https://app.example.com/welcome",
        }
    )
    assert session.url is not None
    card = {"number": "4242424242424242", "exp_month": "12", "exp_year": "2030", "cvc": "123"}
    httpx.post(session.url, data=card)


def _sell_something_else(client: stripe.StripeClient) -> None:
    """Rename a product, deactivate a price, delete a product."""
    product = client.v1.products.create({"name": "Audit"})
    client.v1.products.update(product.id, {"name": "Audit log"})
    price = client.v1.prices.create(
        {
            "product": product.id,
            "currency": "eur",
            "unit_amount": 500,
            "recurring": {"interval": "month"},
        }
    )
    client.v1.prices.update(price.id, {"active": False})
    client.v1.products.delete(client.v1.products.create({"name": "Never sold"}).id)


def write(path: Path, value: object) -> None:
    """Write `value` as indented JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
