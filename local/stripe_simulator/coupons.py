"""Coupons, promotion codes, and the discounts they become."""

from __future__ import annotations

import stripe.params as p

from .errors import invalid
from .lookup import find
from .parameters import Params
from .periods import boundary
from .routes import Page, in_range, merge_metadata, page, route
from .tables import Json
from .world import World


@route("POST", "/v1/coupons", p.CouponCreateParams, "coupon")
def create_coupon(world: World, params: Params) -> Json:
    if ("percent_off" in params) == ("amount_off" in params):
        raise invalid("You must pass either percent_off or amount_off, but not both.")
    if "amount_off" in params and "currency" not in params:
        raise invalid("You must pass currency when passing amount_off.", "currency")
    id = params.get("id") or world.token(8)
    if world.tables.peek("coupon", id) is not None:
        raise invalid("Coupon already exists.", "id", "resource_already_exists")
    return world.save(
        {
            "id": id,
            "object": "coupon",
            "amount_off": params.get("amount_off"),
            "created": world.now(),
            "currency": params.get("currency"),
            "duration": params.get("duration", "once"),
            "duration_in_months": params.get("duration_in_months"),
            "livemode": world.livemode,
            "max_redemptions": params.get("max_redemptions"),
            "metadata": merge_metadata(None, params.get("metadata")),
            "name": params.get("name"),
            "percent_off": params.get("percent_off"),
            "redeem_by": params.get("redeem_by"),
            "times_redeemed": 0,
            "valid": True,
        },
        "coupon.created",
    )


@route("GET", "/v1/coupons/{id}", p.CouponRetrieveParams, "coupon")
def retrieve_coupon(world: World, params: Params, id: str) -> Json:
    return find(world, "coupon", id, "coupon")


@route("DELETE", "/v1/coupons/{id}", p.CouponDeleteParams, "coupon")
def delete_coupon(world: World, params: Params, id: str) -> Json:
    find(world, "coupon", id, "coupon")
    return world.remove("coupon", id, "coupon.deleted")


@route("GET", "/v1/coupons", p.CouponListParams, "coupon", listing=True)
def list_coupons(world: World, params: Params) -> Page:
    found = [
        coupon
        for coupon in world.tables.all("coupon")
        if in_range(coupon["created"], params.get("created"))
    ]
    return page(found, params, "/v1/coupons")


@route("POST", "/v1/promotion_codes", p.PromotionCodeCreateParams, "promotion_code")
def create_promotion_code(world: World, params: Params) -> Json:
    coupon = params["promotion"].get("coupon")
    if coupon is None:
        raise invalid("Missing required param: promotion[coupon].", "promotion[coupon]")
    find(world, "coupon", coupon, "coupon", "promotion[coupon]")
    return world.save(
        {
            "id": world.id("promotion_code"),
            "object": "promotion_code",
            "active": params.get("active", True),
            "code": params.get("code") or world.token(8).upper(),
            "created": world.now(),
            "customer": params.get("customer"),
            "expires_at": params.get("expires_at"),
            "livemode": world.livemode,
            "max_redemptions": params.get("max_redemptions"),
            "metadata": merge_metadata(None, params.get("metadata")),
            "promotion": {"coupon": coupon, "type": "coupon"},
            "restrictions": {
                "first_time_transaction": False,
            },
            "times_redeemed": 0,
        },
        "promotion_code.created",
    )


@route("GET", "/v1/promotion_codes/{id}", p.PromotionCodeRetrieveParams, "promotion_code")
def retrieve_promotion_code(world: World, params: Params, id: str) -> Json:
    return find(world, "promotion_code", id, "promotion code")


def add_discount(world: World, subscription: Json, wanted: Params) -> str:
    """Redeem a coupon or a promotion code. Returns the id of the discount."""
    promotion = wanted.get("promotion_code")
    coupon = wanted.get("coupon")
    if promotion is not None:
        code = find(world, "promotion_code", promotion, "promotion code", "discounts")
        coupon = code["promotion"]["coupon"]
        world.save({**code, "times_redeemed": code["times_redeemed"] + 1})
    if coupon is None:
        raise invalid("You must pass a coupon or a promotion code.", "discounts")
    redeemed = find(world, "coupon", coupon, "coupon", "discounts")
    world.save({**redeemed, "times_redeemed": redeemed["times_redeemed"] + 1})
    end = None
    if redeemed["duration"] == "repeating":
        end = boundary(world.now(), "month", redeemed["duration_in_months"] or 1, 1)
    discount = world.save(
        {
            "id": world.id("discount"),
            "object": "discount",
            "customer": subscription["customer"],
            "end": end,
            "promotion_code": promotion,
            "source": {"coupon": coupon, "type": "coupon"},
            "start": world.now(),
            "subscription": subscription["id"],
        },
        "customer.discount.created",
    )
    return str(discount["id"])
