"""The daemon's processes: each may hang, die or be refused, and the others go on."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from reliability import hostile
from reliability.processes import family_of

from integration.blackbox.program import Multus
from integration.daemon.node import Daemon
from multus.testing.delegates import BinDir, Reply
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Answer, Container, Runtime

STUCK = 1
#: How long the supervisor lets an interrupted step react.
REACT = 2


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not happen in {seconds} s"
        time.sleep(0.02)


def processes(daemon: Daemon, name: str) -> list[int]:
    """Those of the daemon with this name."""
    found = []
    for pid in family_of(daemon.pid):
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == f"{name}\n":
                found.append(pid)
    return found


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


@frozen
class Place:
    """A node whose daemon knows the hostile plugin; *folder* is where that looks."""

    multus: Multus
    daemon: Daemon
    folder: Path

    def conf(self, *, deed: str, at: str) -> dict[str, Any]:
        """A real network, and the hostile plugin's."""
        acts = {"deed": deed, "at": at, "folder": str(self.folder)}
        return self.multus.conf(self.ptp(61), {"type": "hostile", "name": "h", **acts})

    def ptp(self, number: int) -> dict[str, Any]:
        ipam = {
            "type": "host-local",
            "subnet": f"10.{number}.0.0/24",
            "dataDir": self.multus.ipam_dir,
        }
        return {"type": "ptp", "name": f"p{number}", "ipam": ipam}

    @property
    def quiet(self) -> dict[str, Any]:
        """One network, attached in a worker's process."""
        return self.multus.conf(self.ptp(62))

    def calm(self) -> None:
        """The hostile plugin does no harm from now on."""
        (self.folder / "calm").touch()

    def begun(self) -> None:
        wait_for((self.folder / "begun").exists)

    def start(self, **environ: str) -> None:
        self.daemon.start(PYTHONPATH=str(self.folder / "site"), **environ)

    def serves(self, netns: Netns) -> None:
        """An ADD and a DEL succeed."""
        container = Container(netns.path)
        self.multus.add(self.quiet, container).require()
        self.multus.delete(self.quiet, container).require()


@pytest.fixture
def settings() -> dict[str, Any]:
    """More keys of the daemon's file."""
    return {}


@pytest.fixture
def place(
    settings: dict[str, Any],
    cni_runtime: Runtime,
    cni_bin: BinDir,
    cni_node: Node,
    programs: dict[str, str],
    tmp_path: Path,
) -> Iterator[Place]:
    hostile.install(tmp_path / "site")
    cni_bin.real("ptp", "host-local")
    state = str(tmp_path / "multus")
    keys = {"cniDir": state, "logLevel": "verbose", "stuckSeconds": STUCK, **settings}
    daemon = Daemon(tmp_path / "daemon", cni_node, keys)
    environ = {**daemon.environ(), "MULTUS_WAIT": "20"}
    runtime = evolve(cni_runtime, program=(programs["python"],), environ=environ)
    multus = Multus(runtime, cni_bin, cni_node, state, str(tmp_path / "ipam"))
    made = Place(multus, daemon, tmp_path)
    yield made
    made.calm()
    daemon.stop()


class Call:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], Answer]) -> None:
        self._answers: list[Answer] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(call()))
        self._thread.start()

    def answer(self) -> Answer:
        self._thread.join(60)
        return self._answers[0]


# --- Workers that hang ----------------------------------------------------------------------------


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
    before, workers = (
        place.multus.node.state(place.multus.ipam_dir),
        processes(place.daemon, "multus-worker"),
    )
    began = time.monotonic()
    refusal = place.multus.add(place.conf(deed="sleep", at=at), Container(cni_pod.path)).error
    assert time.monotonic() - began < STUCK + 1
    assert refusal["code"] == 11
    assert [each for each in named if each not in refusal["msg"]] == []
    assert before.difference(place.multus.node.state(place.multus.ipam_dir)) == []
    assert (place.multus.records(), cni_pod.links()) == ([".daemon"], {})
    assert set(workers) <= set(processes(place.daemon, "multus-worker"))
    assert place.daemon.metric("multus_worker_replacements_total") == 0
    place.serves(cni_pod)


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
    assert time.monotonic() - began < STUCK + REACT + 1
    assert refusal["code"] == 11
    assert "invoker 'hostile', ADD" in refusal["msg"]
    # No DEL has come, and none is needed.
    wait_for(lambda: before.difference(place.multus.node.state(place.multus.ipam_dir)) == [])
    wait_for(lambda: place.multus.records() == [".daemon"])
    assert netns.links() == {}
    assert place.daemon.metric('multus_worker_replacements_total{reason="stuck"}') == 1
    assert place.daemon.control("health") == (0, "ok\n")


# --- The template ---------------------------------------------------------------------------------


def test_a_template_that_ends_costs_the_calls_under_way_and_two_seconds(
    place: Place, cni_pods: Callable[[], Netns]
) -> None:
    place.multus.bin.stand_in("slow", ADD=Reply('{"cniVersion": "1.0.0"}', sleep=3))
    place.start()
    first, other = cni_pods(), cni_pods()
    call = Call(
        lambda: place.multus.add(place.multus.conf({"type": "slow"}), Container(first.path))
    )
    wait_for(lambda: place.multus.bin.commands("ADD"))
    (template,) = processes(place.daemon, "multus-template")
    os.kill(template, signal.SIGKILL)
    began = time.monotonic()
    place.serves(other)
    assert time.monotonic() - began < 2
    assert call.answer().error["code"] == 11
    assert place.daemon.control("health") == (0, "ok\n")
    wait_for(lambda: place.daemon.control("ready") == (0, "ok\n"))
    assert template not in processes(place.daemon, "multus-template")
    assert len(processes(place.daemon, "multus-template")) == 1
    assert len(processes(place.daemon, "multus-api")) == 1
    wait_for(lambda: place.multus.records() == [".daemon"])


def test_a_template_that_cannot_be_started_again_is_told_of_until_it_can(
    place: Place, cni_pod: Netns
) -> None:
    """A plugin that ends the process in which it is imported was installed meanwhile."""
    place.start()
    module = place.folder / "site" / "its_hostile.py"
    text = module.read_text()
    module.write_text(f"{text}\nos._exit(1)\n")
    (template,) = processes(place.daemon, "multus-template")
    os.kill(template, signal.SIGKILL)
    wait_for(lambda: place.daemon.control("health")[0] == 1)
    assert "template process ended" in place.daemon.control("health")[1]
    assert place.daemon.control("ready")[0] == 1
    refusal = place.multus.add(place.quiet, Container(cni_pod.path)).error
    assert refusal["code"] == 11
    assert "template process ended" in refusal["msg"]
    module.write_text(text)
    wait_for(lambda: place.daemon.control("ready") == (0, "ok\n"))
    assert place.daemon.control("health") == (0, "ok\n")
    place.serves(cni_pod)


def test_a_reload_in_the_place_of_a_template_that_ended_leaves_one(place: Place) -> None:
    place.start()
    (template,) = processes(place.daemon, "multus-template")
    os.kill(template, signal.SIGKILL)
    assert place.daemon.control("reload") == (0, "ok\n")
    time.sleep(1)
    assert len(processes(place.daemon, "multus-template")) == 1
    assert len(processes(place.daemon, "multus-api")) == 1


# --- No more processes ----------------------------------------------------------------------------


class Pids:
    """A cgroup with a limit of processes and threads, around a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        version_1 = Path("/sys/fs/cgroup/pids")
        self.folder = (version_1 if version_1.is_dir() else version_1.parent) / (
            f"multus-test-{secrets.token_hex(4)}"
        )
        self._daemon = daemon

    def __enter__(self) -> Pids:
        try:
            self.folder.mkdir()
            if not (self.folder / "pids.max").exists():
                self.folder.rmdir()
                raise OSError("the controller is not available")
        except OSError as error:
            pytest.skip(f"no pids cgroup can be made: {error}")
        for _ in range(2):  # the second finds what was forked meanwhile
            self.take()
        return self

    def take(self) -> None:
        for pid in family_of(self._daemon.pid):
            with suppress(OSError):
                (self.folder / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """No further process."""
        (self.folder / "pids.max").write_text((self.folder / "pids.current").read_text())

    def open(self) -> None:
        (self.folder / "pids.max").write_text("max")

    def __exit__(self, *_: object) -> None:
        self.open()
        self._daemon.stop()
        end = time.monotonic() + 10
        while True:
            with suppress(OSError):
                self.folder.rmdir()
                return
            assert time.monotonic() < end, (self.folder / "cgroup.procs").read_text()
            time.sleep(0.05)


def test_without_processes_calls_are_refused_with_the_reason_until_there_are_some(
    place: Place, cni_pod: Netns
) -> None:
    place.start()
    place.serves(cni_pod)
    with Pids(place.daemon) as pids:
        pids.close()
        place.serves(cni_pod)  # by the workers that there are
        for worker in processes(place.daemon, "multus-worker"):
            os.kill(worker, signal.SIGKILL)
        (pids.folder / "pids.max").write_text("1")
        refusal = place.multus.add(place.quiet, Container(cni_pod.path)).error
        assert refusal["code"] == 11
        assert "no worker can be started" in refusal["msg"]
        assert "Resource temporarily unavailable" in refusal["msg"]
        status, text = place.daemon.control("health")
        assert (status, "no worker can be started" in text) == (1, True)
        pids.open()
        wait_for(lambda: place.daemon.control("health") == (0, "ok\n"))
        place.serves(cni_pod)


def test_a_delegate_that_cannot_be_started_for_that_is_to_be_tried_again(
    place: Place, cni_pod: Netns
) -> None:
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
        wait_for(lambda: "cannot start another template process" in place.daemon.log)
        assert place.daemon.control("health")[0] == 1
        assert place.multus.add(place.quiet, Container(cni_pod.path)).error["code"] == 11
        pids.open()
        wait_for(lambda: place.daemon.control("ready") == (0, "ok\n"))
        place.serves(cni_pod)


# --- The metrics' port ----------------------------------------------------------------------------

#: Opens 200 connections a second for some seconds, and does with each what it is told.
_FLOOD = """
import socket, sys, time
port, seconds, mode, held = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], []
end, next_one = time.monotonic() + seconds, time.monotonic()
while time.monotonic() < end:
    s = socket.socket(); s.setblocking(False)
    if mode == "unread":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    try: s.connect(("127.0.0.1", port))
    except BlockingIOError: pass
    held.append(s)
    for each in held[-100:] if mode != "silent" else ():
        try: each.send(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" if mode == "unread" else b"G")
        except OSError: pass
    if len(held) > 800: held.pop(0).close()
    next_one += 0.005
    time.sleep(max(0, next_one - time.monotonic()))
"""
_SCRAPE = """
import http.client, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=8)
c.request(sys.argv[2], "/"); r = c.getresponse()
sys.stdout.buffer.write(b"%d\\n" % r.status + r.read())
"""
PORT = 19098


@pytest.mark.parametrize("settings", [{"metricsPort": PORT}])
@pytest.mark.parametrize("mode", ["silent", "drip", "unread"])
def test_clients_of_the_metrics_port_cost_little_and_delay_no_call(
    place: Place, cni_pod: Netns, mode: str
) -> None:
    place.start()
    python = ["/usr/bin/python3", "-I", "-c"]
    argv = place.daemon.node.command(
        ["setpriv", "--reuid=65534", "--clear-groups", *python, _FLOOD, str(PORT), "3", mode]
    )
    place.serves(cni_pod)
    before = threads(place.daemon.pid)
    flood = subprocess.Popen(argv)
    try:
        slowest = 0.0
        while flood.poll() is None:
            began = time.monotonic()
            place.serves(cni_pod)
            slowest = max(slowest, time.monotonic() - began)
            assert threads(place.daemon.pid) <= before
            assert len(os.listdir(f"/proc/{place.daemon.pid}/fd")) < 100
    finally:
        flood.kill()
        flood.wait()
    assert slowest < 1
    for method, expected in (("GET", "multus_server_calls"), ("HEAD", "")):
        shown = place.daemon.node.run(*python, _SCRAPE, str(PORT), method)
        status, _, text = shown.partition("\n")
        assert status == "200"
        assert expected in text
    assert threads(place.daemon.pid) == before


# --- What plugins print ---------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["hook", "add", "observer"])
def test_what_a_plugin_and_its_child_print_reaches_no_answer(
    place: Place, cni_pod: Netns, at: str
) -> None:
    place.start()
    conf, container = place.conf(deed="write", at=at), Container(cni_pod.path)
    answer = place.multus.add(conf, container).require()
    assert set(answer.json) >= {"cniVersion", "interfaces"}
    assert place.multus.delete(conf, container).require().stdout == b""
    assert b"hostile" not in answer.stderr
    assert "hostile bytes" in place.daemon.stderr
    assert "hostile child" in place.daemon.stderr


@pytest.mark.parametrize("at", ["hook", "add", "delete", "observer"])
def test_nor_without_a_daemon(
    place: Place, cni_pod: Netns, cni_program: tuple[str, ...], at: str
) -> None:
    environ = {"PYTHONPATH": str(place.folder / "site")}
    alone = evolve(
        place.multus, runtime=evolve(place.multus.runtime, program=cni_program, environ=environ)
    )
    conf, container = place.conf(deed="write", at=at), Container(cni_pod.path)
    added = alone.add(conf, container).require()
    assert set(added.json) >= {"cniVersion", "interfaces"}
    deleted = alone.delete(conf, container).require()
    assert deleted.stdout == b""
    said = added.stderr + deleted.stderr
    for words in (b"hostile words", b"hostile bytes", b"hostile child"):
        assert words in said


def test_times_and_log_lines_of_a_worker_reach_the_supervisor(place: Place, cni_pod: Netns) -> None:
    place.start()
    place.serves(cni_pod)
    metric = place.daemon.metric
    for verb in ("ADD", "DEL"):
        assert metric(f'multus_delegate_seconds_count{{type="ptp",verb="{verb}"}}') == 1
    assert metric('multus_stage_seconds_count{stage="resolve",verb="ADD"}') == 1
    lines = [json.loads(line) for line in place.daemon.log.splitlines()]
    (added,) = [line for line in lines if line["msg"] == "ADD" and "delegate" in line]
    assert added["network"] == "p62"
