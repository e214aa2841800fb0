"""GET /entitlements and GET /entitlements/{feature}: what the signed-in subject may use."""

import time

from billing import http, responses, wiring

settings = wiring.SETTINGS
policy = settings.access_policy
customers = wiring.customers()


@http.endpoint
def handler(request: http.Request) -> http.Response:
    """200; a subject without a customer is entitled to nothing. 503 if the table fails."""
    subject = request.subject(settings.subject_claim)
    row = customers.of(subject)
    if request.route == "GET /entitlements":
        return http.respond(200, responses.entitlements(subject, row, policy, time.time()))
    feature = request.path_parameter("feature")
    return http.respond(200, responses.entitlement(feature, row, policy, time.time()))
