"""The local stack: everything that stands in for Stripe and AWS on loopback."""
