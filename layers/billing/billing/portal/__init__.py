"""Opening Stripe's customer portal."""
