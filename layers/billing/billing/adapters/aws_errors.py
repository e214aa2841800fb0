"""AWS's errors become our own here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from billing.errors import Unavailable


@contextmanager
def raised_as(unavailable: type[Unavailable]) -> Iterator[None]:
    """Raise any error of botocore's in the block as `unavailable`, with its code as the reason."""
    try:
        yield
    except ClientError as error:
        raise unavailable(error.response["Error"]["Code"]) from error
    except BotoCoreError as error:
        raise unavailable(type(error).__name__) from error
