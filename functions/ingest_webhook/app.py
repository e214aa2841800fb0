"""POST /webhooks/stripe: verified, put on the queue, and only then answered 200."""

from billing import http, wiring
from billing.ingest import MAX_BODY_BYTES

ingest = wiring.ingest()


@http.endpoint
def handler(request: http.Request) -> http.Response:
    """200 once SQS has the message; 400 for a bad signature; 503 makes Stripe try again."""
    ingest(request.body(limit=MAX_BODY_BYTES), request.headers.get("stripe-signature"))
    return http.respond(200, {"received": True})
