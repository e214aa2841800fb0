"""Secrets Manager: the Stripe API key, and the webhook's signing secrets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from billing.adapters.aws_errors import raised_as
from billing.errors import SecretUnavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

#: How long a secret is cached, and so how long a revoked one is still used.
CACHE_SECONDS = 300

#: How long a known secret is used while Secrets Manager does not answer.
MAX_AGE_SECONDS = 3600

#: Time between two forced reads: it bounds what a flood of forged webhooks can cost.
MIN_REFRESH_SECONDS = 60


class Secret:
    """One secret by name. `clock` returns seconds that never go back."""

    def __init__(self, client: SecretsManagerClient, name: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._name = name
        self._clock = clock
        self._values: tuple[str, ...] = ()
        self._read_at = float("-inf")
        self._forced_at = float("-inf")

    def current(self) -> tuple[str, ...]:
        """The secret's values: one, unless it is a JSON list. Raises SecretUnavailable."""
        age = self._clock() - self._read_at
        if age >= CACHE_SECONDS:
            try:
                self._read()
            except SecretUnavailable:
                if age >= MAX_AGE_SECONDS:
                    raise
        return self._values

    def refreshed(self) -> tuple[str, ...]:
        """The values, read again unless that happened within the last minute."""
        now = self._clock()
        if now - self._forced_at >= MIN_REFRESH_SECONDS and now > self._read_at:
            self._forced_at = now
            self._read()
        return self._values

    def _read(self) -> None:
        with raised_as(SecretUnavailable):
            found = self._client.get_secret_value(SecretId=self._name)
        # A binary secret has no string; parse refuses an empty one.
        self._values = parse(found.get("SecretString", ""))
        self._read_at = self._clock()


class SigningSecrets:
    """The webhook's signing secrets under one name, uncached: stripe_setup.SigningSecrets.

    A role that may use secrets of one name only is denied access to one that does not exist yet. So
    a denial is read as an absence, until creating the secret fails as well.
    """

    def __init__(self, client: SecretsManagerClient, name: str) -> None:
        self._client = client
        self.name = name

    def read(self) -> tuple[str, ...]:
        """The stored secrets; empty where nothing usable is stored. Raises SecretUnavailable."""
        with raised_as(SecretUnavailable):
            try:
                found = self._client.get_secret_value(SecretId=self.name)
            except ClientError as error:
                if _absent(error):
                    return ()
                raise
        try:
            return parse(found.get("SecretString", ""))
        except SecretUnavailable:
            return ()

    def write(self, secrets: Sequence[str]) -> None:
        """Store these, and create the secret where there is none. Raises SecretUnavailable."""
        text = secrets[0] if len(secrets) == 1 else json.dumps(list(secrets))
        with raised_as(SecretUnavailable):
            try:
                self._client.put_secret_value(SecretId=self.name, SecretString=text)
            except ClientError as error:
                if not _absent(error):
                    raise
                self._client.create_secret(
                    Name=self.name,
                    Description="Signing secrets of Portcullis's webhook endpoint in Stripe",
                    SecretString=text,
                )


def _absent(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in (
        "ResourceNotFoundException",
        "AccessDeniedException",
    )


def parse(text: str) -> tuple[str, ...]:
    """The values in a secret's string: a plain string, or a JSON list of strings.

    White space around a value is dropped, because a trailing newline would match nothing.
    Raises SecretUnavailable where there is no value.
    """
    values: object = [text]
    if text.lstrip().startswith("["):
        try:
            values = json.loads(text)
        except ValueError as error:
            raise SecretUnavailable("not a JSON list") from error
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise SecretUnavailable("not a list of strings")
    found = tuple(value.strip() for value in values if value.strip())
    if not found:
        raise SecretUnavailable("empty")
    return found
