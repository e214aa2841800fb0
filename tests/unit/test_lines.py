"""The line of each key of a TOML text."""

from __future__ import annotations

from billing.configuration.lines import lines_of

TEXT = """
# A comment.
[default]
features.invoice_history.enabled = true
features.customer_update = { enabled = true, allowed_updates = ["email"] }

  [other.when]
products = [
  "prod_1",
  "prod_2",
]
[[other.entries]]
prices = ["a"]
[[other.entries]]
[other.entries.more]
flag = true
"""


def test_each_key_has_the_line_on_which_it_first_occurs() -> None:
    assert lines_of(TEXT) == {
        ("default",): 3,
        ("default", "features"): 4,
        ("default", "features", "invoice_history"): 4,
        ("default", "features", "invoice_history", "enabled"): 4,
        ("default", "features", "customer_update"): 5,
        ("default", "features", "customer_update", "enabled"): 5,
        ("default", "features", "customer_update", "allowed_updates"): 5,
        ("default", "features", "customer_update", "allowed_updates", 0): 5,
        ("other",): 7,
        ("other", "when"): 7,
        ("other", "when", "products"): 8,
        ("other", "when", "products", 0): 8,
        ("other", "when", "products", 1): 8,
        ("other", "entries"): 12,
        ("other", "entries", 0): 12,
        ("other", "entries", 0, "prices"): 13,
        ("other", "entries", 0, "prices", 0): 13,
        ("other", "entries", 1): 14,
        ("other", "entries", 1, "more"): 15,
        ("other", "entries", 1, "more", "flag"): 16,
    }


def test_a_text_without_keys_has_no_lines() -> None:
    assert lines_of("# nothing\n\n") == {}
