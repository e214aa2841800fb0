"""What a customer may use, kept equal to Stripe: all of Portcullis' logic, as a Lambda layer.

Pure (no boto3, no stripe, no Powertools): model, access, projection, events, origins,
answers, catalog.
Flows over adapters: ingest, batch, sync, link, stripe_state, customers, portal, checkout.
Adapters: store, queues, stripe_api, secret_store. The edge: http, wiring, settings, telemetry.
"""
