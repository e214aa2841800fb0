"""What a deploy creates in Stripe."""
