"""A stateful Stripe over HTTP on loopback, as strict as Stripe, spoken to by the official library.

`server` is the way in, one module per family of resources holds the endpoints, `lifecycle` is
the billing engine, `webhooks` delivers, `control` is the typed client that steers it all.
"""
