"""A stateful simulator of Stripe's API on loopback. Clients use the official library.

`server` is the entry point. Each family of resources has a module with its endpoints.
`billing_steps` is the billing engine, `webhooks` delivers events, and `control` is the client for
tests.
"""
