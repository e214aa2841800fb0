"""The published contract alone: what notices changes of the schemas."""

from __future__ import annotations

import json

from docs import write_contract


def test_the_published_contract_is_that_of_the_code() -> None:
    published = json.loads((write_contract.ROOT / "docs" / "openapi.json").read_text())
    assert published == json.loads(json.dumps(write_contract.openapi()))
