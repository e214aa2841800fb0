"""What a webhook or a user may do."""

from __future__ import annotations

from tests.mutants.edits.edit import PACKAGE, UNIT, Edit

INGEST = f"{PACKAGE}/ingest.py"
CUSTOMERS = f"{PACKAGE}/customers.py"
CHECKOUT = f"{PACKAGE}/checkout/sessions.py"
PORTAL = f"{PACKAGE}/portal/sessions.py"
FLOWS = f"{PACKAGE}/portal/flows.py"
RETURN_URLS = f"{PACKAGE}/return_urls.py"
HTTP = f"{PACKAGE}/http.py"

IN_WIRING = f"{UNIT}/adapters/test_wiring.py::"
IN_INGEST = f"{UNIT}/test_ingest.py::"
IN_PORTAL = f"{UNIT}/test_portal.py::"

WEBHOOKS = (
    Edit(
        "events of the other mode are ingested",
        INGEST,
        "if event.livemode != self.livemode or event.account",
        "if event.account",
        f"{IN_INGEST}test_events_of_the_other_mode_or_of_an_unknown_account_are_dropped",
    ),
    Edit(
        "events of every account are ingested",
        INGEST,
        " or event.account != self.account:",
        ":",
        f"{IN_INGEST}test_events_of_the_other_mode_or_of_an_unknown_account_are_dropped",
    ),
    Edit(
        "a webhook is answered 200 although SQS does not have it",
        INGEST,
        "                self.queue.send(request)\n",
        "                try:\n"
        "                    self.queue.send(request)\n"
        "                except Exception:\n"
        '                    self.report("RequestFailed")\n',
        f"{IN_INGEST}test_a_webhook_fails_if_sqs_does_not_accept_its_message",
    ),
    Edit(
        "an unreadable webhook is answered 200 and forgotten",
        INGEST,
        '        self.queue.dead_letter(text, f"{reason}{cut}{encoding}")\n',
        "",
        f"{IN_INGEST}test_a_signed_but_unreadable_webhook_is_dead_lettered_with_its_reason",
    ),
    Edit(
        "a signing secret that was rolled is not read again",
        INGEST,
        "secrets = self.secrets.refreshed()",
        "secrets = self.secrets.current()",
        f"{IN_INGEST}test_a_secret_that_has_been_rolled_is_read_again",
    ),
    Edit(
        "the audit line has the portal session's URL",
        INGEST,
        'session=event.object.get("id"),',
        'session=event.object.get("url"),',
        f"{IN_INGEST}test_a_portal_session_leaves_an_audit_line_without_its_url",
    ),
)

READERS = (
    Edit(
        "a deleted customer has access",
        CUSTOMERS,
        "            if row.deleted:\n                return None\n",
        "",
        f"{UNIT}/test_link.py::"
        "test_a_reader_does_not_look_behind_a_deleted_customer_that_holds_the_subject",
    ),
    Edit(
        "a deleted customer has access while its link is known",
        CUSTOMERS,
        "if row.subject == subject and not row.deleted:",
        "if row.subject == subject:",
        f"{IN_WIRING}test_a_tombstone_gives_nothing_although_its_link_is_known",
    ),
    Edit(
        "a link gives access to another subject's row",
        CUSTOMERS,
        "            if row.subject != subject:\n                continue\n",
        "",
        f"{IN_PORTAL}test_a_link_to_a_row_with_another_subject_finds_no_customer",
    ),
    Edit(
        "a known link gives access to another subject's row",
        CUSTOMERS,
        "if row.subject == subject and not row.deleted:",
        "if not row.deleted:",
        f"{IN_PORTAL}test_a_link_to_a_row_with_another_subject_finds_no_customer",
    ),
    Edit(
        "the portal changes another customer's subscription",
        PORTAL,
        'if subscription is None or subscription["customer"] != customer_id:',
        "if subscription is None:",
        f"{IN_PORTAL}test_a_subscription_that_is_not_the_callers_own_is_a_404",
    ),
    Edit(
        "the portal changes an item of another subscription",
        FLOWS,
        '        if not own.issuperset(item["id"] for item in flow["items"]):\n'
        '            raise NotFound("Your subscription has no such item.")\n',
        "",
        f"{IN_PORTAL}test_an_item_of_another_subscription_is_a_404",
    ),
    Edit(
        "every coupon of the account can be taken",
        PORTAL,
        "            check_coupons(flow, self.configuration)\n",
        "",
        f"{IN_PORTAL}test_a_coupon_that_the_deployment_does_not_offer_is_refused",
    ),
    Edit(
        "a portal configuration of another plan can be named",
        PORTAL,
        "if not named.serves(products, features):",
        "if named is None:",
        f"{IN_PORTAL}test_a_named_configuration_is_refused_if_its_rule_does_not_match_the_customer",
    ),
    Edit(
        "a flow ends wherever the request says",
        PORTAL,
        "                self.return_urls.checked(\n"
        '                    flow["after_completion"]["return_url"], '
        '"flow.after_completion.return_url"\n'
        "                )\n",
        "                pass\n",
        f"{IN_PORTAL}test_after_completion_redirects_only_to_allowed_origins",
    ),
    Edit(
        "an allowed origin is a prefix",
        RETURN_URLS,
        "if origin not in {_origin(urlsplit(allowed)) for allowed in self.allowed_origins}:",
        "if not url.startswith(self.allowed_origins):",
        f"{UNIT}/test_return_urls.py::test_every_other_url_is_refused",
    ),
    Edit(
        "a listed localhost is allowed in prod",
        RETURN_URLS,
        'scheme == "http" and host in _LOCALHOSTS and self.stage == "dev"',
        'scheme == "http" and host in _LOCALHOSTS',
        f"{UNIT}/test_return_urls.py::"
        "test_http_is_allowed_only_for_a_listed_localhost_in_stage_dev",
    ),
    Edit(
        "another subject's checkout session is returned",
        CHECKOUT,
        ' or session["customer"] != customer.id:',
        ":",
        f"{UNIT}/test_checkout.py::test_a_session_that_is_not_the_callers_own_is_a_404",
    ),
    Edit(
        "a product that is held is sold again",
        CHECKOUT,
        "        if held is not None:\n            refusal",
        "        if held is not None and row.deleted:\n            refusal",
        f"{UNIT}/test_checkout.py::test_a_product_that_is_held_is_not_sold_again",
    ),
    Edit(
        "a scope is found within another one",
        HTTP,
        'return granted.split(" ")',
        "return [granted[start:end] for end in range(len(granted) + 1) for start in range(end)]",
        f"{UNIT}/test_http.py::test_a_scope_is_one_whole_word_between_spaces",
    ),
    Edit(
        "an unexpected error's text is returned",
        HTTP,
        '"An unexpected error happened on our side and was logged. Try again later.",',
        "str(error),",
        f"{UNIT}/test_http.py::"
        "test_an_unexpected_error_is_counted_and_logged_but_its_text_is_not_returned",
    ),
)
