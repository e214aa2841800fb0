"""POST /checkout-sessions: Stripe's checkout for the signed-in subject."""

from billing import http, wiring

settings = wiring.SETTINGS
checkout_sessions = wiring.checkout_sessions()


@http.endpoint
def handler(request: http.Request) -> http.Response:
    """201 with the session's URL and id."""
    # A user who may not open the portal may not buy either.
    request.require_scope(settings.portal_scope)
    session = checkout_sessions.create(request.subject(settings.subject_claim), request.json())
    return http.respond(201, {"url": session.url, "id": session.id})
