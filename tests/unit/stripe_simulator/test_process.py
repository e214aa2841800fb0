"""The simulator as its own process: one line when it is ready, and a clean stop."""

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
def test_it_prints_its_address_accepts_only_its_key_and_stops_cleanly(how: signal.Signals) -> None:
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
        # uvicorn raises the signal again after its shutdown. Only SIGINT is caught there.
        assert process.returncode in (0, -how)
