"""What AWS answers when it does not do its part, as our own errors: here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from billing.errors import Unavailable


@contextmanager
def raised_as(unavailable: type[Unavailable]) -> Iterator[None]:
    """Raise every error of botocore's within the block as `unavailable`, its code for a reason."""
    try:
        yield
    except ClientError as error:
        raise unavailable(error.response["Error"]["Code"]) from error
    except BotoCoreError as error:
        raise unavailable(type(error).__name__) from error
