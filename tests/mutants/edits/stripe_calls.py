"""What is asked of Stripe."""

from __future__ import annotations

from tests.mutants.edits.edit import PACKAGE, UNIT, Edit

STRIPE_API = f"{PACKAGE}/adapters/stripe_api.py"
STRIPE_ACCOUNT = f"{PACKAGE}/adapters/stripe_account.py"

IN_CLIENT = f"{UNIT}/adapters/test_stripe_client.py::"
IN_API = f"{UNIT}/adapters/test_stripe_api.py::"
IN_ACCOUNT = f"{UNIT}/adapters/test_stripe_account.py::"

CALLS = (
    Edit(
        "any refusal of a customer is a customer that is not found",
        STRIPE_API,
        "                if is_missing(error):\n"
        "                    raise CustomerNotFound(customer_id) from error\n"
        "                raise\n"
        "        return plain(found), date_of(found)\n",
        "                raise CustomerNotFound(customer_id) from error\n"
        "        return plain(found), date_of(found)\n",
        f"{IN_API}test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found",
    ),
    *(
        Edit(
            f"a customer is read without {name}",
            STRIPE_API,
            f'    "{name}",\n',
            "",
            f"{IN_API}test_an_object_is_read_in_one_request_with_what_is_expanded",
        )
        for name in (
            "default_source",
            "invoice_settings.default_payment_method",
            "subscriptions.data.default_payment_method",
            "subscriptions.data.default_source",
            "tax_ids",
            "test_clock",
        )
    ),
    Edit(
        "further subscriptions are read without their payment methods",
        STRIPE_API,
        'self._v1.subscriptions.list, after, {"customer": customer_id, "expand": expand}',
        'self._v1.subscriptions.list, after, {"customer": customer_id}',
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "the subscriptions of every customer are read",
        STRIPE_API,
        'self._v1.subscriptions.list, after, {"customer": customer_id, "expand": expand}',
        'self._v1.subscriptions.list, after, {"expand": expand}',
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "the entitlements of every customer are read",
        STRIPE_API,
        'list_page(entitlements.list, after, {"customer": customer_id})',
        "list_page(entitlements.list, after, {})",
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "the invoices of every subscription are read",
        STRIPE_API,
        'list_page(self._v1.invoices.list, after, {"subscription": subscription})',
        "list_page(self._v1.invoices.list, after, {})",
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "the open sessions of every customer are listed",
        STRIPE_API,
        'parameters = {"customer": customer_id, "status": "open", "expand": expand}',
        'parameters = {"status": "open", "expand": expand}',
        f"{IN_API}test_all_open_checkout_sessions_are_listed_and_no_others",
    ),
    Edit(
        "sessions that have ended are listed as open",
        STRIPE_API,
        'parameters = {"customer": customer_id, "status": "open", "expand": expand}',
        'parameters = {"customer": customer_id, "expand": expand}',
        f"{IN_API}test_all_open_checkout_sessions_are_listed_and_no_others",
    ),
    Edit(
        "the newest sessions of every customer are read",
        STRIPE_API,
        '            "customer": customer_id,\n            "limit": NEWEST_SESSIONS,\n',
        '            "limit": NEWEST_SESSIONS,\n',
        f"{IN_API}test_the_newest_checkout_sessions_are_read_in_one_call",
    ),
    Edit(
        "a trial is given again after its subscription has ended",
        STRIPE_API,
        'parameters = {"customer": customer_id, "status": "all"}',
        'parameters = {"customer": customer_id}',
        f"{IN_API}test_all_subscriptions_of_a_customer_are_read_with_all_their_items",
    ),
    Edit(
        "a living customer is read without its expansions",
        STRIPE_API,
        '            if not getattr(found, "deleted", False):\n                raise\n',
        "",
        f"{IN_API}test_a_living_customer_is_never_read_without_its_expansions",
    ),
    Edit(
        "what a user types becomes part of a path",
        STRIPE_API,
        "        if not _PRICE_ID.fullmatch(name):\n            return None\n",
        "",
        f"{IN_API}test_a_name_that_cannot_be_an_id_is_never_part_of_a_path",
    ),
    Edit(
        "an archived price is sold by its lookup key",
        STRIPE_API,
        '"lookup_keys": lookup_keys, "active": True,',
        '"lookup_keys": lookup_keys,',
        f"{IN_API}test_prices_are_found_by_ten_lookup_keys_per_call_or_by_id",
    ),
    Edit(
        "an archived price is sold by its id",
        STRIPE_API,
        ' and price["active"]:',
        ":",
        f"{IN_API}test_prices_are_found_by_ten_lookup_keys_per_call_or_by_id",
    ),
    Edit(
        "whatever a portal session lacks is its customer",
        STRIPE_API,
        'if is_missing(error) and error.param in ("customer", "id"):',
        "if is_missing(error):",
        f"{IN_API}test_a_portal_session_raises_customer_not_found_only_for_a_missing_customer",
    ),
    Edit(
        "each attempt to create a portal session has its own key",
        STRIPE_API,
        "                        for_library(parameters), options\n",
        '                        for_library(parameters), {"idempotency_key": str(uuid4())}\n',
        f"{IN_CLIENT}test_a_call_for_which_a_person_waits_is_repeated_once_and_is_the_same_then",
    ),
    Edit(
        "a replayed session is returned as it was",
        STRIPE_API,
        '(self.retrieve_checkout_session(session["id"]) or session) if replayed else session',
        "session",
        f"{IN_API}test_a_replayed_session_is_read_again_as_it_is_now",
    ),
    Edit(
        "a session that was paid is said to be expired",
        STRIPE_API,
        "                    return False\n",
        "                    return True\n",
        f"{IN_API}test_a_session_that_is_no_longer_open_is_not_said_to_be_expired",
    ),
    Edit(
        "an endpoint that Stripe does not delete counts as deleted",
        STRIPE_ACCOUNT,
        "                if not is_missing(error):\n                    raise\n",
        "                is_missing(error)\n",
        f"{IN_ACCOUNT}test_a_missing_endpoint_counts_as_deleted_and_any_other_refusal_is_an_error",
    ),
)
