"""The webhook's signing secrets where a deploy stores them, and what to do when it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from billing.errors import SecretUnavailable, SetupFailed


class SecretStore(Protocol):
    """The stored signing secrets, newest first. Both may raise SecretUnavailable."""

    name: str

    def read(self) -> tuple[str, ...]:
        """Empty where there is no secret, or nothing usable in it."""
        ...

    def write(self, secrets: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class SigningSecrets:
    """Reads and writes that say what to do when they fail. Both may raise SetupFailed."""

    store: SecretStore

    @property
    def name(self) -> str:
        return self.store.name

    def read(self) -> tuple[str, ...]:
        try:
            return self.store.read()
        except SecretUnavailable as error:
            raise SetupFailed(
                f"The secret {self.name} cannot be read: {error.reason}. If it is being deleted, "
                "restore it, then deploy again."
            ) from error

    def write(self, secrets: Sequence[str]) -> None:
        try:
            self.store.write(secrets)
        except SecretUnavailable as error:
            raise SetupFailed(
                f"The webhook's signing secret cannot be stored in {self.name}: {error.reason}. "
                "If that secret is being deleted, restore it, then deploy again."
            ) from error
