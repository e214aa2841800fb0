"""Opening Stripe's customer portal for the signed-in subject."""
