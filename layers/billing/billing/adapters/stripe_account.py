"""What a deploy does in Stripe, through the official library: the adapter behind stripe_setup."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import stripe

from billing.adapters.stripe_api import page_after, plain, translated
from billing.projection import StripeObject


class StripeAccount:
    """stripe_setup.Account. `connect` gives the client and is asked for it at each call; it may
    raise OutOfTime.
    """

    def __init__(self, connect: Callable[[], stripe.StripeClient]) -> None:
        self._connect = connect

    def webhook_endpoints(self) -> list[StripeObject]:
        return self._every(self._webhook_endpoints)

    def create_webhook_endpoint(self, parameters: Mapping[str, Any]) -> StripeObject:
        wanted: Any = dict(parameters)
        with translated():
            return plain(self._connect().v1.webhook_endpoints.create(wanted))

    def update_webhook_endpoint(self, endpoint: str, parameters: Mapping[str, Any]) -> StripeObject:
        changes: Any = dict(parameters)
        with translated():
            return plain(self._connect().v1.webhook_endpoints.update(endpoint, changes))

    def delete_webhook_endpoint(self, endpoint: str) -> None:
        with translated():
            try:
                self._connect().v1.webhook_endpoints.delete(endpoint)
            except stripe.InvalidRequestError as error:
                # Gone already: a repeated try, or somebody in the dashboard.
                if error.code != "resource_missing":
                    raise

    def portal_configurations(self) -> list[StripeObject]:
        return self._every(self._portal_configurations)

    def create_portal_configuration(self, parameters: Mapping[str, Any]) -> StripeObject:
        wanted: Any = dict(parameters)
        with translated():
            return plain(self._connect().v1.billing_portal.configurations.create(wanted))

    def update_portal_configuration(
        self, configuration: str, parameters: Mapping[str, Any]
    ) -> StripeObject:
        changes: Any = dict(parameters)
        with translated():
            return plain(
                self._connect().v1.billing_portal.configurations.update(configuration, changes)
            )

    # The client is asked for at each page: time passes.

    def _webhook_endpoints(self, page: Any) -> Any:
        return self._connect().v1.webhook_endpoints.list(page)

    def _portal_configurations(self, page: Any) -> Any:
        return self._connect().v1.billing_portal.configurations.list(page)

    def _every(self, list_page: Callable[[Any], Any]) -> list[StripeObject]:
        found: list[StripeObject] = []
        while True:
            with translated():
                page = plain(list_page(page_after(found[-1]["id"] if found else None)))
            found += page["data"]
            if not page["has_more"]:
                return found
