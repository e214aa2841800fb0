"""Every error the package raises on purpose.

PortcullisError
├── RequestRefused            the caller has to change something; carries HTTP status and type
│   ├── BadRequest            400
│   ├── SignatureRejected     400
│   ├── Forbidden             403
│   ├── NotFound              404
│   ├── StateConflict         409
│   │   └── AlreadySubscribed 409
│   └── PayloadTooLarge       413
├── Unavailable               a service we depend on failed; try again later (HTTP 503)
│   ├── StripeUnavailable     429, 5xx, timeout, refused connection
│   ├── StripeRefused         Stripe refused our key or our parameters
│   ├── StoreUnavailable      DynamoDB
│   ├── StoreRefused          DynamoDB will never accept this request
│   ├── QueueUnavailable      SQS
│   └── SecretUnavailable     Secrets Manager
├── Conflict                  another writer changed the row since we read it
├── OutOfTime                 too little time is left in this invocation
├── CustomerNotFound          Stripe answers 404: wrong account or mode, or a stale read
├── ConfigurationError        portcullis.toml cannot be used; names the line
├── SetupFailed               a deploy cannot set Stripe up; says what to do
└── Unprocessable             a queue message that can never succeed
"""

from __future__ import annotations


class PortcullisError(Exception):
    """Base of all errors raised on purpose."""


class RequestRefused(PortcullisError):
    """The request cannot be served as it is; `detail` says why and what to do."""

    status = 400
    problem = "bad-request"
    title = "Bad request"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequest(RequestRefused):
    """The request's body, path or parameters are wrong."""


class SignatureRejected(RequestRefused):
    """The webhook's signature is not valid for these bytes at this time."""

    problem = "signature-rejected"
    title = "Signature rejected"


class Forbidden(RequestRefused):
    """The token is valid, but it does not allow this."""

    status = 403
    problem = "forbidden"
    title = "Forbidden"


class NotFound(RequestRefused):
    """This subject has no such customer, subscription or session."""

    status = 404
    problem = "not-found"
    title = "Not found"


class StateConflict(RequestRefused):
    """The request contradicts the customer's current state."""

    status = 409
    problem = "conflict"
    title = "Conflict"


class AlreadySubscribed(StateConflict):
    """The subject already holds the product; the portal is where it is changed."""

    problem = "already-subscribed"
    title = "Already subscribed"


class PayloadTooLarge(RequestRefused):
    """The body is larger than the limit."""

    status = 413
    problem = "payload-too-large"
    title = "Payload too large"


class Unavailable(PortcullisError):
    """A service we depend on failed. Trying again later is safe."""

    service = "A service Portcullis depends on"
    fault = "did not answer"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class StripeUnavailable(Unavailable):
    """Stripe limits our rate, fails, or cannot be reached."""

    service = "Stripe"


class StripeRefused(Unavailable):
    """Stripe refused the API key or a parameter. An operator has to fix it before a retry helps.

    `code` and `param` are Stripe's; `status` is the HTTP status of its response.
    """

    service = "Stripe"
    fault = "refused our request; the operator has to look into it"

    def __init__(self, status: int, code: str | None, param: str | None, reason: str) -> None:
        super().__init__(reason)
        self.status, self.code, self.param = status, code, param


class StoreUnavailable(Unavailable):
    """DynamoDB did not answer or refused."""

    service = "The entitlement table"


class StoreRefused(Unavailable):
    """DynamoDB refused the request and always will: the item or its key is too large, say. `reason`
    is DynamoDB's error code."""

    service = "The entitlement table"
    fault = "refused what we tried to store; the operator has to look into it"


class QueueUnavailable(Unavailable):
    """SQS did not accept the message."""

    service = "The event queue"


class SecretUnavailable(Unavailable):
    """A secret could not be read from Secrets Manager."""

    service = "The secret store"


class Conflict(PortcullisError):
    """The row's revision changed between our read and our write."""


class OutOfTime(PortcullisError):
    """Too little time is left in this invocation to finish what would begin now."""


class CustomerNotFound(PortcullisError):
    """Stripe answers 404 for a customer (a deleted one answers 200 with `deleted: true`)."""


class ConfigurationError(PortcullisError):
    """portcullis.toml cannot be used; the message names each line and key, and what is allowed."""


class SetupFailed(PortcullisError):
    """A deploy cannot set Stripe up; the message says what to do."""


class Unprocessable(PortcullisError):
    """A queue message that can never succeed; `reason` goes with it to the dead-letter queue."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
