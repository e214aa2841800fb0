"""The settings of a deployed stack, read once from the function's environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from billing.access import AccessPolicy
from billing.keys import OWN_ACCOUNT
from billing.return_urls import ReturnUrls

#: The API version of every request to Stripe and of the webhook endpoint: the projection reads
#: only this version's shapes.
STRIPE_API_VERSION = "2026-10-28.endive"

HOUR = 3600
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The parameters of template.yaml. Accounts are OWN_ACCOUNT where no connected one is named.

    issuers  JwtIssuer, then FormerJwtIssuers
    """

    stage: str
    mode: str
    stripe_api_base: str
    stripe_api_key_secret: str
    stripe_webhook_secret: str
    account: str
    on_behalf_of: str
    issuers: tuple[str, ...]
    subject_claim: str
    portal_scope: str
    subject_metadata_key: str
    return_urls: ReturnUrls
    access_policy: AccessPolicy
    table_name: str
    event_queue_url: str
    dead_letter_queue_url: str

    @property
    def livemode(self) -> bool:
        return self.mode == "live"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the `PORTCULLIS_*` variables that template.yaml sets.

        Raises KeyError naming a variable that is missing, ValueError for one that is not a number.
        """

        def value(name: str) -> str:
            return environment[f"PORTCULLIS_{name}"].strip()

        def values(name: str) -> tuple[str, ...]:
            return tuple(each.strip() for each in value(name).split(",") if each.strip())

        return cls(
            stage=value("STAGE"),
            mode=value("STRIPE_MODE"),
            stripe_api_base=value("STRIPE_API_BASE"),
            stripe_api_key_secret=value("STRIPE_API_KEY_SECRET"),
            stripe_webhook_secret=value("STRIPE_WEBHOOK_SECRET"),
            account=value("STRIPE_ACCOUNT") or OWN_ACCOUNT,
            on_behalf_of=value("STRIPE_ON_BEHALF_OF") or OWN_ACCOUNT,
            issuers=(value("JWT_ISSUER"), *values("FORMER_JWT_ISSUERS")),
            subject_claim=value("SUBJECT_CLAIM"),
            portal_scope=value("PORTAL_SCOPE"),
            subject_metadata_key=value("SUBJECT_METADATA_KEY"),
            return_urls=ReturnUrls(
                allowed_origins=values("ALLOWED_ORIGINS"),
                default=value("DEFAULT_RETURN_URL"),
                stage=value("STAGE"),
            ),
            access_policy=AccessPolicy(
                past_due_grace=round(float(value("PAST_DUE_GRACE_DAYS")) * DAY),
                delayed_payment=round(float(value("DELAYED_PAYMENT_DAYS")) * DAY),
                renewal_slack=round(float(value("RENEWAL_SLACK_HOURS")) * HOUR),
                pause_collection_keeps_access=value("PAUSE_COLLECTION_KEEPS_ACCESS") == "true",
            ),
            table_name=value("TABLE_NAME"),
            event_queue_url=value("EVENT_QUEUE_URL"),
            dead_letter_queue_url=value("DEAD_LETTER_QUEUE_URL"),
        )
