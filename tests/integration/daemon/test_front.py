"""The front worker, and messages of workers to the supervisor."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from waiting import PATIENCE, becomes, eventually

from multus.daemon.channel import Packet
from multus.daemon.pool import Pool
from multus.daemon.settings import Limits

from .conftest import Running, answer_of, message

Serve = Callable[..., Running]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"begin": True, "began": 1.0},
        {"handOff": True, "began": 1.0},
        {"code": [], "taken": 1},
        {"code": "0", "stages": [["a", []]]},
        {"code": "0", "journal_errors": 1 << 60, "stages": 3},
        {"code": "0", "replayed": [{"path": "\0"}]},
    ],
)
def test_a_malformed_message_of_a_worker_costs_its_call_only(
    serve: Serve, said: dict[str, Any]
) -> None:
    daemon = serve()
    status, text = daemon.call("ADD", b"{}", CNI_CONTAINERID="c", DO=f"say:{json.dumps(said)}")
    assert status == 1 and json.loads(text)["code"] == 11
    for _ in range(3):
        assert daemon.call("ADD", b"next", CNI_CONTAINERID="c") == (0, b"next")
    becomes(lambda: daemon.metric("multus_server_calls"), 0)
    assert daemon.control("health") == (0, "ok\n")


def test_a_front_worker_that_cannot_accept_is_replaced(serve: Serve) -> None:
    daemon = serve()
    assert daemon.call("ADD", b"1") == (0, b"1")
    daemon.call("ADD", b"2", DO="few")
    for number in (b"3", b"4", b"5"):
        assert daemon.call("ADD", number) == (0, number)


def test_a_front_worker_that_hangs_is_replaced(serve: Serve) -> None:
    daemon = serve()
    pool = daemon.server._calls.pool
    assert daemon.call("ADD", b"1") == (0, b"1")
    eventually(lambda: pool.front)
    front = pool.front
    assert front is not None
    front.send_signal(signal.SIGSTOP)
    assert daemon.call("ADD", b"2") == (0, b"2")
    eventually(lambda: "the front worker does not respond" in daemon.log)


def test_a_worker_gets_no_call_before_its_pidfd_is_known(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template may send the pidfd after the worker has reported ready."""
    told: list[tuple[Pool, Packet]] = []
    monkeypatch.setattr(Pool, "forked", lambda pool, packet: told.append((pool, packet)))
    daemon = serve()
    with daemon.connect() as peer:
        peer.sendall(message("ADD", b"1"))
        eventually(lambda: told and all(each.said_ready for each in told[0][0]))
        time.sleep(0.3)
        assert daemon.asked == []
        monkeypatch.undo()
        for pool, packet in told:
            pool.forked(packet)
        assert answer_of(peer) == (0, b"1")


def test_a_worker_that_was_dropped_before_its_pidfd_arrived_is_killed(serve: Serve) -> None:
    daemon = serve()
    with subprocess.Popen(["sleep", "600"]) as process:
        packet = Packet({"forked": 1 << 30, "pid": process.pid}, b"", (os.pidfd_open(process.pid),))
        daemon.server._calls.pool.forked(packet)
        assert process.wait(PATIENCE) == -signal.SIGKILL


def test_a_client_whose_worker_ends_after_the_answer_gets_no_second_one(serve: Serve) -> None:
    daemon = serve()
    # After the call the worker cannot read its own state, and ends.
    assert daemon.call("ADD", b"2", DO="few") == (0, b"2")


@pytest.mark.parametrize("size", [2, 1 << 20], ids=["in a packet", "in a file"])
def test_a_supervisor_without_descriptors_goes_on(serve: Serve, size: int) -> None:
    daemon = serve(limits=Limits(workers=4))
    assert daemon.call("ADD", b"1") == (0, b"1")
    peers = [daemon.connect() for _ in range(6)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
        for peer in peers:
            peer.settimeout(0.3)
            try:
                peer.sendall(message("ADD", b" " * size, DO="sleep:0.2"))
            except OSError:  # closed already; or not accepted, and larger than the buffer
                peer.close()
            else:
                peer.settimeout(None)
        time.sleep(0.5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for peer in peers:
        with peer, suppress(OSError):
            peer.recv(1)  # an answer, or the end of the connection
    # Calls fail with code 11 until the pause after the last failed fork is over.
    becomes(lambda: daemon.call("ADD", b"2"), (0, b"2"))
    becomes(lambda: daemon.metric("multus_server_calls"), 0)
