"""How Stripe is connected, and what its errors mean."""

from __future__ import annotations

from tests.mutants.edits.edit import PACKAGE, UNIT, Edit

STRIPE_CLIENT = f"{PACKAGE}/adapters/stripe_client.py"
WIRING = f"{PACKAGE}/wiring.py"

IN_CLIENT = f"{UNIT}/adapters/test_stripe_client.py::"
IN_API = f"{UNIT}/adapters/test_stripe_api.py::"
IN_WIRING = f"{UNIT}/adapters/test_wiring.py::"

CONNECTION = (
    Edit(
        "requests do not name the API version",
        STRIPE_CLIENT,
        "        stripe_version=api_version,\n",
        "",
        f"{IN_CLIENT}test_every_request_has_the_key_and_the_version_that_it_is_connected_with",
    ),
    Edit(
        "Stripe's library logs every request",
        STRIPE_CLIENT,
        'logging.getLogger("stripe").setLevel(logging.WARNING)\n',
        "",
        f"{IN_CLIENT}test_the_library_writes_nothing_into_the_log",
    ),
    Edit(
        "requests do not name the connected account",
        STRIPE_CLIENT,
        "stripe_account=None if account == OWN_ACCOUNT else account,",
        "stripe_account=None,",
        f"{IN_CLIENT}test_a_connected_account_is_named_only_if_one_is_configured",
    ),
    Edit(
        "endpoints are set up in the connected account",
        WIRING,
        "account=StripeAccount(lambda: connect(OWN_ACCOUNT)),",
        "account=StripeAccount(lambda: connect(SETTINGS.account)),",
        f"{IN_WIRING}test_a_deploy_reads_prices_of_the_connected_account_and_sets_the_platform_up",
    ),
    Edit(
        "requests have the library's own timeout of 80 s",
        STRIPE_CLIENT,
        "super().__init__(timeout=timeout)",
        "super().__init__()",
        f"{IN_CLIENT}test_every_request_has_its_timeouts_for_connecting_and_reading",
    ),
    Edit(
        "a person waits as long as the worker",
        WIRING,
        "stripe_client.INTERACTIVE_TIMEOUT_SECONDS if interactive else STRIPE_TIMEOUT_SECONDS",
        "STRIPE_TIMEOUT_SECONDS",
        f"{IN_WIRING}test_a_person_waits_less_long_for_stripe_than_the_worker",
    ),
    Edit(
        "AWS is waited for as long as botocore likes",
        WIRING,
        "    connect_timeout=AWS_TIMEOUT_SECONDS[0],\n    read_timeout=AWS_TIMEOUT_SECONDS[1],\n",
        "",
        f"{IN_WIRING}test_a_call_to_aws_is_tried_twice_and_has_short_timeouts",
    ),
    Edit(
        "botocore tries as often as it likes",
        WIRING,
        'retries={"mode": "standard", "total_max_attempts": AWS_ATTEMPTS},',
        'retries={"mode": "standard"},',
        f"{IN_WIRING}test_a_call_to_aws_is_tried_twice_and_has_short_timeouts",
    ),
    Edit(
        "the library retries too",
        STRIPE_CLIENT,
        "    retries: int = 0,\n",
        "    retries: int = 2,\n",
        f"{IN_CLIENT}test_the_library_repeats_nothing_by_itself_unless_it_is_told_to",
    ),
    Edit(
        "each call opens a connection",
        WIRING,
        "    @cache\n    def connect(api_key: str) -> Any:\n",
        "    def connect(api_key: str) -> Any:\n",
        f"{IN_WIRING}test_the_worker_keeps_its_connections_to_stripe",
    ),
    Edit(
        "a page has no limit",
        STRIPE_CLIENT,
        'return {"limit": MAX_PAGE_SIZE}\n',
        "return {}\n",
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "every page is the first",
        STRIPE_CLIENT,
        'return {"limit": MAX_PAGE_SIZE, "starting_after": after}',
        'return {"limit": MAX_PAGE_SIZE}',
        f"{IN_API}test_each_list_is_read_in_pages_of_a_hundred",
    ),
    Edit(
        "any 404 is an object that Stripe does not have",
        STRIPE_CLIENT,
        'return error.code == "resource_missing"',
        "return error.http_status == 404",
        f"{IN_API}test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found",
    ),
    Edit(
        "any refusal of a list is an empty list",
        STRIPE_CLIENT,
        "            if is_missing(error):\n"
        '                return {"data": [], "has_more": False}\n'
        "            raise\n",
        '            return {"data": [], "has_more": False}\n',
        f"{IN_API}test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found",
    ),
    Edit(
        "any refusal of an object is its absence",
        STRIPE_CLIENT,
        "            if is_missing(error):\n                return None\n            raise\n",
        "            return None\n",
        f"{IN_API}test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found",
    ),
    Edit(
        "a list is empty while Stripe limits our rate",
        STRIPE_CLIENT,
        "        except stripe.InvalidRequestError as error:\n"
        "            if is_missing(error):\n"
        '                return {"data": [], "has_more": False}\n',
        "        except stripe.RateLimitError:\n"
        '            return {"data": [], "has_more": False}\n'
        "        except stripe.InvalidRequestError as error:\n"
        "            if is_missing(error):\n"
        '                return {"data": [], "has_more": False}\n',
        f"{IN_API}test_a_read_that_fails_otherwise_is_neither_empty_nor_not_found",
    ),
    Edit(
        "Stripe refuses us while it limits our rate",
        STRIPE_CLIENT,
        "    except (stripe.RateLimitError, stripe.APIConnectionError) as error:\n",
        "    except stripe.RateLimitError as error:\n"
        '        raise StripeRefused(429, error.code, None, "RateLimitError") from error\n'
        "    except stripe.APIConnectionError as error:\n",
        f"{IN_CLIENT}test_the_status_of_an_error_decides_which_error_is_raised",
    ),
    Edit(
        "a 409 of Stripe's is a refusal",
        STRIPE_CLIENT,
        "status in (0, 409, 429)",
        "status in (0, 429)",
        f"{IN_CLIENT}test_the_status_of_an_error_decides_which_error_is_raised",
    ),
    Edit(
        "a failure of Stripe's is a refusal",
        STRIPE_CLIENT,
        "if status >= 500 or status in",
        "if status in",
        f"{IN_CLIENT}test_the_status_of_an_error_decides_which_error_is_raised",
    ),
    Edit(
        "Stripe's own text is reported",
        STRIPE_CLIENT,
        'getattr(error, "param", None), type(error).__name__',
        'getattr(error, "param", None), str(error)',
        f"{IN_CLIENT}test_a_refusal_has_stripes_status_code_and_parameter_and_none_of_its_text",
    ),
    Edit(
        "a series of idempotency keys has one key",
        STRIPE_CLIENT,
        'f"{key}-{number}"',
        'f"{key}-0"',
        f"{IN_CLIENT}test_after_a_recorded_failure_the_next_key_of_the_series_is_used",
    ),
    Edit(
        "a recorded failure is an ordinary one",
        STRIPE_CLIENT,
        '        if any(name.lower() == "idempotent-replayed" for name in headers):\n'
        '            raise _RecordedFailure(f"{type(error).__name__} {status}") from error\n',
        "",
        f"{IN_CLIENT}test_after_a_recorded_failure_the_next_key_of_the_series_is_used",
    ),
    Edit(
        "a person's call is not tried again",
        STRIPE_CLIENT,
        "        time.sleep(random.uniform(0.2, 0.6))  "
        "# noqa: S311 (spreads retries, guards nothing)\n"
        "        return call()\n",
        "        raise\n",
        f"{IN_CLIENT}test_a_call_for_which_a_person_waits_is_repeated_once_and_is_the_same_then",
    ),
)
