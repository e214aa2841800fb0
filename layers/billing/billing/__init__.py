"""What a customer may use, kept equal to Stripe: all of Portcullis' logic, shipped as a Lambda layer.

Pure modules (no boto3, no stripe, no Powertools): model, access, projection, events, origins,
answers. Flows over adapters: ingest, sync, batch, link, portal. Adapters: store, queues, stripe_api,
secret_store. The edge: http, wiring, settings, telemetry.
"""
