"""The portal's pages about the customer: card, billing information and tax ids."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from . import customers, lifecycle, payment_methods
from .errors import StripeError
from .pages import card_of, show, text_of
from .portal_visit import NotAllowed, Visit, act, done, frame
from .tables import Json
from .world import World

TAX_ID_TYPES = ("eu_vat", "gb_vat", "us_ein", "ch_vat", "au_abn", "ca_bn", "in_gst", "jp_cn")


def card_on_file(visit: Visit) -> Json | None:
    """Return what the page shows of the payment method: a brand, last4, and a card's expiry."""
    method = payment_methods.charged(visit.world, visit.customer)
    if method is None:
        return None
    type = str(method.get("type", method["object"]))
    return {"brand": type.replace("_", " "), **method.get(type, method)}


def show_card_form(visit: Visit, status: int = 200, message: str | None = None) -> Response:
    return show("card.html", status, card=card_on_file(visit), message=message, **frame(visit))


async def card_form(visit: Visit, request: Request) -> Response:
    visit.need("payment_method_update")
    return show_card_form(visit)


async def update_card(visit: Visit, request: Request) -> Response:
    visit.need("payment_method_update")
    card = card_of(await request.form())
    customer = visit.customer["id"]

    def replace(world: World) -> None:
        made = payment_methods.new_card(world, card["number"], card["exp_month"], card["exp_year"])
        method = world.save({**made, "customer": customer}, "payment_method.attached")
        settings = {"default_payment_method": method["id"]}
        customers.update_customer(world, {"invoice_settings": settings}, customer)
        # A subscription with its own card would otherwise keep charging that card.
        for subscription in world.tables.all("subscription", customer=customer):
            own = subscription["default_payment_method"]
            if own is not None and subscription["status"] not in lifecycle.ENDED:
                world.save(
                    {**subscription, "default_payment_method": method["id"]},
                    "customer.subscription.updated",
                )

    try:
        act(visit, replace)
    except StripeError as error:
        return show_card_form(visit, error.status, error.message)
    return done(visit, "payment_method_update")


def show_customer_form(visit: Visit) -> Response:
    return show(
        "customer.html",
        customer=visit.customer,
        allowed=visit.features["customer_update"]["allowed_updates"],
        tax_ids=visit.world.tables.all("tax_id", customer=visit.customer["id"]),
        tax_id_types=TAX_ID_TYPES,
        **frame(visit),
    )


async def customer_form(visit: Visit, request: Request) -> Response:
    visit.need("customer_update")
    return show_customer_form(visit)


async def update_customer(visit: Visit, request: Request) -> Response:
    visit.need("customer_update")
    form = await request.form()
    allowed = visit.features["customer_update"]["allowed_updates"]
    sent = [name for name in ("name", "email", "phone") if name in form]
    if not set(sent) <= set(allowed):
        raise NotAllowed
    changes = {name: text_of(form, name) for name in sent}
    id = visit.customer["id"]
    act(visit, lambda world: customers.update_customer(world, changes, id))
    return done(visit, "customer_update")


async def add_tax_id(visit: Visit, request: Request) -> Response:
    visit.need("customer_update")
    if "tax_id" not in visit.features["customer_update"]["allowed_updates"]:
        raise NotAllowed
    form = await request.form()
    wanted = {"type": text_of(form, "type"), "value": text_of(form, "value")}
    if wanted["type"] not in TAX_ID_TYPES:
        raise NotAllowed
    id = visit.customer["id"]
    act(visit, lambda world: customers.create_tax_id(world, wanted, id))
    return done(visit, "customer_update")
