"""Verifying a webhook's signature over the exact bytes, with Stripe's own verifier.

Follows https://docs.stripe.com/webhooks#verify-manually, and adds what the verifier lacks: several
secrets, a check for timestamps in the future, and bodies that are not UTF-8.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

from stripe import SignatureVerificationError, WebhookSignature

from billing.errors import SignatureRejected

#: How long a signature is valid, which bounds a replay.
TOLERANCE_SECONDS = 300

#: How far Stripe's clock may be ahead of ours.
CLOCK_SKEW_SECONDS = 5

_HEADER = re.compile(r"t=([0-9]{1,12})((?:,[a-z0-9]{1,8}=[!-+\--~]{0,256}){1,32})", re.ASCII)
_SIGNATURE = re.compile(r",v1=([0-9a-f]{64})(?=,|$)")


def verify(body: bytes, header: str | None, secrets: Iterable[str], now: float) -> None:
    """Raise SignatureRejected unless one of `secrets` signed `body` shortly before `now`.

    `header` is the value of Stripe-Signature; `now` is in epoch seconds.
    """
    if not header:
        raise SignatureRejected("The Stripe-Signature header is missing.")
    # One time, first, in plain digits: the verifier must read the same time that we check.
    parts = _HEADER.fullmatch(header.replace(" ", ""))
    if parts is None or ",t=" in parts[2]:
        raise SignatureRejected("The Stripe-Signature header is not of the form t=…,v1=….")
    stamp = parts[1]
    if not any(_signed_by(secret, body, parts[0], stamp) for secret in secrets):
        raise SignatureRejected("No v1 signature in Stripe-Signature matches this body.")
    age = now - int(stamp)
    if age > TOLERANCE_SECONDS:
        raise SignatureRejected(
            f"The signature's timestamp is more than {TOLERANCE_SECONDS} s old."
        )
    if age < -CLOCK_SKEW_SECONDS:
        raise SignatureRejected("The signature's timestamp is in the future.")


def _signed_by(secret: str, body: bytes, header: str, timestamp: str) -> bool:
    try:
        payload = body.decode("utf-8")
    except UnicodeDecodeError:
        # The verifier takes text only, so this body's signature is computed here.
        expected = hmac.new(
            secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256
        ).hexdigest()
        return any(hmac.compare_digest(expected, found) for found in _SIGNATURE.findall(header))
    try:
        # No tolerance here: the verifier reads its own clock and accepts the future.
        WebhookSignature.verify_header(payload, header, secret, tolerance=None)
    except SignatureVerificationError:
        return False
    return True
