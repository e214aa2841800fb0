"""The Stripe account as a deploy uses it, through the official library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import stripe

from billing.adapters.stripe_client import for_library, is_missing, list_page, plain, translated
from billing.stripe_objects import StripeObject, all_pages

if TYPE_CHECKING:
    from stripe._v1_services import V1Services


class StripeAccount:
    """stripe_setup.Account. `connect` returns the client; it is called for each request and may
    raise OutOfTime."""

    def __init__(self, connect: Callable[[], stripe.StripeClient]) -> None:
        self._connect = connect

    @property
    def _v1(self) -> V1Services:
        return self._connect().v1

    def list_webhook_endpoints(self) -> list[StripeObject]:
        return all_pages(lambda after: list_page(self._v1.webhook_endpoints.list, after, {}))

    def create_webhook_endpoint(self, parameters: Mapping[str, Any]) -> StripeObject:
        with translated():
            return plain(self._v1.webhook_endpoints.create(for_library(parameters)))

    def update_webhook_endpoint(self, endpoint: str, parameters: Mapping[str, Any]) -> StripeObject:
        with translated():
            return plain(self._v1.webhook_endpoints.update(endpoint, for_library(parameters)))

    def delete_webhook_endpoint(self, endpoint: str) -> None:
        with translated():
            try:
                self._v1.webhook_endpoints.delete(endpoint)
            except stripe.InvalidRequestError as error:
                # Gone already: a repeated attempt, or somebody in the dashboard.
                if not is_missing(error):
                    raise

    def list_portal_configurations(self) -> list[StripeObject]:
        return all_pages(
            lambda after: list_page(self._v1.billing_portal.configurations.list, after, {})
        )

    def create_portal_configuration(self, parameters: Mapping[str, Any]) -> StripeObject:
        with translated():
            return plain(self._v1.billing_portal.configurations.create(for_library(parameters)))

    def update_portal_configuration(
        self, configuration: str, parameters: Mapping[str, Any]
    ) -> StripeObject:
        with translated():
            return plain(
                self._v1.billing_portal.configurations.update(
                    configuration, for_library(parameters)
                )
            )
