"""What is kept of a customer, what it allows, and who the customer is."""

from __future__ import annotations

from tests.mutants.edits.edit import PACKAGE, UNIT, Edit

ACCESS = f"{PACKAGE}/access.py"
DEBT = f"{PACKAGE}/debt.py"
PROJECTION = f"{PACKAGE}/projection.py"
BUYERS = f"{PACKAGE}/checkout/buyers.py"
LINK = f"{PACKAGE}/link.py"
WIRING = f"{PACKAGE}/wiring.py"
CHECKOUT = f"{PACKAGE}/checkout/sessions.py"

IN_WIRING = f"{UNIT}/adapters/test_wiring.py::"
IN_ACCESS = f"{UNIT}/test_access.py::"

FACTS = (
    Edit(
        "an uncollectible invoice is not owed",
        DEBT,
        'UNPAID = frozenset({"open", "uncollectible"})',
        'UNPAID = frozenset({"open"})',
        f"{UNIT}/test_debt.py::test_the_debt_begins_with_the_oldest_unpaid_invoice_of_the_run",
    ),
    Edit(
        "a draft is owed",
        DEBT,
        'UNPAID = frozenset({"open", "uncollectible"})',
        'UNPAID = frozenset({"open", "uncollectible", "draft"})',
        f"{UNIT}/test_past_due_wire.py::"
        "test_the_debt_begins_with_the_oldest_invoice_that_still_asks_for_money",
    ),
    Edit(
        "the subject is always in the default metadata key",
        PROJECTION,
        "claim = metadata.get(subject_metadata_key) or None",
        'claim = metadata.get("user_id") or None',
        f"{IN_WIRING}test_the_worker_sends_what_one_event_needs_in_the_order_that_loses_nothing",
    ),
    Edit(
        "a buyer is named under the default metadata key",
        BUYERS,
        "            self.subject_metadata_key: subject,\n",
        '            "user_id": subject,\n',
        f"{IN_WIRING}test_checkout_names_subject_and_issuer_under_the_configured_metadata_key",
    ),
    Edit(
        "the issuer is always in the default metadata key",
        PROJECTION,
        'return f"{subject_metadata_key}_issuer"',
        'return "user_id_issuer"',
        f"{IN_WIRING}test_checkout_names_subject_and_issuer_under_the_configured_metadata_key",
    ),
    Edit(
        "the worker looks for the default metadata key",
        WIRING,
        "        subject_metadata_key=SETTINGS.subject_metadata_key,\n"
        "        report=telemetry.report,\n",
        '        subject_metadata_key="user_id",\n        report=telemetry.report,\n',
        f"{IN_WIRING}test_the_worker_sends_what_one_event_needs_in_the_order_that_loses_nothing",
    ),
    Edit(
        "checkout is wired with the default metadata key",
        WIRING,
        "        subject_metadata_key=SETTINGS.subject_metadata_key,\n"
        "    )\n"
        "    return CheckoutSessions(",
        '        subject_metadata_key="user_id",\n    )\n    return CheckoutSessions(',
        f"{IN_WIRING}test_checkout_names_subject_and_issuer_under_the_configured_metadata_key",
    ),
    Edit(
        "a claim for another issuer's subject is obeyed",
        LINK,
        "return facts.claimed_subject if facts.claimed_issuer in (None, *issuers) else None",
        "return facts.claimed_subject",
        f"{UNIT}/test_link.py::test_metadata_that_names_another_issuer_links_nobody",
    ),
    Edit(
        "a link holds although the row of its customer says otherwise",
        LINK,
        "if row is not None and row.subject == subject:",
        "if row is not None:",
        f"{UNIT}/test_link.py::test_a_link_counts_only_where_the_row_of_its_customer_says_the_same",
    ),
    Edit(
        "a function of the release before moves a customer at once",
        LINK,
        "if over.subject not in (None, claimed):",
        "if over.issuer in issuers and over.subject not in (None, claimed):",
        f"{UNIT}/test_link.py::"
        "test_a_function_of_the_release_before_does_not_move_a_customer_at_once",
    ),
    Edit(
        "customers that claim no more are remembered like those that do",
        LINK,
        "if each == key or _living_claim(store.load(each), issuers) == found.link.key.subject",
        "if not store.load(each).deleted",
        f"{UNIT}/test_link.py::"
        "test_customers_that_claim_a_subject_no_more_are_forgotten_before_one_that_does",
    ),
    Edit(
        "a charge of a longer period counts as last paid for",
        DEBT,
        'return (line["period"]["start"], not _is_credit(line))',
        'return (line["period"]["end"], not _is_credit(line))',
        "tests/simulation/test_oracle.py::test_within_an_invoice_the_period_that_begins_last_decides",
    ),
    Edit(
        "a subject that is no subject is linked",
        LINK,
        "if reason := why_unusable(claimed):",
        "if (reason := why_unusable(claimed)) and not claimed:",
        f"{UNIT}/test_link.py::"
        "test_a_claim_that_cannot_be_a_subject_is_reported_and_creates_no_link",
    ),
    Edit(
        "a new customer does not name its issuer",
        BUYERS,
        "            issuer_key(self.subject_metadata_key): self.issuers[0],\n",
        "",
        f"{IN_WIRING}test_checkout_names_subject_and_issuer_under_the_configured_metadata_key",
    ),
    Edit(
        "an idempotency key without the issuer",
        BUYERS,
        '"customer", self.mode, json.dumps(metadata), deleted.id',
        '"customer", self.mode, subject, deleted.id',
        f"{IN_WIRING}"
        "test_only_the_same_subject_of_the_same_issuer_and_mode_gets_the_same_new_customer",
    ),
    Edit(
        "an idempotency key without the mode",
        BUYERS,
        '"customer", self.mode, json.dumps(metadata), deleted.id',
        '"customer", json.dumps(metadata), deleted.id',
        f"{IN_WIRING}"
        "test_only_the_same_subject_of_the_same_issuer_and_mode_gets_the_same_new_customer",
    ),
    Edit(
        "an idempotency key without the customer that was deleted",
        BUYERS,
        'deleted.id if deleted else ""',
        '""',
        f"{UNIT}/test_checkout.py::"
        "test_a_purchase_after_the_customer_is_deleted_creates_a_new_customer",
    ),
    Edit(
        "an idempotency key without the session before",
        CHECKOUT,
        'idempotency_key("session", row.key.id, product, earlier.newest)',
        'idempotency_key("session", row.key.id, product)',
        f"{UNIT}/test_checkout.py::"
        "test_another_quantity_price_or_url_ends_the_open_session_and_creates_another",
    ),
    Edit(
        "a scheduled end is not obeyed",
        ACCESS,
        "end = until if subscription.cancel_at is None else min(until, subscription.cancel_at)",
        "end = until",
        f"{IN_ACCESS}test_a_scheduled_end_ends_access_exactly_at_that_time",
    ),
    Edit(
        "a scheduled end lengthens what was paid for",
        ACCESS,
        "end = until if subscription.cancel_at is None else min(until, subscription.cancel_at)",
        "end = until if subscription.cancel_at is None else subscription.cancel_at",
        f"{IN_ACCESS}test_a_scheduled_end_after_the_paid_period_extends_nothing",
    ),
    Edit(
        "a declined upgrade is given in grace",
        ACCESS,
        "items = [(item, debt.since + grace) for item in debt.paid]",
        "items = [(item, debt.since + grace) for item in subscription.items]",
        f"{IN_ACCESS}test_past_due_gives_what_was_paid_for_until_the_grace_days_after_the_debt_began",
    ),
    Edit(
        "a new status of Stripe's gives access",
        ACCESS,
        "return STANDINGS.get(status, Standing.UNKNOWN)",
        "return STANDINGS.get(status, Standing.PAID)",
        f"{IN_ACCESS}test_a_status_that_stripe_adds_is_held_and_gives_no_access",
    ),
)
