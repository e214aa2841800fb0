"""The errors: what each one says when it is logged."""

from __future__ import annotations

import pytest

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
