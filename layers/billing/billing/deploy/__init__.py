"""What a deploy makes in Stripe."""
