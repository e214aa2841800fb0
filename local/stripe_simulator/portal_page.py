"""The hosted customer portal at a session's URL. Its HTML forms use the same code as the API.

Paths below `/p/session/<secret>`. A POST returns 303, or 400, 402 or 403 if it is refused:

    GET  /                              the homepage, or the step of the session's flow
    GET  /subscriptions/<sub>/cancel    POST: feedback?, comment?
    POST /subscriptions/<sub>/retention (accepts the coupon that a cancel flow offers)
    POST /subscriptions/<sub>/reactivate
    GET  /subscriptions/<sub>/update    POST: price?, quantity?, confirmed? (confirmed applies the flow's discounts)
    GET  /subscriptions/<sub>/pause     POST
    POST /subscriptions/<sub>/resume
    GET  /payment-method                POST: number, exp_month, exp_year, cvc
    GET  /customer                      POST: name?, email?, phone?, as the configuration allows
    POST /tax-ids                       type, value
    GET  /confirmation                  where a flow with `hosted_confirmation` ends
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import lifecycle
from . import portal_customer_pages as customer_pages
from . import portal_subscription_pages as subscription_pages
from .errors import StripeError
from .pages import go, show
from .portal_visit import Expired, NotAllowed, Visit, frame, open_visit
from .simulator import Simulator
from .tables import Json

Page = Callable[[Visit, Request], Awaitable[Response]]


def routes(simulator: Simulator) -> list[Route]:
    found = []
    for path, (read, write) in _PAGES.items():
        for method, page in (("GET", read), ("POST", write)):
            if page is not None:
                endpoint = _endpoint(simulator, page)
                found.append(Route("/p/session/{secret}" + path, endpoint, methods=[method]))
    return found


def _endpoint(simulator: Simulator, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        simulator.run_due()
        try:
            visit = open_visit(simulator, request.path_params["secret"])
        except Expired:
            return show("expired.html", 410)
        try:
            return await page(visit, request)
        except NotAllowed:
            return show("refused.html", 403, **frame(visit))
        except StripeError as error:
            # Show the reason, so that the visitor can fix it.
            return show("refused.html", error.status, message=error.message, **frame(visit))

    return endpoint


async def _home(visit: Visit, request: Request) -> Response:
    flow = visit.flow
    if flow is not None:
        return _step(visit, flow)
    world, customer = visit.world, visit.customer
    current = [
        subscription_pages.described(visit, subscription)
        for subscription in world.tables.all("subscription", customer=customer["id"])
        if subscription["status"] not in lifecycle.ENDED
    ]
    invoices = [
        invoice
        for invoice in world.tables.all("invoice", customer=customer["id"])
        if invoice["status"] != "draft"
    ]
    return show(
        "home.html",
        subscriptions=current,
        invoices=invoices[:10],
        card=customer_pages.card_on_file(visit),
        customer=customer,
        tax_ids=world.tables.all("tax_id", customer=customer["id"]),
        tax_id_types=customer_pages.TAX_ID_TYPES,
        features=visit.features,
        **frame(visit),
    )


def _step(visit: Visit, flow: Json) -> Response:
    type = flow["type"]
    if type == "payment_method_update":
        return customer_pages.show_card_form(visit)
    if type == "customer_update":
        return customer_pages.show_customer_form(visit)
    subscription = visit.subscription(flow[type]["subscription"])
    if subscription["status"] in lifecycle.ENDED:
        raise NotAllowed
    if type == "subscription_cancel":
        return subscription_pages.show_cancel(visit, subscription)
    if type == "subscription_pause":
        return show(
            "pause.html",
            subscription=subscription_pages.described(visit, subscription),
            **frame(visit),
        )
    confirm = flow[type] if type == "subscription_update_confirm" else None
    return subscription_pages.show_update(visit, subscription, confirm)


async def _confirmation(visit: Visit, request: Request) -> Response:
    flow = visit.session["flow"]
    if flow is None or not visit.session.get("_completed"):
        return go(visit.base)
    hosted = flow["after_completion"]["hosted_confirmation"] or {}
    return show("confirmation.html", message=hosted.get("custom_message"), **frame(visit))


_PAGES: dict[str, tuple[Page | None, Page | None]] = {
    "": (_home, None),
    "/subscriptions/{id}/cancel": (subscription_pages.cancel_form, subscription_pages.cancel),
    "/subscriptions/{id}/retention": (None, subscription_pages.accept_coupon),
    "/subscriptions/{id}/reactivate": (None, subscription_pages.reactivate),
    "/subscriptions/{id}/update": (subscription_pages.update_form, subscription_pages.update),
    "/subscriptions/{id}/pause": (subscription_pages.pause_form, subscription_pages.pause),
    "/subscriptions/{id}/resume": (None, subscription_pages.resume),
    "/payment-method": (customer_pages.card_form, customer_pages.update_card),
    "/customer": (customer_pages.customer_form, customer_pages.update_customer),
    "/tax-ids": (None, customer_pages.add_tax_id),
    "/confirmation": (_confirmation, None),
}
