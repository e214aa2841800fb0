"""The message that asks for a sync."""

from __future__ import annotations

import json

from billing.keys import CustomerKey
from billing.sync_request import SyncRequest

KEY = CustomerKey("own", "test", "cus_1")


def sent(request: SyncRequest) -> object:
    return json.loads(request.to_message())


def test_the_cause_of_a_sync_of_our_own_says_what_it_is_and_up_to_when() -> None:
    expected = {"key": "CUS#own#test#cus_1", "up_to": 7}
    for request, cause in (
        (SyncRequest.confirm(KEY, up_to=7), {"id": "confirm-7", "type": "portcullis.confirm"}),
        (SyncRequest.deploy(KEY, up_to=7), {"id": "deploy-7", "type": "portcullis.deploy"}),
        (
            SyncRequest.claim(KEY, cause="cus_2", up_to=7),
            {"id": "cus_2", "type": "portcullis.claim"},
        ),
    ):
        assert sent(request) == {**expected, "cause": cause}
        assert SyncRequest.from_message(request.to_message()) == request


def test_a_message_has_no_blanks() -> None:
    assert " " not in SyncRequest.confirm(KEY, up_to=7).to_message()
