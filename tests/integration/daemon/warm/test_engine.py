"""A node without a daemon: the engine that a call leaves behind, and what it must not keep."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from attrs import evolve
from unit.registry.site import Site
from waiting import PATIENCE, becomes, eventually

from integration.daemon.conftest import answer_of
from integration.daemon.family import pids_cgroup
from multus.cli import engines
from multus.cni import shim
from multus.cni import warm as engines_of
from multus.cni.warm import FAILED
from multus.daemon import wire
from multus.testing.netns import Netns
from multus.testing.runtime import Container, installed_program

from .node import Warm, family, kill_all_but_the_supervisor, waits


def held_by(pid: int) -> set[str]:
    """What the descriptors of an engine's processes lead to."""
    held = set()
    for process in family(pid):
        for name in os.listdir(f"/proc/{process}/fd"):
            with suppress(FileNotFoundError):
                held.add(os.readlink(f"/proc/{process}/fd/{name}"))
    return held


# --- Serving --------------------------------------------------------------------------------------


def test_the_first_call_serves_itself_and_leaves_an_engine_for_the_next_ones(
    warm: Warm, cni_pod: Netns
) -> None:
    warm.leave(cni_pod)
    before, container = warm.served(), Container(cni_pod.path)
    result = warm.add(container).require().json
    warm.multus.runtime.check(warm.conf(), container, result).require()
    warm.multus.runtime.status(warm.conf()).require()
    warm.multus.runtime.gc(warm.conf(), [container]).require()
    warm.delete(container).require()
    assert cni_pod.links() == {}
    becomes(lambda: warm.served() - before, 5.0)


def test_both_give_the_same_answer(warm: Warm, cni_pods: Callable[[], Netns]) -> None:
    first, second = (Container(cni_pods().path) for _ in range(2))
    alone = warm.add(first).require().json
    eventually(lambda: warm.engine)
    served = warm.add(second).require().json
    assert [list(each) for each in (alone["ips"][0], alone)] == [
        list(each) for each in (served["ips"][0], served)
    ]
    bad = evolve(second, ifname="eth0/..")
    refused = warm.add(bad).error
    warm.delete(first).require()
    warm.delete(second).require()
    list(engines.end(str(warm.folder)))
    assert warm.add(bad).error == refused


def test_zero_seconds_turn_it_off_also_where_an_engine_runs(warm: Warm, cni_pod: Netns) -> None:
    container = Container(cni_pod.path)
    warm.add(container, warmSeconds=0).require()
    warm.delete(container, warmSeconds=0).require()
    assert not warm.folder.exists()
    warm.leave(cni_pod)
    before = warm.served()
    warm.add(container, warmSeconds=0).require()
    warm.delete(container, warmSeconds=0).require()
    assert warm.served() == before


def test_it_ends_when_it_is_idle_and_leaves_nothing(one: Warm, cni_pod: Netns) -> None:
    pid = one.leave(cni_pod, warmSeconds=1)
    processes = family(pid)
    assert len(processes) >= 3
    becomes(lambda: os.listdir(one.folder), [])
    eventually(lambda: not any(os.path.exists(f"/proc/{each}") for each in processes))


def test_status_neither_leaves_an_engine_nor_keeps_one(one: Warm, cni_pod: Netns) -> None:
    one.multus.runtime.status(one.conf()).require()
    assert not one.folder.exists()
    one.leave(cni_pod, warmSeconds=1)
    eventually(lambda: one.multus.runtime.status(one.conf()).require() and not one.engine)


def test_a_call_that_fails_leaves_no_engine(one: Warm) -> None:
    assert one.add(Container("/run/netns/absent")).status == 1
    assert not one.folder.exists()


def test_of_several_at_once_one_leaves_an_engine(one: Warm, cni_pods: Callable[[], Netns]) -> None:
    from integration.daemon.family import Call

    containers = [Container(cni_pods().path) for _ in range(4)]
    for call in [Call(lambda each=each: one.add(each)) for each in containers]:  # type: ignore[misc]
        call.answer().require()
    eventually(lambda: one.engine)
    found = engines.found(str(one.folder))
    assert len(found) == 1
    for each in containers:
        one.delete(each).require()
    assert engines.found(str(one.folder)) == found


# --- What an engine has of its callers ------------------------------------------------------------


def test_it_belongs_to_nobody_and_holds_no_pipe(one: Warm, cni_pod: Netns) -> None:
    # ``require`` has read stdout and stderr to their ends: no process holds them.
    pid = one.leave(cni_pod)
    assert Path(f"/proc/{pid}/comm").read_text() == "multus-warm\n"
    assert os.getsid(pid) == pid
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert state[4] == "0"  # no terminal
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) >= 0
    mask = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "Umask" in line
    )
    assert mask.split()[1] == "0022"
    for number in (0, 1, 2):
        target = os.readlink(f"/proc/{pid}/fd/{number}")
        assert target == os.devnull or target.startswith("socket:")


def test_descriptors_that_a_runtime_leaks_are_closed(one: Warm, cni_pod: Netns) -> None:
    reading, writing = os.pipe()
    container = Container(cni_pod.path)
    runtime = one.multus.runtime
    environ = {**runtime.environ, **container.environ(), "CNI_PATH": runtime.cni_path}
    for command in ("ADD", "DEL"):
        done = subprocess.run(
            one.multus.node.command(runtime.program),
            input=json.dumps(one.conf()).encode(),
            env={**environ, "CNI_COMMAND": command},
            pass_fds=[writing],
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, done.stdout
    os.close(writing)
    eventually(lambda: one.engine)
    assert os.read(reading, 1) == b""  # the end of the file
    os.close(reading)


def test_it_keeps_no_namespace_no_log_and_no_connection(
    one: Warm, cni_pods: Callable[[], Netns]
) -> None:
    one.leave(cni_pods(), logFile=str(one.place / "log"), logLevel="debug")
    container = Container(cni_pods().path)
    identity = os.stat(container.netns).st_ino
    one.add(container, logFile=str(one.place / "log"), logLevel="debug").require()
    assert f"net:[{identity}]" not in held_by(one.engine)
    one.delete(container, logFile=str(one.place / "log")).require()
    eventually(lambda: str(one.place / "log") not in held_by(one.engine))
    usual = (os.devnull, str(one.folder), "/memfd:", "/dev/shm")
    files = [each for each in held_by(one.engine) if each.startswith(("/", "net:"))]
    assert [each for each in files if not each.startswith(usual)] == []
    logged = (one.place / "log").read_text()
    assert f'"container":"{container.id}"' in logged and '"msg":"serving"' in logged


def test_each_call_has_its_own_callers_environment(one: Warm, cni_pod: Netns) -> None:
    """A delegate prints the environment that it gets; so do plugins that read the process's."""
    shown = one.place / "shown"
    script = f'#!/bin/sh\nenv | sort > {shown}.$CNI_COMMAND\necho \'{{"cniVersion": "1.0.0"}}\'\n'
    one.multus.bin.file("shows", script.encode())
    conf = one.conf({"type": "shows", "name": "s"})
    container = Container(cni_pod.path)

    def environ_of(where: Warm) -> dict[str, str]:
        where.multus.add(conf, container).require()
        where.multus.delete(conf, container).require()
        lines = Path(f"{shown}.ADD").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    one.leave(cni_pod)
    first = environ_of(one.with_environ(NOW="first", HTTP_PROXY="a"))
    second = environ_of(one.with_environ(NOW="second"))
    assert (first["NOW"], first["HTTP_PROXY"]) == ("first", "a")
    assert second["NOW"] == "second" and "HTTP_PROXY" not in second
    assert not any(name.startswith("MULTUS_WARM") for name in (*first, *second))
    eventually(lambda: one.served() >= 4)


def test_another_interpreters_path_has_another_engine(one: Warm, cni_pod: Netns) -> None:
    one.leave(cni_pod)
    one.with_environ(PYTHONPATH=str(one.place / "site")).leave(cni_pod)
    becomes(lambda: len(engines.found(str(one.folder))), 2)


def test_an_installed_plugin_replaces_the_engine(one: Warm, cni_pod: Netns) -> None:
    site = Site(one.place / "site", one.place / "index.json")
    site.folder.mkdir()
    here = one.with_environ(PYTHONPATH=str(site.folder))
    before = here.leave(cni_pod)
    site.install("refuses", _REFUSES)
    # The very next call is carried out with what is installed now.
    assert "not on this node" in here.add(Container(cni_pod.path)).error["msg"]
    # While it ends, calls are carried out in place, and leave no other one.
    eventually(lambda: not any(each.process for each in engines.found(str(here.folder))))
    site.uninstall("refuses")
    assert here.leave(cni_pod) != before


_REFUSES = """
from multus import hookimpl
from multus.api.errors import InvalidConfig

@hookimpl
def multus_validate(conf):
    raise InvalidConfig("not on this node")
"""


# --- What goes wrong ------------------------------------------------------------------------------


def test_a_killed_engine_costs_a_call_nothing(warm: Warm, cni_pod: Netns) -> None:
    before = warm.leave(cni_pod)
    os.kill(before, signal.SIGKILL)
    assert warm.socket.exists()
    assert warm.leave(cni_pod) != before


def test_an_engine_without_workers_refuses_no_call_and_ends(one: Warm, cni_pod: Netns) -> None:
    container = Container(cni_pod.path)
    for _ in range(3):
        engine = one.leave(cni_pod)
        kill_all_but_the_supervisor(engine)
        one.add(container).require()
        one.delete(container).require()
        eventually(lambda: not os.path.exists(f"/proc/{engine}"))  # noqa: B023  called at once
    assert one.multus.records() == []


def test_an_engine_that_is_killed_while_it_starts_is_left_again(one: Warm, cni_pod: Netns) -> None:
    container = Container(cni_pod.path)
    one.add(container).require()
    (starting,) = engines.found(str(one.folder))
    eventually(lambda: engines.found(str(one.folder))[0].process > 0)
    os.kill(engines.found(str(one.folder))[0].process, signal.SIGKILL)
    one.delete(container).require()
    assert starting.process
    eventually(lambda: one.engine)


def test_sigterm_lets_the_calls_end_and_refuses_none(one: Warm, cni_pod: Netns) -> None:
    from integration.daemon.family import Call

    waits(one)
    conf, container = one.conf({"type": "waits", "name": "w"}), Container(cni_pod.path)
    engine = one.leave(cni_pod)
    path = one.socket
    call = Call(lambda: one.multus.add(conf, container))
    eventually((one.place / "begun").exists)
    os.kill(engine, signal.SIGTERM)
    eventually(lambda: not path.exists())
    (one.place / "go").touch()
    call.answer().require()
    eventually(lambda: not os.path.exists(f"/proc/{engine}"))
    one.multus.delete(conf, container).require()


def test_a_folder_that_others_can_write_to_gets_no_engine_and_says_so(
    one: Warm, cni_pod: Netns
) -> None:
    one.folder.mkdir()
    one.folder.chmod(0o777)
    container = Container(cni_pod.path)
    one.add(container).require()
    one.delete(container).require()
    eventually(lambda: [each.failure for each in engines.found(str(one.folder)) if each.failure])
    (found,) = engines.found(str(one.folder))
    assert "can be written to by others" in found.failure
    assert not os.path.exists(found.socket)
    # The next calls do not try again at once.
    mtime = os.stat(f"{found.socket}.lock").st_mtime_ns
    one.add(container).require()
    one.delete(container).require()
    assert os.stat(f"{found.socket}.lock").st_mtime_ns == mtime


@pytest.mark.parametrize("where", ["/proc/nowhere", "/dev/null/run"])
def test_where_no_socket_can_be_the_call_succeeds(one: Warm, cni_pod: Netns, where: str) -> None:
    here, container = (
        one.with_environ(MULTUS_SOCKET=f"{where}/multus.sock"),
        Container(cni_pod.path),
    )
    here.add(container).require()
    here.delete(container).require()


def test_in_another_mount_namespace_no_engine_is_left(one: Warm, cni_pod: Netns) -> None:
    runtime = one.multus.runtime
    inside = evolve(runtime, program=("unshare", "--mount", "--", *runtime.program))
    there, container = (
        evolve(one, multus=evolve(one.multus, runtime=inside)),
        Container(cni_pod.path),
    )
    there.add(container).require()
    there.delete(container).require()
    assert not one.folder.exists()


def test_the_socket_is_only_its_owners(one: Warm, cni_pod: Netns) -> None:
    one.leave(cni_pod)
    assert stat.S_IMODE(one.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(one.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("option", ["nr_inodes=1", "ro"])
def test_a_full_or_read_only_file_system_leaves_the_call_successful(
    one: Warm, cni_pod: Netns, option: str
) -> None:
    one.folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", one.folder], check=True)
    try:
        container = Container(cni_pod.path)
        one.add(container).require()
        one.delete(container).require()
        assert os.listdir(one.folder) == []
    finally:
        subprocess.run(["umount", one.folder], check=True)


def test_a_fork_that_is_forbidden_leaves_the_call_successful(one: Warm, cni_pod: Netns) -> None:
    group, container = pids_cgroup(), Container(cni_pod.path)
    try:
        (group / "pids.max").write_text("1")
        enter = f'echo $$ > {group}/cgroup.procs; exec "$@"'
        runtime = one.multus.runtime
        alone = evolve(runtime, program=("sh", "-c", enter, "-", *runtime.program))
        there = evolve(one, multus=evolve(one.multus, runtime=alone))
        there.add(container).require()
        there.delete(container).require()
        assert not one.engine
        (found,) = engines.found(str(one.folder))
        assert found.process == 0
    finally:
        group.rmdir()


# --- Who names it ---------------------------------------------------------------------------------


def test_health_names_it(warm: Warm, cni_pod: Netns) -> None:
    pid = warm.leave(cni_pod)
    environ = dict(warm.multus.runtime.environ)
    argv = warm.multus.node.command([*warm.multus.runtime.program, "health"])
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"ok: a warm engine, process {pid}, ")


def test_doctor_names_it_and_uninstall_ends_it(one: Warm, cni_pod: Netns) -> None:
    pid, places = one.leave(cni_pod), one.place
    (places / "net.d").mkdir()
    (places / "net.d" / "00-multus.conf").write_text(json.dumps(one.conf()))
    (places / "net.d" / "00-multus.conf").chmod(0o600)

    def command(*arguments: str) -> str:
        argv = one.multus.node.command([installed_program()[0], *arguments])
        environ = dict(one.multus.runtime.environ)
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
        assert done.stderr == "", done.stderr
        return done.stdout

    folders = ("--net-d", str(places / "net.d"), "--bin-dir", str(places / "opt"))
    findings = json.loads(command("doctor", "--json", *folders))["findings"]
    (found,) = [each for each in findings if f"process {pid} is a warm engine" in each["reason"]]
    hint = found["fix"].split("'")[1].replace("multus-shim", str(places / "opt" / "multus"))
    argv = one.multus.node.command(["sh", "-c", hint])
    environ = dict(one.multus.runtime.environ)
    asked = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked
    assert f"ended the warm engine at {one.socket}" in command("uninstall", "--net-d", folders[1])
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    assert not os.path.lexists(one.folder)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """A listener where a journal would be: bind its folder to /run/systemd/journal."""
    (tmp_path / "journal").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "journal" / "stdout"))
        listener.listen()
        listener.settimeout(PATIENCE)
        yield listener


def test_on_a_node_with_a_journal_it_logs_there(tmp_path: Path, journal: socket.socket) -> None:
    path = tmp_path / "run" / "warm.0"
    conf = {"logLevel": "verbose", "cniDir": str(tmp_path / "multus")}
    given = {"socket": str(path), "seconds": 60, "conf": conf}
    mounts = (
        "mount -t tmpfs tmpfs /run",
        "mkdir -p /run/systemd/journal",
        f"mount --bind {tmp_path}/journal /run/systemd/journal",
        f"exec 3<>{path}.lock",
    )
    program = "import json, sys; from multus.daemon.warm import main; main(json.loads(sys.argv[1]))"
    script = " && ".join((*mounts, 'exec "$@"'))
    argv = ["unshare", "--mount", "sh", "-c", script, "-", sys.executable, "-c", program]
    path.parent.mkdir(mode=0o700)
    with subprocess.Popen([*argv, json.dumps(given)], stderr=subprocess.PIPE) as engine:
        peer, _ = journal.accept()
        with peer, peer.makefile("r") as lines:
            # Identifier, unit, priority, no priority in the lines, and forwarded to nobody.
            assert [next(lines) for _ in range(7)] == ["multus\n", "\n", "6\n", *["0\n"] * 4]
            assert json.loads(next(lines))["msg"] == "serving"
        assert not os.path.exists(f"{path}.log")
        engine.terminate()
        assert engine.stderr is not None and engine.stderr.read() == b""


def test_an_ordinary_user_reaches_no_engine_and_leaves_none(
    one: Warm, cni_pod: Netns, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.leave(cni_pod)
    # From here, only the engine's own folder is in the way.
    one.place.chmod(0o711)
    monkeypatch.chdir(one.place)
    path = os.path.relpath(one.socket)
    environ = {b"CNI_COMMAND": b"GC", b"CNI_PATH": b"/opt", b"MULTUS_SOCKET": b"run/multus.sock"}
    (one.place / "users").mkdir()
    (one.place / "users").chmod(0o777)
    own, stdin = "users/warm.0", json.dumps(one.conf()).encode()
    before = one.served()
    with user(65534), socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(PermissionError):
            client.connect(path)
        engines_of.leave(own, stdin)
        users = shim.warm_engine(environ, stdin, b"run/multus.sock")
    assert users != shim.warm_engine(environ, stdin, b"run/multus.sock")
    # Even where somebody opened it to all.
    one.folder.chmod(0o711)
    one.socket.chmod(0o666)
    with user(65534), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(wire.Message(wire.CNI, stdin, {"CNI_COMMAND": "GC"}).encode())
        status, said = answer_of(client)
    assert (status, json.loads(said)["code"]) == (1, 5)
    assert one.served() == before
    assert os.listdir("users") == []


@contextmanager
def user(number: int) -> Iterator[None]:
    """Be this user."""
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_cannot_start_is_told_in_the_lock(tmp_path: Path) -> None:
    (tmp_path / "warm.0.lock").write_bytes(FAILED + b"the daemon needs prometheus_client\n")
    (found,) = engines.found(str(tmp_path))
    assert (found.process, found.failure) == (0, "the daemon needs prometheus_client")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "warm.0"))
    assert list(engines.end(str(tmp_path))) == []
    assert os.listdir(tmp_path) == []
