"""How the package says that something happened."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Counts and logs an occurrence."""

    def __call__(self, name: str, /, **details: object) -> None:
        """Count the occurrence `name` as a metric and log it with its details."""
        ...
