"""Calls that a warm engine or a daemon got and did not answer: none is carried out twice."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from unit.registry.site import Site
from waiting import becomes, eventually

from integration.daemon.conftest import answer_of
from integration.daemon.family import Call
from integration.daemon.test_shims import Peer, read_message
from multus.cni.shim import LEFT
from multus.daemon import wire
from multus.testing.netns import Netns
from multus.testing.runtime import Container

from .node import Warm, kill, kill_all_but_the_supervisor, processes, waits

#: Waits once, between the end of an ADD and its answer.
_HOLDS = """
import os, time
from multus import hookimpl

@hookimpl
def multus_finished(outcome):
    if outcome.command == "ADD" and not os.path.exists({go!r}):
        open({begun!r}, "x").close()
        while not os.path.exists({go!r}):
            time.sleep(0.01)
"""


@contextmanager
def stopped(engine: int) -> Iterator[None]:
    """No process of the engine runs, but for those of delegates."""
    ours = processes(engine)
    try:
        for each in ours:
            os.kill(each, signal.SIGSTOP)
        yield
    finally:
        for each in ours:
            os.kill(each, signal.SIGCONT)


def ends_after_reading(warm: Warm) -> Peer:
    """A daemon that ends in the middle of the next call."""

    def act(peer: socket.socket) -> None:
        read_message(peer)

    return Peer(warm.folder / "multus.sock", act)


def held(warm: Warm, netns: Netns) -> tuple[int, dict[str, Any], Container, Call]:
    """An engine, and a container's ADD that it serves, waiting in a delegate for the file "go"."""
    waits(warm)
    engine = warm.leave(netns)
    conf, container = warm.conf({"type": "waits", "name": "w"}), Container(netns.path)
    call = Call(lambda: warm.multus.add(conf, container))
    eventually((warm.place / "begun").exists)
    return engine, conf, container, call


def nothing_is_left(warm: Warm, netns: Netns) -> None:
    assert warm.multus.records() == []
    assert netns.links() == {}
    ipam = Path(warm.multus.ipam_dir)
    assert [each for each in ipam.rglob("10.*") if each.is_file()] == []


def message(warm: Warm, command: str, container: Container) -> bytes:
    runtime = warm.multus.runtime
    environ = {**runtime.environ, **container.environ(), "CNI_PATH": runtime.cni_path}
    stdin = json.dumps(warm.conf()).encode()
    return wire.Message(wire.CNI, stdin, {**environ, "CNI_COMMAND": command}, 0, 60.0).encode()


# --- Killed ---------------------------------------------------------------------------------------


def test_an_add_whose_engine_is_killed_is_undone_and_fails(warm: Warm, cni_pod: Netns) -> None:
    engine, conf, container, call = held(warm, cni_pod)
    kill(engine)
    (warm.place / "go").touch()
    error = call.answer().error
    assert error["code"] == 11 and "call DEL, then ADD again" in error["msg"] + error["details"]
    nothing_is_left(warm, cni_pod)
    warm.multus.add(conf, container).require()
    warm.multus.delete(conf, container).require()
    nothing_is_left(warm, cni_pod)


def test_an_add_whose_worker_is_killed_fails_as_with_a_daemon(one: Warm, cni_pod: Netns) -> None:
    engine, conf, container, call = held(one, cni_pod)
    kill_all_but_the_supervisor(engine)
    (one.place / "go").touch()
    assert call.answer().error["code"] == 11
    one.multus.delete(conf, container).require()
    nothing_is_left(one, cni_pod)


@pytest.mark.parametrize("killed", [True, False], ids=["the engine", "its workers"])
def test_a_call_that_is_killed_between_its_end_and_its_answer(
    one: Warm, cni_pod: Netns, killed: bool
) -> None:
    """The container has its networks, and its runtime an error: its DEL removes them."""
    site = Site(one.place / "site", one.place / "index.json")
    site.folder.mkdir()
    begun, go = one.place / "begun", one.place / "go"
    go.touch()
    site.install("holds", _HOLDS.format(begun=str(begun), go=str(go)))
    here, container = one.with_environ(PYTHONPATH=str(site.folder)), Container(cni_pod.path)
    engine = here.leave(cni_pod)
    go.unlink()
    call = Call(lambda: here.add(container))
    eventually(begun.exists)
    if killed:
        kill(engine)
    else:
        kill_all_but_the_supervisor(engine)
    go.touch()
    assert call.answer().error["code"] == 11
    here.delete(container).require()
    nothing_is_left(here, cni_pod)
    here.add(container).require()
    here.delete(container).require()


def test_a_del_whose_engine_is_killed_is_carried_out_in_place(one: Warm, cni_pod: Netns) -> None:
    waits(one)
    conf, container = one.conf({"type": "waits", "name": "w"}), Container(cni_pod.path)
    (one.place / "go").touch()
    engine = one.leave(cni_pod)
    one.multus.add(conf, container).require()
    for name in ("begun", "go"):
        (one.place / name).unlink()
    call = Call(lambda: one.multus.delete(conf, container))
    eventually((one.place / "begun").exists)
    kill(engine)
    (one.place / "go").touch()
    call.answer().require()
    nothing_is_left(one, cni_pod)


def test_an_add_whose_daemon_ends_fails_on_a_node_that_can_do_without_one(
    warm: Warm, cni_pod: Netns
) -> None:
    container = Container(cni_pod.path)
    with ends_after_reading(warm):
        assert warm.add(container).error["code"] == 11
    os.unlink(warm.folder / "multus.sock")
    nothing_is_left(warm, cni_pod)
    warm.add(container).require()
    with ends_after_reading(warm):
        warm.delete(container).require()
    nothing_is_left(warm, cni_pod)


# --- Stopped --------------------------------------------------------------------------------------


def test_a_stopped_engine_is_not_waited_for_and_drops_what_it_missed(
    warm: Warm, cni_pods: Callable[[], Netns]
) -> None:
    log, (first, second) = warm.place / "log", (cni_pods(), cni_pods())
    engine, path = warm.leave(first), warm.socket
    with stopped(engine):
        container = Container(first.path)
        warm.add(container, logFile=str(log)).require()
        assert "does not read its messages" in log.read_text()
        assert len(warm.multus.records()) == 1
        warm.delete(container).require()
        nothing_is_left(warm, first)
        warm.add(container).require()
    # It reads them in their order, and this one after them.
    warm.add(Container(second.path)).require()
    assert (warm.engine, warm.socket) == (engine, path)
    becomes(lambda: "eth0" in first.links() and len(warm.multus.records()), 2)
    eventually(lambda: warm.idle())
    # Neither the ADD nor the DEL that it missed.
    assert "eth0" in first.links() and len(warm.multus.records()) == 2
    warm.delete(container).require()
    nothing_of_it = [each for each in warm.multus.records() if container.id in str(each)]
    assert nothing_of_it == [] and first.links() == {}


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "its supervisor"])
def test_an_engine_that_is_stopped_in_a_call_ends_it_when_it_continues(
    warm: Warm, cni_pod: Netns, whole: bool
) -> None:
    engine, conf, container, call = held(warm, cni_pod)
    if whole:
        with stopped(engine):
            (warm.place / "go").touch()
            assert call.is_running(1.2)
    else:
        os.kill(engine, signal.SIGSTOP)
        (warm.place / "go").touch()
        call.answer().require()
        # Only the supervisor could give it to a worker: that one has told it nothing yet.
        warm.multus.delete(conf, container).require()
        nothing_is_left(warm, cni_pod)
        os.kill(engine, signal.SIGCONT)
    call.answer().require()
    assert (warm.place / "begun").read_text() == "x" * (1 if whole else 2)
    warm.multus.delete(conf, container).require()
    nothing_is_left(warm, cni_pod)


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_an_engine_leaves_the_call_of_a_client_that_gave_up(
    one: Warm, cni_pod: Netns, command: str
) -> None:
    """The client's last look found the message read: it waits for this answer."""
    one.leave(cni_pod)
    container = Container(cni_pod.path)
    if command == "DEL":
        one.add(container).require()
    records = one.multus.records()
    for _ in range(2):  # by the worker that accepts, and by the one that the supervisor gives it
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(one.socket))
            client.sendall(message(one, command, container))
            client.shutdown(socket.SHUT_WR)
            assert answer_of(client) == (LEFT, b"")
    assert one.multus.records() == records
    one.delete(container).require()
