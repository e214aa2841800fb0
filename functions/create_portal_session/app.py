"""POST /portal-sessions: Stripe's customer portal for the signed-in subject."""

from billing import http, wiring
from billing.portal.sessions import parse_request

settings = wiring.SETTINGS
open_portal = wiring.portal_sessions()


@http.endpoint
def handler(request: http.Request) -> http.Response:
    """201 with the session's URL, or 303 to it for a form."""
    request.require_scope(settings.portal_scope)
    subject = request.subject(settings.subject_claim)
    url = open_portal(subject, parse_request(request.json()))
    return http.see_other(url) if request.prefers_html else http.respond(201, {"url": url})
