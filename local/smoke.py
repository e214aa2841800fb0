"""The smoke test: the deploy and the main job end to end, one line for each step.

`python -m local.smoke --write-permissions` also writes `docs/stripe_permissions.json`: the
permissions that the deployed functions' key used, from which `make contract` makes a table.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import stripe

from billing.adapters.store import WRITE_UNIT_BYTES, DynamoDBStore, item_size
from billing.configuration import file as configuration_file
from billing.customers import Customers
from billing.deploy.portal_configurations import NAME
from billing.events import EFFECTS
from billing.settings import STRIPE_API_VERSION
from local.deploy import TEMPLATE, DeployError
from local.engine import ROOT, EngineError
from local.identity import Issuer
from local.journey import Journey, eventually
from local.layer import CONFIGURATION_FILE, LayerError
from local.stack import (
    FUNCTIONS_API_KEY,
    LocalStack,
    StackError,
    signing_secrets,
    until_asked_to_stop,
)

TEAM = {"projects", "api_access", "priority_support"}
PERMISSIONS = ROOT / "docs" / "stripe_permissions.json"


class StepFailed(Exception):
    """The service did not do what a step expects."""


def expect(holds: bool, seen: object) -> None:
    """Raise StepFailed with `seen` unless `holds`."""
    if not holds:
        raise StepFailed(str(seen))


class Smoke:
    """The steps, in order. Each one continues from the state that the one before left."""

    def __init__(self, stack: LocalStack, *, write_permissions: bool = False) -> None:
        self.stack = stack
        self.ada = Journey(stack, "smoke_ada")
        self.ben = Journey(stack, "smoke_ben")
        self.write_permissions = write_permissions
        self.failed = False
        #: The permissions that the functions' key used, by when they are needed.
        self.used: dict[str, set[str]] = {"deploy": set(), "run": set()}

    def steps(self) -> list[tuple[str, Callable[[], str | None]]]:
        """Return the name and the function of each step, which may return a measurement."""
        return [
            (
                "the deploy created one webhook endpoint and the configurations of portcullis.toml",
                self.made,
            ),
            ("a second deploy changes nothing in Stripe", self.again),
            ("a changed portcullis.toml changes that configuration only", self.portal_changed),
            ("no token, an expired token or a token of another issuer is a 401", self.tokens),
            ("a forged or unsigned webhook is a 400, and nothing is queued", self.forged),
            ("a new subscription gives its features", self.subscribe),
            (
                "one feature: entitled if the plan has it, not entitled if not",
                self.feature,
            ),
            (
                "a sync reads Stripe twice and writes one unit, and a check reads the table once",
                self.costs,
            ),
            ("a customer id in the body or a foreign return_url is a 400", self.refused),
            ("cancelled in the portal: entitled until the end of the period", self.cancel),
            ("reactivated in the portal: entitled without an end", self.reactivate),
            ("webhooks delivered twice and in reverse order change nothing", self.disorder),
            (
                "cancelled at once: not entitled, whatever older webhook arrives",
                self.cancel_now,
            ),
            ("a first purchase gives its features, and expires the session before it", self.buy),
            ("past due: entitled for the days of grace", self.past_due),
            ("Stripe's permissions are those that the README lists", self.permissions),
        ]

    def count_permissions(self, step: Callable[[], str | None]) -> None:
        """Add the permissions used since the last call to those of a deploy or of the service."""
        deploys = step in (self.made, self.again, self.portal_changed)
        used = self.stack.control.used_permissions(FUNCTIONS_API_KEY)
        self.used["deploy" if deploys else "run"].update(used)

    def made(self) -> None:
        account = self.stack.stripe.v1
        (endpoint,) = account.webhook_endpoints.list().data
        expect(endpoint.url == self.stack.deployment.outputs["WebhookUrl"], endpoint.url)
        expect(sorted(endpoint.enabled_events) == sorted(EFFECTS), endpoint.enabled_events)
        expect(endpoint.api_version == STRIPE_API_VERSION, endpoint.api_version)
        expect(endpoint.status == "enabled", endpoint.status)
        file = configuration_file.load(stage="dev", mode="test", path=CONFIGURATION_FILE)
        expect(
            {name: made["active"] for name, made in self.configurations().items()}
            == {each.name: True for each in file.configurations},
            self.configurations(),
        )
        offered = self.configurations()["default"]["features"]["subscription_update"]["products"]
        prices = self.stack.catalog.prices
        expect(
            [price for product in offered for price in product["prices"]]
            == [prices[name] for name in file.configurations[0].prices],
            offered,
        )
        expect(
            "https://" in self.stack.deployment.outputs["LoginPages"],
            "no login page",
        )

    def again(self) -> None:
        before, secret = self.in_stripe(), signing_secrets(self.stack.client("secretsmanager"))
        # Like a deploy of another commit: the layer's bytes change, the configuration does not.
        self.redeploy_with(CONFIGURATION_FILE.read_text() + "# the same\n")
        expect(self.in_stripe() == before, self.in_stripe())
        after = signing_secrets(self.stack.client("secretsmanager"))
        expect(after == secret, "the signing secret has changed")

    def portal_changed(self) -> None:
        before = self.in_stripe()
        changed_file = CONFIGURATION_FILE.read_text().replace("on this machine", "changed")
        self.redeploy_with(changed_file)
        after = self.in_stripe()
        changed = self.configurations()["default"]
        expect(changed["business_profile"]["headline"] == "Portcullis, changed", changed)
        different = [each for each in after if after[each] != before.get(each)]
        expect(different == [changed["id"]], after)
        expect(after.keys() == before.keys(), after)

    def redeploy_with(self, configuration: str) -> None:
        path = self.stack.engine.folder / "portcullis.toml"
        path.write_text(configuration)
        self.stack.redeploy(configuration_file=path)
        self.stack.wait_until_quiet()

    def configurations(self) -> dict[str, dict[str, Any]]:
        """Return the portal configurations that the deploy created, by name."""
        found = self.stack.stripe.v1.billing_portal.configurations.list().data
        made = [each.to_dict() for each in found]
        return {each["metadata"][NAME]: each for each in made if NAME in each["metadata"]}

    def in_stripe(self) -> dict[str, Any]:
        """Return everything in Stripe that a deploy could change, by id."""
        account = self.stack.stripe.v1
        found: list[Any] = [
            *account.webhook_endpoints.list().data,
            *account.billing_portal.configurations.list().data,
        ]
        return {each.id: each.to_dict() for each in found}

    def tokens(self) -> None:
        stranger = Issuer(self.stack.site.url).token("smoke_ada")
        expired = self.stack.token("smoke_ada", lifetime=-60)
        for token in (None, expired, stranger):
            headers = {"authorization": f"Bearer {token}"} if token else {}
            for method, path in (("GET", "/entitlements"), ("POST", "/portal-sessions")):
                response = self.stack.http.request(
                    method, self.stack.api_url + path, headers=headers
                )
                expect(response.status_code == httpx.codes.UNAUTHORIZED, response)

    def forged(self) -> None:
        body = '{"id":"evt_forged","object":"event","type":"customer.updated"}'
        sign = stripe.WebhookSignature.generate_signature_header
        now = int(time.time())
        for header in (
            {},
            {"stripe-signature": sign(body, "whsec_of_somebody_else", now)},
            {"stripe-signature": sign(body, self.stack.webhook_secret, now - 3600)},
        ):
            response = self.stack.http.post(
                self.stack.deployment.webhook_url,
                content=body,
                headers={"content-type": "application/json", **header},
            )
            expect(response.status_code == httpx.codes.BAD_REQUEST, response)
        for url in (
            self.stack.deployment.event_queue_url,
            self.stack.deployment.dead_letter_queue_url,
        ):
            expect(self.stack.queue_depth(url) == 0, f"a forged webhook was queued at {url}")

    def subscribe(self) -> None:
        self.ada = Journey.begin(self.stack, "smoke_ada", plan="team_monthly", seats=3)
        seen = eventually(self.ada.entitlements, lambda now: set(now["features"]) == TEAM)
        expect(seen["customer"] == self.ada.customer, seen)
        expect([each["quantity"] for each in seen["products"].values()] == [3], seen)

    def feature(self) -> None:
        has = self.ada.get("/entitlements/api_access").json()
        has_not = self.ada.get("/entitlements/audit_log").json()
        expect(has["entitled"] is True and bool(has["until"]), has)
        expect(has_not["entitled"] is False, has_not)

    def costs(self) -> str:
        self.stack.wait_until_quiet()
        self.stack.control.clear_requests()
        (created,) = self.stack.control.deliveries("customer.subscription.created")
        self.stack.control.resend(created["event"])
        self.stack.wait_until_quiet()
        reads = [f"{each['method']} {each['path']}" for each in self.stack.control.requests()]
        expect(
            reads
            == [
                f"GET /v1/customers/{self.ada.customer}",
                "GET /v1/entitlements/active_entitlements",
            ],
            reads,
        )

        dynamodb = self.stack.client("dynamodb")
        store = DynamoDBStore(dynamodb, self.stack.deployment.table_name)
        issuer = self.stack.parameters()["JwtIssuer"]
        customers = Customers(store, mode="test", issuers=(issuer,), clock=time.monotonic)
        checks: list[str] = []
        customers.of("smoke_ada")
        dynamodb.meta.events.register(
            "before-call.dynamodb", lambda model, **_: checks.append(model.name)
        )
        row = customers.of("smoke_ada")
        expect(checks == ["GetItem"], checks)
        expect(row is not None, row)
        size = item_size(row.to_item()) if row else 0
        units = -(-size // WRITE_UNIT_BYTES)
        expect(units == 1, f"the row has {size} bytes")
        return f"{len(reads)} reads of Stripe; {size} bytes, {units} write unit; {len(checks)} read"

    def refused(self) -> None:
        for body in ({"customer": "cus_other"}, {"return_url": "https://elsewhere.example/"}):
            response = self.ada.post("/portal-sessions", body)
            expect(response.status_code == httpx.codes.BAD_REQUEST, response)
            expect(response.headers["content-type"] == "application/problem+json", response.headers)

    def cancel(self) -> None:
        visit = self.ada.visit(return_url=f"{self.stack.site.url}/")
        expect(visit.home().status_code == httpx.codes.OK, visit.url)
        visit.cancel()
        seen = eventually(self.ada.entitlements, _ending)
        expect(set(seen["features"]) == TEAM, seen)

    def reactivate(self) -> None:
        self.ada.visit().reactivate()
        seen = eventually(self.ada.entitlements, lambda now: not _ending(now))
        expect(set(seen["features"]) == TEAM, seen)

    def disorder(self) -> None:
        self.stack.wait_until_quiet()
        before = _settled(self.ada.entitlements())
        for entry in reversed(self.stack.control.deliveries()):
            self.stack.control.resend(entry["event"])
        self.stack.wait_until_quiet()
        expect(_settled(self.ada.entitlements()) == before, "the entitlements changed")
        # An upgrade and a downgrade whose webhooks arrive in reverse order and twice.
        visit = self.ada.visit()
        self.stack.control.hold_deliveries()
        try:
            visit.update(price=self.stack.catalog.prices["enterprise_monthly"])
            visit.update(price=self.stack.catalog.prices["team_monthly"])
        finally:
            self.stack.control.deliver_normally()
            released = self.stack.control.release_deliveries("reversed")
        for entry in self.stack.control.deliveries()[-released:]:
            self.stack.control.resend(entry["event"])
        expect(released >= 2, f"the simulator held only {released} webhooks")
        self.stack.wait_until_quiet()
        after = _settled(self.ada.entitlements())
        expect(after["features"].keys() == before["features"].keys(), after)
        expect(after["products"].keys() == before["products"].keys(), after)

    def cancel_now(self) -> None:
        self.stack.stripe.v1.subscriptions.cancel(self.ada.subscription)
        eventually(self.ada.entitlements, lambda now: not now["features"] and not now["products"])
        created = self.stack.control.deliveries("customer.subscription.created")
        for entry in created:
            self.stack.control.resend(entry["event"])
        self.stack.wait_until_quiet()
        expect(self.ada.features() == set(), "an older webhook restored access")
        expect(bool(created), "no customer.subscription.created was ever delivered")

    def buy(self) -> None:
        first = self.ben.buy("team_monthly")
        second = self.ben.buy("team_monthly", quantity=2)
        expect(first.page().status_code == httpx.codes.GONE, "the first session is open")
        second.pay()
        returned = self.ben.come_back(second.session)
        expect(set(returned["entitlements"]["features"]) == TEAM, returned)
        self.ben.customer = returned["entitlements"]["customer"]
        (subscription,) = self.stack.stripe.v1.subscriptions.list(
            {"customer": self.ben.customer}
        ).data
        self.ben.subscription = subscription.id

    def past_due(self) -> None:
        self.stack.control.payment_outcome(self.ben.customer, "fail")
        self.stack.stripe.v1.subscriptions.update(
            self.ben.subscription, {"billing_cycle_anchor": {"type": "now"}}
        )
        seen = eventually(
            self.ben.entitlements,
            lambda now: [each["status"] for each in now["subscriptions"]] == ["past_due"],
        )
        expect(set(seen["features"]) == TEAM, seen)

    def permissions(self) -> str:
        expect(not self.failed, "known only if every step before has passed")
        found = {
            when: [
                name
                for name in sorted(names)
                if name.endswith("_write") or name[:-5] + "_write" not in names
            ]
            for when, names in self.used.items()
        }
        if self.write_permissions:
            text = {"written by": "python -m local.smoke --write-permissions", **found}
            PERMISSIONS.write_text(json.dumps(text, indent=2) + "\n")
        listed = json.loads(PERMISSIONS.read_text())
        expect(all(found[when] == listed[when] for when in found), found)
        return ", ".join(f"{len(names)} for {when}" for when, names in found.items())


def _ending(entitlements: dict[str, Any]) -> bool:
    return any(each["cancel_at"] for each in entitlements["subscriptions"])


def _settled(entitlements: dict[str, Any]) -> dict[str, Any]:
    # Only the time of the read from Stripe may change.
    return {key: value for key, value in entitlements.items() if key != "as_of"}


def run(stack: LocalStack, *, write_permissions: bool) -> tuple[int, int]:
    """Run every step, also after a failure. Returns how many passed and how many there are."""
    smoke = Smoke(stack, write_permissions=write_permissions)
    steps = smoke.steps()
    passed = 0
    for name, step in steps:
        started = time.monotonic()
        try:
            measured = step()
        except (
            StepFailed,
            DeployError,
            TimeoutError,
            RuntimeError,
            httpx.HTTPError,
            stripe.StripeError,
            KeyError,
            ValueError,
        ) as error:
            smoke.failed = True
            print(
                f"  FAILED {time.monotonic() - started:6.2f} s  {name}\n         {error}",
                flush=True,
            )
        else:
            passed += 1
            print(f"  ok     {time.monotonic() - started:6.2f} s  {name}", flush=True)
            if measured:
                print(f"{'':19}{measured}", flush=True)
        smoke.count_permissions(step)
    return passed, len(steps)


def main(template: Path = TEMPLATE, *, write_permissions: bool = False) -> int:
    """Start the stack, run the steps, stop the stack.

    Returns the exit status: 0 only if every step passed.
    """
    started = time.monotonic()
    stack = LocalStack(demo_users=False, template=template)
    passed, steps = 0, len(Smoke(stack).steps())
    try:
        with until_asked_to_stop(), stack:
            print(
                f"  stack  {time.monotonic() - started:6.2f} s  deployed from template.yaml",
                flush=True,
            )
            passed, steps = run(stack, write_permissions=write_permissions)
    except (EngineError, LayerError, DeployError, StackError) as error:
        print(f"  {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("  Stopped before the last step.", file=sys.stderr)
    print(f"smoke: {passed} of {steps} steps passed")
    return 0 if passed == steps else 1


if __name__ == "__main__":
    sys.exit(main(write_permissions="--write-permissions" in sys.argv[1:]))
