"""Verifying a webhook's signature over the exact bytes, by Stripe's own verifier.

Follows https://docs.stripe.com/webhooks#verify-manually, and closes what the verifier leaves open:
several secrets, timestamps in the future, and bodies that are not UTF-8.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

from stripe import SignatureVerificationError, WebhookSignature

from billing.errors import SignatureRejected

#: A signature is good for so many seconds, which bounds a replay.
TOLERANCE = 300

#: Stripe's clock and ours both follow UTC; so many seconds apart they may be.
CLOCK_SKEW = 5

_TIMESTAMP = re.compile(r"(?:^|,)t=(\d{1,12})(?:,|$)")
_SIGNATURE = re.compile(r"(?:^|,)v1=([0-9a-f]{64})(?=,|$)")


def verify(body: bytes, header: str | None, secrets: Iterable[str], now: float) -> None:
    """Raise SignatureRejected unless one of `secrets` signed `body` within TOLERANCE of `now`.

    `header` is the value of Stripe-Signature, `now` in epoch seconds.
    """
    if not header:
        raise SignatureRejected("The Stripe-Signature header is missing.")
    stamp = _TIMESTAMP.search(header)
    if stamp is None or not header.isascii():
        raise SignatureRejected("The Stripe-Signature header is not of the form t=…,v1=….")
    if not any(_signed_by(secret, body, header, stamp[1]) for secret in secrets):
        raise SignatureRejected("No v1 signature in Stripe-Signature matches this body.")
    age = now - int(stamp[1])
    if age > TOLERANCE:
        raise SignatureRejected(f"The signature's timestamp is more than {TOLERANCE} s old.")
    if age < -CLOCK_SKEW:
        raise SignatureRejected("The signature's timestamp lies in the future.")


def _signed_by(secret: str, body: bytes, header: str, timestamp: str) -> bool:
    try:
        payload = body.decode("utf-8")
    except UnicodeDecodeError:
        # The verifier signs text only. Such a body was still signed by Stripe, or was not.
        expected = hmac.new(
            secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256
        ).hexdigest()
        return any(hmac.compare_digest(expected, found) for found in _SIGNATURE.findall(header))
    try:
        # No tolerance here: its clock is not ours, and it lets the future pass.
        WebhookSignature.verify_header(payload, header, secret, tolerance=None)
    except SignatureVerificationError:
        return False
    return True
