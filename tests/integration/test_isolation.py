"""Two subjects: no request of one returns a URL or an entitlement of the other.

Most requests run the handlers in this process, on fakes that mark every response with its owner. A
few hundred requests go over HTTP to the deployed template, with all kinds of forged tokens.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import secrets
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import billing
from billing.checkout.buyers import Buyers
from billing.checkout.sessions import CheckoutSessions
from billing.configuration import file as configuration_file
from billing.customers import Customers
from billing.portal.sessions import PortalSessions
from billing.return_urls import ReturnUrls
from billing.sync import ATTEMPT_BUDGET_MS
from local.engine import ROOT
from local.identity import AUDIENCE, Issuer
from local.journey import Journey, eventually
from local.stack import LocalStack
from tests.unit.fakes import MemoryQueue, MemoryStore, MemoryStripe, Reports, sync_of
from tests.unit.stripe_objects import POLICY, customer, entitlements, item, subscription

ISSUER = "https://issuer/"
SUBJECTS = ("ada", "ben")
ORIGIN = "https://app.example.com"
FILE = configuration_file.parse(
    """
    [default]
    features.customer_update = { enabled = true, allowed_updates = ["email"] }
    features.payment_method_update.enabled = true
    features.subscription_cancel = { enabled = true, mode = "at_period_end" }
    [checkout]
    prices = ["team_monthly", "extra_monthly"]
    """,
    stage="prod",
    mode="test",
)


class Stripe(MemoryStripe):
    """The account of Ada and Ben. Each feature contains the mark of its subject.

    The URL of a session contains the mark of each subject whose objects the request names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.marks = {subject: secrets.token_hex(8) for subject in SUBJECTS}
        self.sessions: list[dict[str, Any]] = []
        for subject in SUBJECTS:
            of = f"cus_{subject}"
            self.customers[of] = customer(id=of, metadata={"user_id": subject})
            own = item(f"prod_{subject}", ends=int(time.time()) + 30 * 86_400)
            self.subscriptions_of[of] = [
                subscription(items=[own], id=f"sub_{subject}", customer=of, schedule=None)
            ]
            self.entitlements_of[of] = entitlements(f"feature_{self.marks[subject]}")

    def _marks_of(self, parameters: Mapping[str, Any]) -> str:
        # Only these two fields: a subject may have the same name as another subject's customer.
        text = json.dumps([parameters["customer"], parameters.get("flow_data")])
        return "-".join(
            self.marks[subject]
            for subject in SUBJECTS
            if any(f'"{kind}_{subject}"' in text for kind in ("cus", "sub", "si_prod"))
        )

    # portal.PortalApi

    def retrieve_subscription(self, subscription: str) -> Mapping[str, Any] | None:
        lists = self.subscriptions_of.values()
        found = (each for subscriptions in lists for each in subscriptions)
        return next((each for each in found if each["id"] == subscription), None)

    def find_price_id(self, lookup_key: str) -> str | None:
        return None

    def create_portal_session(self, parameters: Mapping[str, Any]) -> str:
        return f"https://billing.stripe.com/{self._marks_of(parameters)}/{secrets.token_hex(8)}"

    # checkout.CheckoutApi

    def find_price(self, name: str) -> Mapping[str, Any] | None:
        if name not in FILE.checkout.prices:
            return None
        product = name.removesuffix("_monthly")
        return {
            "id": f"price_{product}",
            "lookup_key": name,
            "active": True,
            "recurring": {"interval": "month"},
            "product": {"id": f"prod_{product}", "active": True},
        }

    def create_customer(self, metadata: Mapping[str, str], key: str) -> str:
        customer_id = f"cus_new{len(self.customers)}"
        self.customers[customer_id] = customer(id=customer_id, metadata=dict(metadata))
        return customer_id

    def newest_checkout_sessions(self, customer_id: str) -> list[dict[str, Any]]:
        return [each for each in reversed(self.sessions) if each["customer"] == customer_id]

    def list_open_checkout_sessions(self, customer_id: str) -> list[dict[str, Any]]:
        theirs = [each for each in reversed(self.sessions) if each["customer"] == customer_id]
        return [each for each in theirs if each["status"] == "open"]

    def retrieve_checkout_session(self, session: str) -> dict[str, Any] | None:
        return next((each for each in self.sessions if each["id"] == session), None)

    def expire_checkout_session(self, session: str) -> bool:
        found = self.retrieve_checkout_session(session)
        assert found is not None
        found["status"] = "expired"
        return True

    def list_all_subscriptions(self, customer_id: str) -> list[Mapping[str, Any]]:
        return list(self.subscriptions_of.get(customer_id, []))

    def create_checkout_session(self, parameters: Mapping[str, Any], key: str) -> dict[str, Any]:
        line = parameters["line_items"][0]
        price = {"id": line["price"], "product": line["price"].replace("price", "prod")}
        self.sessions.append(
            {
                "id": f"cs_test_{len(self.sessions)}",
                "customer": parameters["customer"],
                **{name: parameters[name] for name in ("mode", "success_url", "cancel_url")},
                "status": "open",
                "created": int(time.time()),
                "expires_at": int(time.time()) + 86_400,
                "subscription": None,
                "url": f"https://checkout.stripe.com/{self._marks_of(parameters)}",
                "line_items": {"data": [{"price": price, "quantity": line["quantity"]}]},
            }
        )
        return self.sessions[-1]


class Functions:
    """The functions' own handlers on fakes in memory. Only AWS and Stripe are replaced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stripe = Stripe()
        store = MemoryStore()
        sync = sync_of(
            store=store,
            stripe=self.stripe,
            queue=MemoryQueue(),
            report=Reports(),
            issuers=(ISSUER,),
        )

        def sync_now(key: Any) -> None:
            self.stripe.now = int(time.time())
            sync(key, (), lambda: ATTEMPT_BUDGET_MS, on_demand=True)

        customers = Customers(store, mode="test", issuers=(ISSUER,), clock=time.monotonic)
        return_urls = ReturnUrls(
            allowed_origins=(ORIGIN,), default=f"{ORIGIN}/account", stage="prod"
        )
        configurations = SimpleNamespace(
            configuration_named=lambda mode, name: "bpc_1", load_document=store.load_document
        )
        portal = PortalSessions(
            customers=customers,
            stripe=self.stripe,
            store=configurations,
            configuration=FILE,
            policy=POLICY,
            on_behalf_of="own",
            account="own",
            clock=time.time,
            return_urls=return_urls,
            mode="test",
        )
        buyers = Buyers(
            store=store,
            stripe=self.stripe,
            sync=sync_now,
            account="own",
            mode="test",
            issuers=(ISSUER,),
            subject_metadata_key="user_id",
        )
        checkout = CheckoutSessions(
            buyers=buyers,
            stripe=self.stripe,
            read_catalog=dict,
            pause=lambda attempt: None,
            clock=time.time,
            offer=FILE.checkout,
            policy=POLICY,
            return_urls=return_urls,
        )
        wiring = SimpleNamespace(
            SETTINGS=SimpleNamespace(subject_claim="sub", portal_scope="", access_policy=POLICY),
            customers=lambda: customers,
            portal_sessions=lambda: portal,
            checkout_sessions=lambda: checkout,
        )
        monkeypatch.setattr(billing, "wiring", wiring, raising=False)
        self.handlers = {
            name: self._load(name)
            for name in (
                "create_portal_session",
                "create_checkout_session",
                "get_checkout_session",
                "get_entitlements",
            )
        }
        from billing.keys import CustomerKey

        for subject in SUBJECTS:
            sync_now(CustomerKey("own", "test", f"cus_{subject}"))
            # Requests of the other subject may name these sessions.
            checkout.create(subject, {"price": "team_monthly"})
            paid = checkout.create(subject, {"price": "extra_monthly"})
            session = self.stripe.retrieve_checkout_session(paid.id)
            assert session is not None
            session.update(status="complete", subscription=f"sub_{subject}")

    @staticmethod
    def _load(function: str) -> Callable[[Any, Any], dict[str, Any]]:
        path = ROOT / "functions" / function / "app.py"
        spec = importlib.util.spec_from_file_location(f"{function}_isolated", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        handler: Callable[[Any, Any], dict[str, Any]] = module.handler
        return handler


@pytest.fixture(scope="module")
def functions() -> Any:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Functions(monkeypatch)


# ---------------------------------------------------------------- the requests

SUBJECT = st.sampled_from(SUBJECTS)

#: Values that are almost a subject.
ALMOST = st.one_of(
    st.builds(
        str.__mod__,
        st.sampled_from(
            ["%s ", " %s", "%s\x00", "%s\n", "%s#", "%s/../ben", "[%s]", '"%s"', "ada,%s", "%s%%00"]
        ),
        SUBJECT,
    ),
    st.builds(str.upper, SUBJECT),
)
IDS = st.builds(
    str.__add__,
    st.sampled_from(["cus_", "sub_", "si_prod_", "prod_", "cs_test_", f"{ISSUER}#", "test#"]),
    st.sampled_from([*SUBJECTS, "0", "1", "2", "3"]),
)
NAMES = st.one_of(SUBJECT, ALMOST, IDS, st.text(max_size=12))
SUBSCRIPTIONS = st.builds(str.__add__, st.just("sub_"), SUBJECT)
ODD = st.one_of(NAMES, st.none(), st.booleans(), st.integers(), st.lists(NAMES, max_size=2))

CLAIMS = st.one_of(
    # A genuine subject, with more claims that may name the other subject.
    st.builds(
        lambda subject, extra: {**extra, "sub": subject},
        SUBJECT,
        st.dictionaries(
            st.sampled_from(
                ["customer", "org_id", "username", "email", "client_id", "SUB", "scope"]
            ),
            NAMES,
            max_size=3,
        ),
    ),
    # Almost a subject.
    st.builds(lambda subject: {"sub": subject}, ALMOST),
    # Other values and types.
    st.dictionaries(
        st.sampled_from(["sub", "Sub", "customer", "org_id", "scope"]), ODD, max_size=3
    ),
)

ANY_FLOW = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "subscription_cancel",
                "subscription_update",
                "subscription_update_confirm",
                "subscription_pause",
                "payment_method_update",
                "customer_update",
            ]
        )
    },
    optional={
        "subscription": st.one_of(SUBSCRIPTIONS, SUBSCRIPTIONS, NAMES),
        "items": st.lists(st.fixed_dictionaries({"id": NAMES}), min_size=1, max_size=2),
    },
)
# Often a well-formed flow on any subscription: a portal without an owner check would open it.
FLOW = st.one_of(
    st.fixed_dictionaries({"type": st.just("subscription_cancel"), "subscription": SUBSCRIPTIONS}),
    ANY_FLOW,
)
PORTAL = st.one_of(
    st.fixed_dictionaries({"flow": FLOW}),
    st.fixed_dictionaries({}, optional={"flow": FLOW, "return_url": st.just(f"{ORIGIN}/x")}),
)
CHECKOUT = st.fixed_dictionaries(
    {"price": st.sampled_from([*FILE.checkout.prices, "price_team", "other"])},
    optional={
        "quantity": st.integers(-1, 3),
        "success_url": st.one_of(st.just(f"{ORIGIN}/x"), NAMES),
    },
)
MADE_UP = st.dictionaries(
    st.sampled_from(
        ["customer", "customerId", "subject", "sub", "flow", "price", "client_reference_id", "id"]
    ),
    ODD,
    max_size=3,
)


def requests(function: str, key: str, body: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Requests of one route: most are well-formed, some have other fields, some are not JSON."""
    bodies = st.one_of(body.map(json.dumps), body.map(json.dumps), MADE_UP.map(json.dumps))
    return st.tuples(st.just(function), st.just(key), st.one_of(bodies, st.text(max_size=20)))


REQUESTS = st.one_of(
    requests("create_portal_session", "POST /portal-sessions", PORTAL),
    requests("create_checkout_session", "POST /checkout-sessions", CHECKOUT),
    requests("get_checkout_session", "GET /checkout-sessions/{id}", MADE_UP),
    requests("get_entitlements", "GET /entitlements", MADE_UP),
    requests("get_entitlements", "GET /entitlements/{feature}", MADE_UP),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["accept", "Accept", "x-user", "x-amzn-oidc-identity", "cookie", "authorization"]
    ),
    st.one_of(st.just("text/html"), NAMES),
    max_size=2,
)


@given(
    claims=CLAIMS,
    request=REQUESTS,
    headers=HEADERS,
    name=st.one_of(IDS, NAMES),
    query=st.dictionaries(st.sampled_from(["sub", "customer", "subject"]), NAMES, max_size=2),
    encoded=st.booleans(),
)
@settings(
    max_examples=2000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_claim_body_path_or_header_returns_anything_of_the_other_subject(
    functions: Functions,
    claims: dict[str, Any],
    request: tuple[str, str, str],
    headers: dict[str, str],
    name: str,
    query: dict[str, str],
    encoded: bool,
) -> None:
    function, key, body = request
    text = body.encode("utf-8", "surrogatepass")
    event = {
        "routeKey": key,
        "headers": headers,
        "queryStringParameters": query,
        "pathParameters": {"id": name, "feature": name},
        "body": base64.b64encode(text).decode() if encoded else body,
        "isBase64Encoded": encoded,
        "requestContext": {"requestId": "r", "authorizer": {"jwt": {"claims": claims}}},
    }
    response = functions.handlers[function](event, None)
    assert response["statusCode"] != 500, response
    text_of_response = json.dumps(response)
    for subject, mark in functions.stripe.marks.items():
        if claims.get("sub") != subject:
            assert mark not in text_of_response, (claims, key, body)


def test_the_responses_of_each_subject_contain_its_own_mark(functions: Functions) -> None:
    """The test above depends on this: without marks it would always pass."""
    for subject in SUBJECTS:
        context = {"authorizer": {"jwt": {"claims": {"sub": subject}}}}
        mark = functions.stripe.marks[subject]
        flow = {"type": "subscription_cancel", "subscription": f"sub_{subject}"}
        for function, key, body, name in (
            ("create_portal_session", "POST /portal-sessions", {"flow": flow}, ""),
            ("create_checkout_session", "POST /checkout-sessions", {"price": "team_monthly"}, ""),
            ("get_entitlements", "GET /entitlements", {}, ""),
        ):
            event = {
                "routeKey": key,
                "requestContext": context,
                "body": json.dumps(body),
                "pathParameters": {"id": name},
            }
            assert mark in json.dumps(functions.handlers[function](event, None)), function


# ---------------------------------------------------------------- over HTTP, on the template


@pytest.fixture(scope="module")
def two(deployed: LocalStack) -> dict[str, Journey]:
    """Two customers of the deployed template, on plans whose features differ."""
    plans = {"isolated_ada": "starter_monthly", "isolated_ben": "enterprise_monthly"}
    created = {name: Journey.begin(deployed, name, plan=plan) for name, plan in plans.items()}
    for journey in created.values():
        eventually(journey.features, bool)
    return created


def forged_token(stack: LocalStack, how: str, subject: str, other: str) -> tuple[str, str | None]:
    """Return a token and its rightful owner, which is None unless the token is genuine."""
    genuine = stack.token(subject)
    head, _, signature = genuine.split(".")
    claims = jwt.decode(genuine, options={"verify_signature": False})
    forged = (
        base64.urlsafe_b64encode(json.dumps({**claims, "sub": other}).encode()).decode().rstrip("=")
    )
    no_algorithm = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    match how:
        case "genuine":
            return genuine, subject
        case "more claims":
            return stack.token(subject, customer=other, org_id=other, username=other), subject
        case "payload replaced":
            return f"{head}.{forged}.{signature}", None
        case "no algorithm":
            return f"{no_algorithm}.{forged}.", None
        case "another's key":
            return Issuer(stack.site.url).token(subject), None
        case "another issuer":
            return stack.token(subject, iss="https://elsewhere.example/"), None
        case "another audience":
            return stack.token(subject, aud=f"{AUDIENCE}.elsewhere"), None
        case "expired":
            return stack.token(subject, lifetime=-60), None
        case "symmetric":
            secret = stack.site.issuer.keys()["keys"][0]["n"]
            return jwt.encode({**claims, "sub": other}, secret, algorithm="HS256"), None
        case "almost the name":
            return stack.token(f"{subject} "), f"{subject} "
        case "truncated":
            return genuine[:-4], None
        case _:
            return subject, None


TOKENS = (
    "genuine",
    "more claims",
    "payload replaced",
    "no algorithm",
    "another's key",
    "another issuer",
    "another audience",
    "expired",
    "symmetric",
    "almost the name",
    "truncated",
    "no token",
)


@given(data=st.data())
@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_token_and_no_body_returns_anything_of_the_other_subject_over_http(
    deployed: LocalStack, two: dict[str, Journey], data: st.DataObject
) -> None:
    subject = data.draw(st.sampled_from(sorted(two)))
    (other,) = set(two) - {subject}
    token, owner = forged_token(deployed, data.draw(st.sampled_from(TOKENS)), subject, other)
    theirs = two[other]
    body: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                {},
                {"customer": theirs.customer},
                {"flow": {"type": "subscription_cancel", "subscription": theirs.subscription}},
                {"price": "team_monthly"},
                {"price": "starter_monthly", "client_reference_id": other},
            ]
        )
    )
    method, path = data.draw(
        st.sampled_from(
            [
                ("POST", "/portal-sessions"),
                ("POST", "/checkout-sessions"),
                ("GET", "/entitlements"),
                ("GET", "/entitlements/single_sign_on"),
            ]
        )
    )
    response = deployed.http.request(
        method,
        f"{deployed.api_url}{path}?sub={other}&customer={theirs.customer}",
        json=body if method == "POST" else None,
        headers={"authorization": f"Bearer {token}", "x-user": other, "cookie": f"sub={other}"},
    )
    if owner is None:
        assert response.status_code == httpx.codes.UNAUTHORIZED, response.text
        return
    assert response.status_code < httpx.codes.INTERNAL_SERVER_ERROR, response.text
    if method == "GET":
        entitled = "features" in response.text and "single_sign_on" in response.text
        held = response.json().get("entitled", entitled and path == "/entitlements")
        assert not held or owner == "isolated_ben"
        assert theirs.customer not in response.text
        assert theirs.subscription not in response.text
    elif response.status_code == httpx.codes.CREATED:
        # Stripe's own record shows whose session it is.
        kind = "billing_portal" if path == "/portal-sessions" else "checkout"
        created = deployed.control.requests("POST", f"/v1/{kind}/sessions")[-1]
        assert created["params"]["customer"] != theirs.customer
        assert theirs.subscription not in json.dumps(created["params"])
