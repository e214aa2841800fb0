"""POST /checkout-sessions: Stripe's checkout for the signed-in subject."""

from billing import http, wiring
from billing.checkout import parse_request

settings = wiring.SETTINGS
checkout = wiring.checkout_sessions()


@http.endpoint
def handler(request: http.Request) -> http.Response:
    """201 with the session's URL and id, or 303 to it for a form."""
    # Who may not manage the billing may not begin it either.
    request.require_scope(settings.portal_scope)
    subject = request.subject(settings.subject_claim)
    session = checkout.open(subject, parse_request(request.json()))
    if request.prefers_html:
        return http.see_other(session.url)
    return http.respond(201, {"url": session.url, "id": session.id})
