"""Secrets Manager: each call as it is sent, what a secret may be, and how long it is cached."""

from __future__ import annotations

import pytest

from billing.adapters.secrets import (
    CACHE_SECONDS,
    MAX_AGE_SECONDS,
    MIN_REFRESH_SECONDS,
    Secret,
    SigningSecrets,
    parse,
)
from billing.errors import SecretUnavailable
from tests.unit.adapters.aws import client
from tests.unit.adapters.wire import Response, Wire, aws_error


def stored(*values: str) -> Response:
    text = values[0] if len(values) == 1 else str(list(values)).replace("'", '"')
    return Response({"SecretString": text})


# ---------------------------------------------------------------- the text of a secret


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("whsec_a", ("whsec_a",)),
        ("whsec_a\n", ("whsec_a",)),
        ('["whsec_a", "whsec_b"]', ("whsec_a", "whsec_b")),
        (' [" whsec_a ", ""]', ("whsec_a",)),
    ],
)
def test_a_secret_is_a_plain_string_or_a_json_list(text: str, values: tuple[str, ...]) -> None:
    assert parse(text) == values


@pytest.mark.parametrize("text", ["", "  ", "[]", '[""]', "[1]", "[", '[["a"]]'])
def test_a_secret_without_a_value_is_an_error(text: str) -> None:
    with pytest.raises(SecretUnavailable):
        parse(text)


# ---------------------------------------------------------------- a secret that is read


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def secret(wire: Wire, clock: Clock) -> Secret:
    return Secret(client("secretsmanager", wire), "s", clock)


def test_a_secret_is_read_by_its_name(wire: Wire, secret: Secret) -> None:
    wire.responds(stored("one"))
    assert secret.current() == ("one",)
    assert (wire.only.operation, wire.only.json) == ("GetSecretValue", {"SecretId": "s"})


def test_a_secret_is_cached_for_minutes_and_refreshed_at_most_once_a_minute(
    wire: Wire, secret: Secret, clock: Clock
) -> None:
    wire.responds(stored("one"))
    assert secret.current() == ("one",)
    wire.responds(stored("two"))
    clock.now += CACHE_SECONDS - 1
    assert secret.current() == ("one",)
    assert secret.refreshed() == ("two",)
    wire.responds(stored("three"))
    clock.now += MIN_REFRESH_SECONDS - 1
    assert secret.refreshed() == ("two",)
    clock.now += 1
    assert secret.refreshed() == ("three",)
    clock.now += CACHE_SECONDS
    assert secret.current() == ("three",)
    assert len(wire.sent) == 4


def test_a_known_secret_is_used_for_an_hour_while_secrets_manager_does_not_answer(
    wire: Wire, secret: Secret, clock: Clock
) -> None:
    wire.responds(stored("one"))
    assert secret.current() == ("one",)
    wire.responds(Response({}, 503))
    clock.now += MAX_AGE_SECONDS - 1
    assert secret.current() == ("one",)
    clock.now += 1
    with pytest.raises(SecretUnavailable):
        secret.current()


@pytest.mark.parametrize(
    "code", ["ResourceNotFoundException", "AccessDeniedException", "ThrottlingException"]
)
def test_a_secret_that_was_never_read_is_an_error_with_the_code_of_aws(
    wire: Wire, secret: Secret, code: str
) -> None:
    wire.responds(aws_error(code))
    with pytest.raises(SecretUnavailable, match=code):
        secret.current()
    with pytest.raises(SecretUnavailable, match=code):
        secret.refreshed()


def test_a_binary_secret_is_an_error(wire: Wire, secret: Secret) -> None:
    wire.responds(Response({"SecretBinary": "b25l"}))
    with pytest.raises(SecretUnavailable, match="empty"):
        secret.current()


# ---------------------------------------------------------------- the signing secrets of a deploy


@pytest.fixture
def signing(wire: Wire) -> SigningSecrets:
    return SigningSecrets(client("secretsmanager", wire), "webhook")


def test_signing_secrets_are_read_uncached(wire: Wire, signing: SigningSecrets) -> None:
    wire.responds(stored("whsec_1"), stored("whsec_2", "whsec_1"))
    assert signing.read() == ("whsec_1",)
    assert signing.read() == ("whsec_2", "whsec_1")
    assert [sent.json for sent in wire.sent] == [{"SecretId": "webhook"}] * 2


@pytest.mark.parametrize(
    ("secrets", "text"),
    [(["whsec_1"], "whsec_1"), (["whsec_2", "whsec_1"], '["whsec_2", "whsec_1"]')],
)
def test_one_signing_secret_is_stored_as_a_string_and_several_as_a_list(
    wire: Wire, signing: SigningSecrets, secrets: list[str], text: str
) -> None:
    signing.write(secrets)
    (sent,) = wire.sent_to("PutSecretValue")
    # botocore adds a token of its own, so that a request which is repeated counts once.
    assert sent.pop("ClientRequestToken")
    assert sent == {"SecretId": "webhook", "SecretString": text}


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException"])
def test_a_signing_secret_that_is_absent_is_created(
    wire: Wire, signing: SigningSecrets, code: str
) -> None:
    wire.responds(aws_error(code))
    assert signing.read() == ()
    wire.responds(aws_error(code), Response())
    signing.write(["whsec_1"])
    (created,) = wire.sent_to("CreateSecret")
    assert (created["Name"], created["SecretString"]) == ("webhook", "whsec_1")


@pytest.mark.parametrize(
    "response",
    [
        aws_error("ThrottlingException"),
        # It is being deleted.
        aws_error("InvalidRequestException"),
        Response({}, 503),
    ],
    ids=lambda response: response.body.get("__type", "503"),
)
def test_only_an_absent_signing_secret_counts_as_missing(
    wire: Wire, signing: SigningSecrets, response: Response
) -> None:
    wire.responds(response)
    with pytest.raises(SecretUnavailable):
        signing.read()
    with pytest.raises(SecretUnavailable):
        signing.write(["whsec_1"])
    assert wire.sent_to("CreateSecret") == []


def test_a_signing_secret_that_cannot_be_created_is_an_error(
    wire: Wire, signing: SigningSecrets
) -> None:
    wire.responds(aws_error("AccessDeniedException"))
    with pytest.raises(SecretUnavailable, match="AccessDeniedException"):
        signing.write(["whsec_1"])
    assert len(wire.sent_to("CreateSecret")) == 1


def test_an_unusable_signing_secret_counts_as_missing(wire: Wire, signing: SigningSecrets) -> None:
    wire.responds(Response({"SecretString": "[1"}))
    assert signing.read() == ()
