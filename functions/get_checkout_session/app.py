"""GET /checkout-sessions/{id}: back from checkout, with what was bought, webhook or not."""

import time

from billing import http, responses, wiring

settings = wiring.SETTINGS
checkout_sessions = wiring.checkout_sessions()


@http.endpoint
def handler(request: http.Request) -> http.Response:
    """200 with the session's status and the entitlements; 404 for anybody else's session."""
    subject = request.subject(settings.subject_claim)
    session = checkout_sessions.retrieve(subject, request.path_parameter("id"))
    entitlements = responses.entitlements(subject, session.row, settings.access_policy, time.time())
    return http.respond(
        200, {"id": session.id, "status": session.status, "entitlements": entitlements}
    )
