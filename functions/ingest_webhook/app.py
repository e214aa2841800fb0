"""POST /webhooks/stripe: verified, onto the queue, and only then answered 200."""

from billing import http, wiring

take_in = wiring.ingest()


@http.endpoint
def handler(request: http.Request) -> http.Response:
    """200 once SQS has the message; 400 for a bad signature; 503 makes Stripe try again."""
    take_in(request.body, request.headers.get("stripe-signature"))
    return http.respond(200, {"received": True})
