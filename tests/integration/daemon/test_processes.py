"""The daemon's processes: when one hangs, dies or cannot be forked, the others continue."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from waiting import PATIENCE, becomes, eventually

from integration.daemon.family import Call, Pids, processes
from integration.daemon.place import Place
from multus.testing.delegates import Reply
from multus.testing.netns import Netns
from multus.testing.runtime import CallFailed, Container

READY = (0, "ok\n")
STUCK_SOON = {"stuckSeconds": 3}


def test_a_reload_that_would_lose_a_plugin_is_refused(place: Place, cni_pod: Netns) -> None:
    place.start()
    plugin = place.folder / "site" / "its_hostile.py"
    text = plugin.read_text()
    plugin.write_text("import nothing_of_that_name")
    status, answer = place.daemon.control("reload")
    assert status == 1
    assert "plugin 'hostile' of multus-hostile 1.0" in answer
    assert "nothing_of_that_name" in answer
    place.serves(cni_pod)
    plugin.write_text(text)
    assert place.daemon.control("reload") == READY


# --- Workers that hang ----------------------------------------------------------------------------


@pytest.mark.parametrize("more_settings", [STUCK_SOON])
@pytest.mark.parametrize(
    ("at", "named"),
    [
        ("hook", ("plugin 'hostile'", "multus_runtime_config")),
        ("add", ("invoker 'hostile'", "ADD")),
    ],
)
def test_a_step_that_hangs_in_python_is_interrupted_and_its_worker_serves_on(
    place: Place, cni_pod: Netns, at: str, named: tuple[str, ...]
) -> None:
    place.start()
    place.serves(cni_pod)
    before = place.multus.node.state(place.multus.ipam_dir)
    began = time.monotonic()
    refusal = place.multus.add(place.conf(deed="sleep", at=at), Container(cni_pod.path)).error
    assert time.monotonic() - began < PATIENCE
    assert refusal["code"] == 11
    assert [each for each in named if each not in refusal["msg"]] == []
    assert before.difference(place.multus.node.state(place.multus.ipam_dir)) == []
    assert (place.multus.records(), cni_pod.links()) == ([], {})
    # The set of workers proves nothing: a busy machine has more, which end when they are idle.
    assert place.daemon.metric("multus_worker_replacements_total") == 0
    place.serves(cni_pod)


@pytest.mark.parametrize("more_settings", [STUCK_SOON])
@pytest.mark.parametrize("deed", ["in-c", "masked"])
def test_a_worker_that_cannot_be_interrupted_is_replaced_and_its_add_undone(
    place: Place, cni_pods: Callable[[], Netns], deed: str
) -> None:
    place.start()
    netns, other = cni_pods(), cni_pods()
    place.serves(other)
    before = place.multus.node.state(place.multus.ipam_dir)
    began = time.monotonic()
    call = Call(lambda: place.multus.add(place.conf(deed=deed, at="add"), Container(netns.path)))
    place.begun()
    place.calm()
    place.serves(other)
    refusal = call.answer().error
    assert time.monotonic() - began < PATIENCE
    assert refusal["code"] == 11
    assert "invoker 'hostile', ADD" in refusal["msg"]
    # No DEL has come, and none is needed.
    becomes(lambda: before.difference(place.multus.node.state(place.multus.ipam_dir)), [])
    becomes(place.multus.records, [])
    assert netns.links() == {}
    assert place.daemon.metric('multus_worker_replacements_total{reason="stuck"}') == 1
    assert place.daemon.control("health") == READY


# --- The template ---------------------------------------------------------------------------------


def test_a_template_that_ends_costs_the_calls_under_way_and_no_other(
    place: Place, cni_pods: Callable[[], Netns]
) -> None:
    place.multus.bin.stand_in("slow", ADD=Reply('{"cniVersion": "1.0.0"}', sleep=8))
    place.start()
    first, other = cni_pods(), cni_pods()
    call = Call(
        lambda: place.multus.add(place.multus.conf({"type": "slow"}), Container(first.path))
    )
    eventually(lambda: place.multus.bin.commands("ADD"))
    (template,) = processes(place.daemon, "multus-template")
    os.kill(template, signal.SIGKILL)
    place.serves(other)
    assert call.answer().error["code"] == 11
    assert place.daemon.control("health") == READY
    becomes(lambda: place.daemon.control("ready"), READY)
    becomes(lambda: len(processes(place.daemon, "multus-template")), 1)
    becomes(lambda: len(processes(place.daemon, "multus-api")), 1)
    assert template not in processes(place.daemon, "multus-template")
    becomes(place.multus.records, [])


def test_a_template_that_cannot_restart_is_reported_until_it_can(
    place: Place, cni_pod: Netns
) -> None:
    """A plugin whose import ends the process was installed meanwhile."""
    place.start()
    module = place.folder / "site" / "its_hostile.py"
    text = module.read_text()
    module.write_text(f"{text}\nos._exit(1)\n")
    (template,) = processes(place.daemon, "multus-template")
    os.kill(template, signal.SIGKILL)
    # A control request may have been in a front worker that ended: that is another error.
    eventually(lambda: "template process ended" in place.daemon.control("health")[1])
    assert place.daemon.control("ready")[0] == 1
    refusal = place.multus.add(place.quiet, Container(cni_pod.path)).error
    assert refusal["code"] == 11
    assert "template process ended" in refusal["msg"]
    module.write_text(text)
    # It is retried after pauses of up to half a minute.
    becomes(lambda: place.daemon.control("ready"), READY, 3 * PATIENCE)
    assert place.daemon.control("health") == READY
    place.serves(cni_pod)


def test_a_reload_after_a_template_ended_leaves_one_template(place: Place) -> None:
    place.start()
    (template,) = processes(place.daemon, "multus-template")
    os.kill(template, signal.SIGKILL)
    assert place.daemon.control("reload") == READY
    time.sleep(1)  # time to start another one
    becomes(lambda: len(processes(place.daemon, "multus-template")), 1)
    becomes(lambda: len(processes(place.daemon, "multus-api")), 1)


def test_an_api_process_that_cannot_start_is_reported_at_once(place: Place) -> None:
    """Its socket's path is longer than the daemon's own, and exceeds the limit."""
    folder = place.folder / ("x" * (96 - len(str(place.folder))))
    place.daemon.spawn(MULTUS_SOCKET=str(folder / "m.sock"))
    assert place.daemon.process is not None
    assert place.daemon.process.wait(2 * PATIENCE) == 1
    place.daemon.process = None
    assert "m.sock.api.1" in place.daemon.stderr
    assert "socketDir" in place.daemon.stderr
    assert "Traceback" not in place.daemon.stderr


# --- No more processes ----------------------------------------------------------------------------


def test_without_processes_calls_are_refused_with_the_reason_until_there_are_some(
    place: Place, cni_pod: Netns
) -> None:
    place.start()
    place.serves(cni_pod)
    with Pids(place.daemon) as pids:
        pids.close()
        place.serves(cni_pod)  # by the existing workers
        (pids.folder / "pids.max").write_text("1")
        for worker in processes(place.daemon, "multus-worker"):
            os.kill(worker, signal.SIGKILL)
        becomes(lambda: processes(place.daemon, "multus-worker"), [])
        eventually(lambda: "no worker can be started" in place.daemon.control("health")[1])
        refusal = place.multus.add(place.quiet, Container(cni_pod.path)).error
        assert refusal["code"] == 11
        assert "no worker can be started" in refusal["msg"]
        assert "Resource temporarily unavailable" in refusal["msg"]
        status, text = place.daemon.control("health")
        assert (status, "no worker can be started" in text) == (1, True)
        pids.open()
        becomes(lambda: place.daemon.control("health"), READY)
        place.serves(cni_pod)


def test_a_delegate_that_cannot_be_forked_fails_with_code_11(place: Place, cni_pod: Netns) -> None:
    place.start()
    place.serves(cni_pod)
    before = place.multus.node.state(place.multus.ipam_dir)
    conf = place.multus.conf(place.ptp(62), {**place.ptp(63), "invoker": "exec"})
    with Pids(place.daemon) as pids:
        pids.close()
        refusal = place.multus.add(conf, Container(cni_pod.path)).error
        assert refusal["code"] == 11
        assert "Resource temporarily unavailable" in refusal["msg"]
        assert before.difference(place.multus.node.state(place.multus.ipam_dir)) == []
        pids.open()
        place.multus.add(conf, Container(cni_pod.path)).require()


def test_a_template_or_a_reload_that_cannot_be_forked_does_not_end_the_supervisor(
    place: Place, cni_pod: Netns
) -> None:
    place.start()
    place.serves(cni_pod)
    with Pids(place.daemon) as pids:
        pids.close()
        status, text = place.daemon.control("reload")
        assert (status, "Resource temporarily unavailable" in text) == (1, True)
        place.serves(cni_pod)
        (pids.folder / "pids.max").write_text("1")
        (template,) = processes(place.daemon, "multus-template")
        os.kill(template, signal.SIGKILL)
        eventually(lambda: "cannot start another template process" in place.daemon.log)
        eventually(lambda: "cannot" in place.daemon.control("health")[1])
        assert place.multus.add(place.quiet, Container(cni_pod.path)).error["code"] == 11
        pids.open()
        becomes(lambda: place.daemon.control("ready"), READY, 3 * PATIENCE)
        place.serves(cni_pod)


# --- No more descriptors, and malformed messages --------------------------------------------------


@contextmanager
def descriptors_left(pid: int, number: int) -> Iterator[None]:
    """Limit a process to so many more open files."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    most = max(int(each) for each in os.listdir(f"/proc/{pid}/fd")) + 1 + number
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def lives(place: Place, netns: Netns) -> None:
    """Assert that the same supervisor serves."""
    process = place.daemon.process
    assert process is not None
    try:
        place.serves(netns)
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            place.daemon.process = None
    assert process.returncode is None, place.daemon.stderr


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_a_supervisor_without_descriptors_for_a_worker_goes_on(
    place: Place, cni_pods: Callable[[], Netns], left: int
) -> None:
    place.start()
    container = Container(cni_pods().path)
    with descriptors_left(place.daemon.pid, left):
        call = Call(lambda: place.multus.add(place.quiet, container))
        time.sleep(0.3)
    answer = call.answer()
    assert answer.status == 0 or answer.error["code"] == 11
    lives(place, cni_pods())


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_supervisor_without_descriptors_for_a_large_message_goes_on(
    place: Place, cni_pods: Callable[[], Netns], left: int
) -> None:
    place.start()
    place.serves(cni_pods())  # there is a worker
    container, conf = Container(cni_pods().path), {**place.quiet, "args": {"note": "x" * 100_000}}
    with descriptors_left(place.daemon.pid, left):
        call = Call(lambda: place.multus.add(conf, container))
        time.sleep(0.3)
    answer = call.answer()
    assert answer.status == 0 or answer.error["code"] == 11
    lives(place, cni_pods())


@pytest.mark.parametrize("deed", ["scribble", "forge"])
@pytest.mark.parametrize("at", ["hook", "add"])
def test_what_a_plugin_writes_to_its_workers_descriptors_ends_no_supervisor(
    place: Place, cni_pods: Callable[[], Netns], deed: str, at: str
) -> None:
    place.start()
    container, conf = Container(cni_pods().path), place.conf(deed=deed, at=at)
    with suppress(CallFailed, ValueError):
        place.multus.add(conf, container)
    lives(place, cni_pods())
    place.calm()
    eventually(lambda: place.multus.delete(conf, container).status == 0)
    # The journal was written to as well: its damaged records are kept.
    eventually(lambda: [r for r in place.multus.records() if not r.endswith(":damaged")] == [])


def test_an_import_whose_supervisor_has_ended_blames_no_plugin() -> None:
    program = """
import socket
from multus.daemon.channel import Channel
from multus.daemon.template import _Telling
ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
its.close()
_Telling(Channel(ours)).show(None)
print("the plugin is called broken")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
