from __future__ import annotations

import json

import pytest

from integration.blackbox.program import Multus
from integration.blackbox.test_delegates import *  # noqa: F403
from integration.blackbox.test_delegates import NETNS, TestLog
from integration.daemon.node import Daemon
from multus.testing.delegates import Reply, interface_result
from multus.testing.runtime import Container

# What is logged without a file of its own is the daemon's, whichever shim asks.
del TestLog


class TestTheDaemonsLog:
    @pytest.mark.parametrize("multus", ["c", "python"], indirect=True)
    def test_what_a_delegate_says_on_stderr_stays_off_stdout(
        self, multus: Multus, daemon: Daemon
    ) -> None:
        said = Reply(json.dumps(interface_result()), stderr="the card is warm today")
        multus.bin.stand_in("fake", ADD=said)
        conf = multus.conf({"type": "fake"}, logLevel="debug")
        answer = multus.add(conf, Container(NETNS))
        assert b"warm" not in answer.require().stdout + answer.stderr
        assert "the card is warm today" in daemon.stderr
