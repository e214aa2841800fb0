"""The API key and the signing secrets."""

from __future__ import annotations

from tests.mutants.edits.edit import PACKAGE, UNIT, Edit

SECRETS = f"{PACKAGE}/adapters/secrets.py"
STRIPE_CLIENT = f"{PACKAGE}/adapters/stripe_client.py"
SIGNATURE = f"{PACKAGE}/adapters/signature.py"
WIRING = f"{PACKAGE}/wiring.py"

IN_SECRETS = f"{UNIT}/adapters/test_secrets.py::"
IN_CLIENT = f"{UNIT}/adapters/test_stripe_client.py::"
IN_WIRING = f"{UNIT}/adapters/test_wiring.py::"
IN_SIGNATURE = f"{UNIT}/test_signature.py::"

KEYS_AND_SECRETS = (
    Edit(
        "a secret is cached for ever",
        SECRETS,
        "if age >= CACHE_SECONDS:",
        "if not self._values:",
        f"{IN_SECRETS}test_a_secret_is_cached_for_minutes_and_refreshed_at_most_once_a_minute",
    ),
    Edit(
        "a secret is read for each call",
        SECRETS,
        "if age >= CACHE_SECONDS:",
        "if age >= 0:",
        f"{IN_WIRING}test_the_api_key_is_read_once_for_many_events_and_again_after_minutes",
    ),
    Edit(
        "an outage of Secrets Manager stops everything at once",
        SECRETS,
        "                if age >= MAX_AGE_SECONDS:\n                    raise\n",
        "                raise\n",
        f"{IN_SECRETS}"
        "test_a_known_secret_is_used_for_an_hour_while_secrets_manager_does_not_answer",
    ),
    Edit(
        "a revoked secret is used for as long as Secrets Manager is down",
        SECRETS,
        "if age >= MAX_AGE_SECONDS:",
        "if not self._values:",
        f"{IN_SECRETS}"
        "test_a_known_secret_is_used_for_an_hour_while_secrets_manager_does_not_answer",
    ),
    Edit(
        "every forged webhook reads the secret",
        SECRETS,
        "if now - self._forced_at >= MIN_REFRESH_SECONDS and now > self._read_at:",
        "if now > self._read_at:",
        f"{IN_SECRETS}test_a_secret_is_cached_for_minutes_and_refreshed_at_most_once_a_minute",
    ),
    Edit(
        "a signing secret whose read is throttled is replaced",
        SECRETS,
        '        "AccessDeniedException",\n    )',
        '        "AccessDeniedException",\n        "ThrottlingException",\n    )',
        f"{IN_SECRETS}test_only_an_absent_signing_secret_counts_as_missing",
    ),
    Edit(
        "a newline is part of a secret",
        SECRETS,
        "tuple(value.strip() for value in values if value.strip())",
        "tuple(value for value in values if value.strip())",
        f"{IN_SECRETS}test_a_secret_is_a_plain_string_or_a_json_list",
    ),
    Edit(
        "the first API key is used for ever",
        WIRING,
        "    return StripeApi(lambda: connect(key.current()[0]))\n",
        "    first = cache(lambda: connect(key.current()[0]))\n    return StripeApi(first)\n",
        f"{IN_WIRING}test_the_api_key_is_read_once_for_many_events_and_again_after_minutes",
    ),
    Edit(
        "a refused key is taken from the cache again",
        WIRING,
        "refreshed_key=lambda: key.refreshed()[0],",
        "refreshed_key=lambda: key.current()[0],",
        f"{IN_WIRING}test_a_key_that_was_rotated_is_used_as_soon_as_stripe_refuses_the_old_one",
    ),
    Edit(
        "a refused key is not read again",
        STRIPE_CLIENT,
        "if response[1] != 401 or",
        "if response[1] != 403 or",
        f"{IN_CLIENT}test_a_refused_key_is_read_again_and_the_call_repeated_once_if_it_has_changed",
    ),
    Edit(
        "a call that is repeated with a new key loses its idempotency key",
        STRIPE_CLIENT,
        '{**headers, "Authorization": authorization}',
        '{"Authorization": authorization}',
        f"{IN_CLIENT}test_a_refused_key_is_read_again_and_the_call_repeated_once_if_it_has_changed",
    ),
    Edit(
        "the API key is printed",
        STRIPE_CLIENT,
        '        if authorization == headers["Authorization"]:',
        '        print(authorization)\n        if authorization == headers["Authorization"]:',
        f"{IN_WIRING}test_no_api_key_is_ever_printed_or_logged",
    ),
    Edit(
        "the first of several signing secrets is the only one",
        SIGNATURE,
        "for secret in secrets):",
        "for secret in list(secrets)[:1]):",
        f"{IN_SIGNATURE}test_each_of_several_secrets_verifies_a_signature",
    ),
    Edit(
        "a signature is valid for ever",
        SIGNATURE,
        "if age > TOLERANCE_SECONDS:",
        "if age > 100 * TOLERANCE_SECONDS:",
        f"{IN_SIGNATURE}test_a_signature_is_valid_for_the_tolerance_and_no_longer",
    ),
    Edit(
        "a signature from the future is valid",
        SIGNATURE,
        "if age < -CLOCK_SKEW_SECONDS:",
        "if age < -100 * CLOCK_SKEW_SECONDS:",
        f"{IN_SIGNATURE}test_a_signature_from_the_future_is_rejected_beyond_the_allowed_clock_skew",
    ),
    Edit(
        "a body that is not UTF-8 needs no signature",
        SIGNATURE,
        "return any(hmac.compare_digest(expected, found) for found in _SIGNATURE.findall(header))",
        "return bool(expected)",
        f"{IN_SIGNATURE}test_bytes_that_are_not_utf8_verify_by_the_same_scheme",
    ),
)
