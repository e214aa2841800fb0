"""The errors: what each one says when it is logged."""

from __future__ import annotations

import pytest

from billing import errors
from billing.errors import (
    NotFound,
    PortcullisError,
    StoreRefused,
    StripeRefused,
    StripeUnavailable,
    Unprocessable,
)


@pytest.mark.parametrize(
    "error",
    [
        NotFound("it is not there"),
        StripeUnavailable("it is not there"),
        StripeRefused(404, "resource_missing", "price", "it is not there"),
        StoreRefused("it is not there"),
        Unprocessable("it is not there"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_text_of_an_error_is_its_reason(error: PortcullisError) -> None:
    assert str(error) == "it is not there"


REFUSALS: dict[type[errors.RequestRefused], tuple[int, str, str]] = {
    errors.RequestRefused: (400, "bad-request", "Bad request"),
    errors.BadRequest: (400, "bad-request", "Bad request"),
    errors.SignatureRejected: (400, "signature-rejected", "Signature rejected"),
    errors.Forbidden: (403, "forbidden", "Forbidden"),
    errors.NotFound: (404, "not-found", "Not found"),
    errors.StateConflict: (409, "conflict", "Conflict"),
    errors.AlreadySubscribed: (409, "already-subscribed", "Already subscribed"),
    errors.PayloadTooLarge: (413, "payload-too-large", "Payload too large"),
}


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.__name__)
def test_a_refusal_has_its_status_and_the_names_that_clients_know(
    error: type[errors.RequestRefused],
) -> None:
    assert (error.status, error.problem, error.title) == REFUSALS[error]


ANSWERS = "did not answer"
FAULTS: dict[type[errors.Unavailable], tuple[str, str]] = {
    errors.Unavailable: ("A service Portcullis depends on", ANSWERS),
    errors.StripeUnavailable: ("Stripe", ANSWERS),
    errors.StripeRefused: ("Stripe", "refused our request; the operator has to look into it"),
    errors.StoreUnavailable: ("The entitlement table", ANSWERS),
    errors.StoreRefused: (
        "The entitlement table",
        "refused what we tried to store; the operator has to look into it",
    ),
    errors.QueueUnavailable: ("The event queue", ANSWERS),
    errors.SecretUnavailable: ("The secret store", ANSWERS),
}


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: error.__name__)
def test_an_outage_names_the_service_and_what_it_did(error: type[errors.Unavailable]) -> None:
    assert (error.service, error.fault) == FAULTS[error]


def test_every_error_that_a_client_sees_stands_in_a_table() -> None:
    def below(error: type[Exception]) -> set[type[Exception]]:
        # An adapter may have one of its own.
        own = [each for each in error.__subclasses__() if each.__module__ == errors.__name__]
        return {error}.union(*map(below, own))

    assert below(errors.RequestRefused) == set(REFUSALS)
    assert below(errors.Unavailable) == set(FAULTS)


def test_a_refusal_of_stripes_has_its_reason() -> None:
    assert errors.StripeRefused(400, "code", "param", "InvalidRequestError").reason == (
        "InvalidRequestError"
    )


def test_an_outage_may_have_no_reason() -> None:
    assert errors.QueueUnavailable().reason == ""
