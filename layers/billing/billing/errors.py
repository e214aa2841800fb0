"""Every error the package raises on purpose.

PortcullisError
├── RequestRefused            the caller's doing; carries the HTTP status and a problem type
│   ├── BadRequest            400
│   ├── SignatureRejected     400
│   ├── Forbidden             403
│   ├── NotFound              404
│   ├── StateConflict         409
│   │   └── AlreadySubscribed 409
│   └── PayloadTooLarge       413
├── Unavailable               something we depend on; try again later (HTTP 503)
│   ├── StripeUnavailable     429, 5xx, timeout, refused connection
│   ├── StripeRefused         Stripe refused our key or our parameters
│   ├── StoreUnavailable      DynamoDB
│   ├── QueueUnavailable      SQS
│   └── SecretUnavailable     Secrets Manager
├── Conflict                  somebody else wrote the row since we read it
├── OutOfTime                 too little of the invocation is left to begin
├── CustomerNotFound          Stripe answers 404: wrong account or mode, or a read that lags
├── SubjectTaken              the subject is held by another customer
├── ConfigurationError           portcullis.toml cannot be used; names the line
├── SetupFailed               a deploy cannot make Stripe what it should be; says what to do
└── Unprocessable             a queue message that can never succeed
"""

from __future__ import annotations


class PortcullisError(Exception):
    """Base of all errors raised on purpose."""


class RequestRefused(PortcullisError):
    """The request cannot be served as it stands; `detail` says why and what to do."""

    status = 400
    problem = "bad-request"
    title = "Bad request"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequest(RequestRefused):
    """The request's body, path or parameters are wrong."""


class SignatureRejected(RequestRefused):
    """The webhook's signature does not hold for these bytes at this time."""

    problem = "signature-rejected"
    title = "Signature rejected"


class Forbidden(RequestRefused):
    """The token is genuine but does not carry what this takes."""

    status = 403
    problem = "forbidden"
    title = "Forbidden"


class NotFound(RequestRefused):
    """No such customer, subscription or route for this subject."""

    status = 404
    problem = "not-found"
    title = "Not found"


class StateConflict(RequestRefused):
    """What is asked contradicts the customer's present state."""

    status = 409
    problem = "conflict"
    title = "Conflict"


class AlreadySubscribed(StateConflict):
    """The subject holds what it asks to buy; the portal is where that is changed."""

    problem = "already-subscribed"
    title = "Already subscribed"


class PayloadTooLarge(RequestRefused):
    """The body is larger than anything we accept."""

    status = 413
    problem = "payload-too-large"
    title = "Payload too large"


class Unavailable(PortcullisError):
    """A service we depend on did not do its part; nothing was lost, trying again later is right."""

    service = "A service Portcullis depends on"
    fault = "did not answer"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class StripeUnavailable(Unavailable):
    """Stripe is rate-limiting, failing, or out of reach."""

    service = "Stripe"


class StripeRefused(Unavailable):
    """Stripe refused the API key or a parameter: an operator has to look, retrying may then help.

    `code` and `param` are Stripe's, `status` is the HTTP status it answered with.
    """

    service = "Stripe"
    fault = "refused our request, which an operator has to look into"

    def __init__(self, status: int, code: str | None, param: str | None, reason: str) -> None:
        super().__init__(reason)
        self.status, self.code, self.param = status, code, param


class StoreUnavailable(Unavailable):
    """DynamoDB did not answer or refused."""

    service = "The entitlement table"


class QueueUnavailable(Unavailable):
    """SQS did not accept the message."""

    service = "The event queue"


class SecretUnavailable(Unavailable):
    """A secret could not be read from Secrets Manager."""

    service = "The secret store"


class Conflict(PortcullisError):
    """The row's revision moved between our read and our write."""


class OutOfTime(PortcullisError):
    """Too little of this invocation is left to begin a piece of work that could be finished."""


class CustomerNotFound(PortcullisError):
    """Stripe answers 404 for a customer (a deleted one answers 200 with `deleted: true`)."""


class SubjectTaken(PortcullisError):
    """Another customer holds the subject."""


class ConfigurationError(PortcullisError):
    """portcullis.toml cannot be used; the message names each line and key, and what is allowed."""


class SetupFailed(PortcullisError):
    """A deploy cannot make Stripe what it should be; the message says what to do about it."""


class Unprocessable(PortcullisError):
    """A queue message that can never succeed; `reason` goes with it to the dead-letter queue."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
