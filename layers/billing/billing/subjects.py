"""What can be a subject: the same rule for a token's claim and for a customer's metadata. Pure."""

from __future__ import annotations

#: DynamoDB allows 2,048 bytes for a partition key; mode and issuer need their share.
MAX_SUBJECT_BYTES = 256


def why_unusable(subject: object) -> str | None:
    """Why `subject` cannot name who is billed; None where it can.

    API Gateway renders a claim that is a list as `[a b]` and one that is an object as `map[k:v]`:
    such a value names nobody.
    """
    if not isinstance(subject, str) or not subject:
        return "it is missing or empty"
    if len(subject.encode("utf-8", "surrogatepass")) > MAX_SUBJECT_BYTES:
        return f"it is longer than {MAX_SUBJECT_BYTES} bytes"
    if not subject.strip() or not subject.isprintable():
        return "it has characters that cannot be printed, or nothing else"
    if subject.startswith(("[", "map[")):
        return "it is a list or an object"
    return None
