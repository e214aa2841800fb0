"""POST /portal-sessions: Stripe's customer portal for the signed-in subject."""

from billing import http, wiring

settings = wiring.SETTINGS
portal_sessions = wiring.portal_sessions()


@http.endpoint
def handler(request: http.Request) -> http.Response:
    """201 with the session's URL."""
    request.require_scope(settings.portal_scope)
    url = portal_sessions.create(request.subject(settings.subject_claim), request.json())
    return http.respond(201, {"url": url})
