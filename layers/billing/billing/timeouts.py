"""How long one call over the network may take. The clients are given these timeouts, and the time
that a step needs at worst is the sum of its calls. Pure."""

#: Seconds to connect to Stripe, and to wait for the next byte. Its library's own default is 80.
STRIPE_TIMEOUT_SECONDS = (2, 8)

#: The same for AWS, for each attempt.
AWS_TIMEOUT_SECONDS = (1, 1.5)
AWS_ATTEMPTS = 2

#: The longest pause of botocore's before a second attempt.
AWS_BACKOFF_SECONDS = 1

STRIPE_CALL_MS = 1000 * sum(STRIPE_TIMEOUT_SECONDS)
AWS_CALL_MS = round(
    1000 * (AWS_ATTEMPTS * sum(AWS_TIMEOUT_SECONDS) + (AWS_ATTEMPTS - 1) * AWS_BACKOFF_SECONDS)
)
