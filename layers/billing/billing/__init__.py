"""What a customer may use, kept equal to Stripe: all of Portcullis' logic, as a Lambda layer."""
