"""GET /catalog: what is for sale, for everybody, signed in or not."""

from billing import http, wiring

#: Seconds a client or a CDN may keep the answer.
MAX_AGE = 60

catalogue = wiring.catalogue()


@http.endpoint
def handler(request: http.Request) -> http.Response:
    """200 with products, prices and features; 304 to whoever has them; 503 without the table."""
    return http.cacheable(request, catalogue(), max_age=MAX_AGE)
