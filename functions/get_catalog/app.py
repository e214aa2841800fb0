"""GET /catalog: what is for sale, for everybody, signed in or not."""

from billing import http, wiring

#: How long a client or a CDN may cache the response.
MAX_AGE_SECONDS = 60

catalog = wiring.catalog()


@http.endpoint
def handler(request: http.Request) -> http.Response:
    """200 with products, prices and features; 304 to a client that has them already."""
    return http.cacheable(request, catalog(), max_age=MAX_AGE_SECONDS)
