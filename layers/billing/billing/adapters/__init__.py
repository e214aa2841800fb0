"""Everything that speaks to AWS or Stripe through their libraries."""
