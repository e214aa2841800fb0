"""What speaks to AWS or Stripe: the only rooms with boto3, botocore, stripe or Powertools."""
