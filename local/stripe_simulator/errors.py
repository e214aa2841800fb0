"""Stripe's error envelope: one exception, and constructors for the errors that Stripe returns.

https://docs.stripe.com/api/errors
"""

from __future__ import annotations

from typing import Any

DOCS = "https://stripe.com/docs/error-codes/"


class StripeError(Exception):
    """An error response in Stripe's shape.

    `commits` marks an error after which Stripe keeps the changes of the call: a declined charge is
    recorded. Every other error undoes the whole call.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        decline_code: str | None = None,
        commits: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.decline_code = decline_code
        self.commits = commits

    def body(self, request_id: str, livemode: bool = False) -> dict[str, Any]:
        error: dict[str, Any] = {"message": self.message, "type": self.type}
        if self.code is not None:
            error["code"] = self.code
            error["doc_url"] = DOCS + self.code.replace("_", "-")
        if self.decline_code is not None:
            error["decline_code"] = self.decline_code
        if self.param is not None:
            error["param"] = self.param
        mode = "" if livemode else "test/"
        error["request_log_url"] = f"https://dashboard.stripe.com/{mode}logs/{request_id}"
        return {"error": error}


def invalid(message: str, param: str | None = None, code: str | None = None) -> StripeError:
    """Return a 400: the request is not valid."""
    return StripeError(400, message, code=code, param=param)


def missing_parameter(param: str) -> StripeError:
    return invalid(f"Missing required param: {param}.", param, "parameter_missing")


def unknown_parameter(param: str) -> StripeError:
    return invalid(f"Received unknown parameter: {param}", param, "parameter_unknown")


def no_such(noun: str, id: str, param: str = "id") -> StripeError:
    """Return a 404 if the path names a missing object, a 400 if a parameter does."""
    status = 404 if param == "id" else 400
    return StripeError(status, f"No such {noun}: '{id}'", code="resource_missing", param=param)


def card_declined(message: str = "Your card was declined.") -> StripeError:
    """Return a 402: the charge was refused."""
    return StripeError(
        402, message, type="card_error", code="card_declined", decline_code="generic_decline"
    )
