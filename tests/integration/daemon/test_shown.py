"""The page of the daemon: a process of its own, which no call waits for."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from waiting import PATIENCE, becomes, eventually

from integration.daemon.family import processes
from integration.daemon.node import Daemon
from multus.netlink import Namespace
from multus.testing.netns import Node

PORT = 18470


@pytest.fixture
def daemon(cni_node: Node, tmp_path: Path) -> Iterator[Daemon]:
    settings = {"cniDir": str(tmp_path / "multus"), "logLevel": "verbose", "nodeName": "worker-1"}
    made = Daemon(tmp_path / "daemon", cni_node, {**settings, "pageAddress": f"127.0.0.1:{PORT}"})
    yield made
    made.stop()


def title(daemon: Daemon) -> str:
    """The title of the page; "" while nobody serves it."""
    with Namespace(daemon.node.path) as there:
        with closing(there.socket(socket.AF_INET, socket.SOCK_STREAM)) as peer:
            peer.settimeout(PATIENCE)
            try:
                peer.connect(("127.0.0.1", PORT))
                peer.sendall(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                return peer.recv(65536).decode().partition("<title>")[2].partition("<")[0]
            except ConnectionError:
                return ""


def process(daemon: Daemon) -> int:
    """The page's process; 0 without one."""
    return next(iter(processes(daemon, "multus-page")), 0)


def test_it_is_served_and_started_again_after_it_has_ended(daemon: Daemon) -> None:
    daemon.start()
    becomes(lambda: title(daemon), "worker-1 · Multus")
    first = process(daemon)
    # Calls come first.
    assert os.getpriority(os.PRIO_PROCESS, first) > os.getpriority(os.PRIO_PROCESS, daemon.pid)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: process(daemon) not in (0, first))
    becomes(lambda: title(daemon), "worker-1 · Multus")
    assert "the process of the page ended: it is restarted" in daemon.log
    assert daemon.control("health")[0] == 0


@pytest.mark.parametrize("end", [Daemon.stop, Daemon.kill])
def test_it_ends_with_the_daemon(daemon: Daemon, end: Callable[[Daemon], None]) -> None:
    daemon.start()
    shown = eventually(lambda: process(daemon))
    becomes(lambda: title(daemon), "worker-1 · Multus")
    end(daemon)
    becomes(lambda: title(daemon), "")
    eventually(lambda: not Path(f"/proc/{shown}").exists())


def test_calls_are_served_while_the_page_cannot_be(daemon: Daemon) -> None:
    with Namespace(daemon.node.path) as there:
        taken = there.socket(socket.AF_INET, socket.SOCK_STREAM)
    with closing(taken):
        taken.bind(("127.0.0.1", PORT))
        taken.listen()
        daemon.start()
        eventually(lambda: "cannot serve the page at 127.0.0.1:18470" in daemon.log)
        assert daemon.control("health")[0] == 0
    becomes(lambda: title(daemon), "worker-1 · Multus")


def test_without_the_setting_there_is_no_page(daemon: Daemon) -> None:
    plain = {key: value for key, value in daemon.settings.items() if key != "pageAddress"}
    other = Daemon(daemon.folder, daemon.node, plain).start()
    try:
        assert process(other) == 0
        assert title(other) == ""
    finally:
        other.stop()
