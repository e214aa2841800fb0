"""What a customer may use, kept equal to Stripe: all of Portcullis' logic, as a Lambda layer.

Pure (no boto3, no stripe, no Powertools): model, access, projection, events, origins, answers,
catalog, portal_flows, portal_file. Flows over adapters: ingest, batch, sync, link, stripe_state,
documents, customers, portal, checkout, stripe_setup. Adapters: store, queues, secret_store,
stripe_api, stripe_account. The edge: http, custom_resource, wiring, settings, telemetry.
"""
