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

_HEADER = re.compile(r"t=([0-9]{1,12})((?:,[a-z0-9]{1,8}=[!-+\--~]{0,256}){1,32})", re.ASCII)
_SIGNATURE = re.compile(r",v1=([0-9a-f]{64})(?=,|$)")


def verify(body: bytes, header: str | None, secrets: Iterable[str], now: float) -> None:
    """Raise SignatureRejected unless one of `secrets` signed `body` within TOLERANCE of `now`.

    `header` is the value of Stripe-Signature, `now` in epoch seconds.
    """
    if not header:
        raise SignatureRejected("The Stripe-Signature header is missing.")
    # One time, first, in plain digits: the verifier must not read another than the one we judge.
    parts = _HEADER.fullmatch(header.replace(" ", ""))
    if parts is None or ",t=" in parts[2]:
        raise SignatureRejected("The Stripe-Signature header is not of the form t=…,v1=….")
    stamp = parts[1]
    if not any(_signed_by(secret, body, parts[0], stamp) for secret in secrets):
        raise SignatureRejected("No v1 signature in Stripe-Signature matches this body.")
    age = now - int(stamp)
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
