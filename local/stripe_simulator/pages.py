"""Shared by the hosted pages: escaping templates, strict headers, amounts and dates."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from starlette.datastructures import FormData
from starlette.responses import HTMLResponse, RedirectResponse, Response

from .tables import Json

# The address is a secret that opens the page: do not cache it or send it to other sites.
# With `no-referrer` the page's own forms would send `Origin: null`, which the guard refuses.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}


def _money(amount: int | None, currency: str) -> str:
    value = f"{(amount or 0) / 100:,.2f}"
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{value}" if symbol else f"{value} {currency.upper()}"


def _day(timestamp: int) -> str:
    moment = datetime.fromtimestamp(timestamp, UTC)
    return f"{moment:%B} {moment.day}, {moment.year}"


def _per(recurring: Json) -> str:
    count, interval = recurring["interval_count"], recurring["interval"]
    return f"per {interval}" if count == 1 else f"every {count} {interval}s"


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(money=_money, day=_day, per=_per, words=_words)


def show(template: str, status: int = 200, **context: Any) -> Response:
    text = _templates.get_template(template).render(**context)
    return HTMLResponse(text, status, HEADERS)


def go(url: str) -> Response:
    """Return a 303: the browser then requests `url` with a GET."""
    return RedirectResponse(url, 303, HEADERS)


def text_of(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def card_of(form: FormData) -> Json:
    """Return the card fields of a form. A date that is no number is 0, which no card accepts."""
    month, year = text_of(form, "exp_month"), text_of(form, "exp_year")
    return {
        "number": text_of(form, "number"),
        "exp_month": int(month) if month.isdecimal() else 0,
        "exp_year": int(year) if year.isdecimal() else 0,
    }
