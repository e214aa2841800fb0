"""Selling a first subscription through Stripe's checkout."""
