"""The errors: what each one says when it is logged."""

from __future__ import annotations

import pytest

from billing import errors


def test_the_text_of_an_error_is_its_reason() -> None:
    for error in (
        errors.NotFound("it is not there"),
        errors.StripeUnavailable("it is not there"),
        errors.StripeRefused(404, "resource_missing", "price", "it is not there"),
        errors.StoreRefused("it is not there"),
        errors.Unprocessable("it is not there"),
    ):
        assert str(error) == "it is not there"


def test_what_stripe_refuses_has_stripes_words() -> None:
    error = errors.StripeRefused(404, "resource_missing", "price", "it is not there")
    assert (error.status, error.code, error.param) == (404, "resource_missing", "price")
    assert error.reason == "it is not there"


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


@pytest.mark.parametrize(
    ("base", "table"), [(errors.RequestRefused, REFUSALS), (errors.Unavailable, FAULTS)]
)
def test_every_error_that_a_client_sees_stands_in_a_table(
    base: type[Exception], table: dict[type[Exception], object]
) -> None:
    found = {each for each in vars(errors).values() if isinstance(each, type)}
    assert {each for each in found if issubclass(each, base)} == set(table)


def test_a_refusal_of_stripes_has_its_reason() -> None:
    assert errors.StripeRefused(400, "code", "param", "InvalidRequestError").reason == (
        "InvalidRequestError"
    )


def test_an_outage_may_have_no_reason() -> None:
    assert errors.QueueUnavailable().reason == ""
