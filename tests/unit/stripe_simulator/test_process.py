"""The simulator as a process of its own: one line when ready, loopback only, a clean end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest
import stripe

from local.stripe_simulator.control import Control
from tests.unit.stripe_simulator.conftest import client_at

COMMAND = [sys.executable, "-m", "local.stripe_simulator", "--port", "0", "--api-key", "sk_test_a"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_serves_its_key_only_and_stops_cleanly(how: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "--seed", "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.fullmatch(r"stripe simulator on (http://127\.0\.0\.1:\d+)\n", line)
        assert match is not None, line
        customer = client_at(match[1], "sk_test_a").v1.customers.create()
        assert customer.id.startswith("cus_")
        with pytest.raises(stripe.AuthenticationError):
            client_at(match[1], "sk_test_b").v1.customers.list()
        with Control(match[1]) as control:
            assert control.state()["pending"] == 0
        process.send_signal(how)
        out, err = process.communicate(timeout=10)
        assert (out, err) == ("", "")
        # uvicorn hands the signal on once it is done; Ctrl-C is caught, SIGTERM is how it says so.
        assert process.returncode in (0, -how)
