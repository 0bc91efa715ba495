"""The real daemon on a node: killed, restarted, in a container, with real delegates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from waiting import PATIENCE, becomes, eventually

from integration.blackbox.program import Multus
from integration.daemon.family import Call
from integration.daemon.node import Daemon
from multus.testing.delegates import BinDir, Reply
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, Runtime


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "multus")


@pytest.fixture
def daemon(cni_node: Node, tmp_path: Path, state: str) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "daemon", cni_node, {"cniDir": state, "logLevel": "verbose"})
    yield made
    made.stop()


@pytest.fixture(params=["c", "python"])
def multus(
    request: pytest.FixtureRequest,
    programs: Mapping[str, str],
    daemon: Daemon,
    cni_runtime: Runtime,
    cni_bin: BinDir,
    cni_node: Node,
    tmp_path: Path,
    state: str,
) -> Multus:
    if request.param not in programs:
        pytest.skip("no C compiler")
    cni_bin.real("ptp", "host-local", "bridge")
    runtime = daemon.clients(programs[request.param], cni_runtime)
    return Multus(runtime, cni_bin, cni_node, state, str(tmp_path / "ipam"))


def ptp(multus: Multus, number: int) -> dict[str, Any]:
    ipam = {"type": "host-local", "subnet": f"10.{number}.0.0/24", "dataDir": multus.ipam_dir}
    return {"type": "ptp", "name": f"p{number}", "ipam": ipam}


def three(multus: Multus, **keys: Any) -> dict[str, Any]:
    """Two real networks, with a delegate between them that a test can make slow."""
    return multus.conf(ptp(multus, 61), {"type": "between"}, ptp(multus, 62), **keys)


# --- Killed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("invoker", ["exec", "ptp"])
def test_a_daemon_killed_in_the_middle_of_an_add_loses_nothing(
    multus: Multus, daemon: Daemon, cni_pod: Netns, invoker: str
) -> None:
    before = multus.node.state(multus.ipam_dir)
    conf = three(multus, invokers={"ptp": invoker})
    container = Container(cni_pod.path)
    multus.bin.stand_in("between", ADD=Reply(sleep=6))
    daemon.start()
    call = Call(lambda: multus.add(conf, container))
    eventually(lambda: "ADD between net0" in multus.bin.commands())
    daemon.kill()
    assert call.answer().error["code"] == 11
    assert multus.node.links().keys() - {"uplink", "wire"}, "nothing was attached yet"

    daemon.start()
    multus.bin.stand_in("between")
    multus.delete(conf, container).require()
    assert "DEL between net0" in multus.bin.commands()
    assert before.difference(multus.node.state(multus.ipam_dir)) == []
    assert multus.records() == []
    assert cni_pod.links() == {}


def test_a_daemon_killed_in_the_middle_of_an_add_serves_the_retry(
    multus: Multus, daemon: Daemon, cni_pod: Netns
) -> None:
    before = multus.node.state(multus.ipam_dir)
    conf, container = three(multus), Container(cni_pod.path)
    multus.bin.stand_in("between", ADD=Reply(sleep=6))
    daemon.start()
    call = Call(lambda: multus.add(conf, container))
    eventually(lambda: "ADD between net0" in multus.bin.commands())
    daemon.kill()
    call.answer()

    daemon.start()
    multus.bin.stand_in("between")
    multus.add(conf, container).require()
    assert {"eth0", "net1"} <= cni_pod.links().keys()
    multus.delete(conf, container).require()
    assert before.difference(multus.node.state(multus.ipam_dir)) == []


@pytest.mark.parametrize("invoker", ["exec", "ptp"])
def test_a_del_whose_daemon_is_killed_is_finished_by_the_next(
    multus: Multus, daemon: Daemon, cni_pod: Netns, invoker: str
) -> None:
    before = multus.node.state(multus.ipam_dir)
    conf, container = three(multus, invokers={"ptp": invoker}), Container(cni_pod.path)
    multus.bin.stand_in("between", DEL=Reply(sleep=6))
    daemon.start()
    multus.add(conf, container).require()
    call = Call(lambda: multus.delete(conf, container))
    eventually(lambda: "DEL between net0" in multus.bin.commands())
    daemon.kill()
    assert call.answer().status == 0, "the runtime would not come again"
    assert len(os.listdir(f"{multus.cni_dir}/.spool")) == 1

    multus.bin.stand_in("between")
    daemon.start()
    becomes(lambda: os.listdir(f"{multus.cni_dir}/.spool"), [])
    assert before.difference(multus.node.state(multus.ipam_dir)) == []
    assert multus.records() == []


def test_dels_while_the_daemon_is_away_are_carried_out_when_it_starts(
    multus: Multus, daemon: Daemon, cni_pods: Callable[[], Netns]
) -> None:
    before = multus.node.state(multus.ipam_dir)
    conf = multus.conf(ptp(multus, 63))
    containers = [Container(cni_pods().path) for _ in range(3)]
    daemon.start()
    for container in containers:
        multus.add(conf, container).require()
    daemon.stop()
    for container in containers:
        multus.delete(conf, container).require()
    assert before.difference(multus.node.state(multus.ipam_dir)) != []
    daemon.start()
    becomes(lambda: daemon.metric('multus_spool_replays_total{outcome="done"}'), 3)
    assert before.difference(multus.node.state(multus.ipam_dir)) == []


def test_a_del_kept_while_the_daemon_runs_is_found_and_precedes_the_next_add(
    multus: Multus, daemon: Daemon, cni_pod: Netns
) -> None:
    conf, container = multus.conf(ptp(multus, 64)), Container(cni_pod.path)
    daemon.start()
    multus.add(conf, container).require()
    # As by a shim that looked for the socket just before the daemon created it.
    away = evolve(
        multus.runtime, environ={**multus.runtime.environ, "MULTUS_SOCKET": "/nowhere/sock"}
    )
    away.delete(conf, container).require()
    multus.add(conf, container).require()
    assert "eth0" in cni_pod.links()
    assert os.listdir(f"{multus.cni_dir}/.spool") == []
    away.delete(conf, container).require()
    becomes(lambda: os.listdir(f"{multus.cni_dir}/.spool"), [])
    assert cni_pod.links() == {}


@pytest.mark.parametrize("known", [True, False], ids=["its DEL", "a DEL of nothing"])
def test_a_kept_del_precedes_an_add_that_no_daemon_serves(
    multus: Multus, daemon: Daemon, cni_pod: Netns, known: bool
) -> None:
    """A later replay would remove the networks of the new container with the same ID."""
    container = Container(cni_pod.path)
    if known:
        daemon.start()
        multus.add(multus.conf(ptp(multus, 65)), container).require()
        daemon.stop()
    multus.delete(multus.conf(ptp(multus, 65)), container).require()
    assert len(os.listdir(f"{multus.cni_dir}/.spool")) == 1
    alone = evolve(multus.runtime, program=(sys.executable, "-m", "multus"))
    conf = multus.conf(ptp(multus, 65), standalone=True)
    alone.add(conf, container).require()
    assert os.listdir(f"{multus.cni_dir}/.spool") == []
    daemon.start()
    assert "eth0" in cni_pod.links()
    alone.delete(conf, container).require()


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_kept_del_that_fails_where_no_daemon_serves(
    multus: Multus, daemon: Daemon, cni_pod: Netns, command: str
) -> None:
    container = Container(cni_pod.path)
    multus.bin.stand_in("fake", DEL=Reply.error(11, "the card is busy"))
    daemon.start()
    multus.add(multus.conf({"type": "fake"}), container).require()
    daemon.stop()
    multus.delete(multus.conf({"type": "fake"}), container).require()
    alone = evolve(multus.runtime, program=(sys.executable, "-m", "multus"))
    conf = multus.conf({"type": "fake"}, standalone=True)
    if command == "ADD":
        assert "earlier DEL" in alone.add(conf, container).error["msg"]
    else:
        assert "the card is busy" in alone.delete(conf, container).error["msg"]
    multus.bin.stand_in("fake")
    alone.delete(conf, container).require()
    assert os.listdir(f"{multus.cni_dir}/.spool") == []


def test_a_del_that_fails_in_the_spool_is_tried_again(
    multus: Multus, daemon: Daemon, cni_pod: Netns
) -> None:
    conf, container = multus.conf({"type": "fake"}), Container(cni_pod.path)
    multus.bin.stand_in("fake", DEL=Reply.error(11, "the card is busy"))
    daemon.start()
    multus.add(conf, container).require()
    daemon.stop()
    multus.delete(conf, container).require()
    daemon.start()
    eventually(lambda: "the card is busy" in daemon.log)
    assert len(os.listdir(f"{multus.cni_dir}/.spool")) == 1
    multus.bin.stand_in("fake")
    becomes(lambda: os.listdir(f"{multus.cni_dir}/.spool"), [])
    assert multus.records() == []


def test_a_spooled_del_that_fails_keeps_its_container_from_being_added_again(
    multus: Multus, daemon: Daemon, cni_pods: Callable[[], Netns]
) -> None:
    """A later replay would remove the networks of the new container with the same ID."""
    conf, netns = multus.conf(ptp(multus, 66), {"type": "fake"}), cni_pods()
    container = Container(netns.path)
    multus.bin.stand_in("fake", DEL=Reply.error(11, "the card is busy"))
    daemon.start()
    multus.add(conf, container).require()
    daemon.stop()
    multus.delete(conf, container).require()
    daemon.start()
    refused = multus.add(conf, container).error
    assert refused["code"] == 11
    assert "earlier DEL" in refused["msg"]
    # A container without a kept DEL does not wait.
    other = multus.conf(ptp(multus, 67))
    multus.add(other, Container(cni_pods().path)).require()

    multus.bin.stand_in("fake")
    eventually(lambda: multus.add(conf, container).status == 0)
    assert os.listdir(f"{multus.cni_dir}/.spool") == []
    time.sleep(2.5)
    assert "eth0" in netns.links()
    multus.delete(conf, container).require()


def test_dels_kept_under_another_folder_are_carried_out_too(
    multus: Multus, daemon: Daemon, cni_pod: Netns, tmp_path: Path
) -> None:
    other = str(tmp_path / "other")
    conf, container = multus.conf(ptp(multus, 68), cniDir=other), Container(cni_pod.path)
    daemon.start()
    multus.add(conf, container).require()
    daemon.stop()
    multus.delete(conf, container).require()
    assert len(os.listdir(f"{other}/.spool")) == 1
    daemon.start()
    becomes(lambda: os.listdir(f"{other}/.spool"), [])
    assert cni_pod.links() == {}


# --- Stopped, started, reloaded -------------------------------------------------------------------


def open_files(pid: int) -> list[str]:
    """The targets of a process's descriptors."""
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(each))
    return found


def test_no_descriptor_of_a_pod_stays_open(
    multus: Multus, daemon: Daemon, cni_pod: Netns, state: str
) -> None:
    conf, container = multus.conf(ptp(multus, 61), ptp(multus, 62)), Container(cni_pod.path)
    daemon.start()
    multus.add(conf, container).require()
    kept = (state, cni_pod.path, multus.ipam_dir, "net:")
    becomes(lambda: [path for path in open_files(daemon.pid) if path.startswith(kept)], [])
    multus.delete(conf, container).require()


def test_sigterm_lets_an_add_finish_and_refuses_the_next(
    multus: Multus, daemon: Daemon, cni_pod: Netns
) -> None:
    conf, container = multus.conf({"type": "fake"}), Container(cni_pod.path)
    multus.bin.stand_in("fake", ADD=Reply('{"cniVersion": "1.0.0"}', sleep=5))
    daemon.start()
    call = Call(lambda: multus.add(conf, container))
    eventually(lambda: multus.bin.commands("ADD"))
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGTERM)
    eventually(lambda: daemon.control("ready") == (1, "the daemon is stopping\n"))
    assert multus.add(conf, Container(cni_pod.path)).error["code"] == 11
    assert call.answer().status == 0
    assert daemon.process.wait(PATIENCE) == 0
    assert not daemon.socket.exists()


def test_a_second_daemon_names_the_first_and_ends(daemon: Daemon) -> None:
    daemon.start()
    second = Daemon(daemon.folder, daemon.node, daemon.settings)
    second.spawn()
    assert second.process is not None
    assert second.process.wait(PATIENCE) == 1
    assert f"process {daemon.pid}" in daemon.stderr
    assert daemon.control("health") == (0, "ok\n")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"workers": 0}, "workers"),
        ({"cniDir": "relative"}, "cniDir"),
        ({"metricsPort": "x"}, "metricsPort"),
        ({"typo": 1}, "typo"),
        ({"logLevel": "loud"}, "logLevel"),
        ({"kubeconfig": "/nowhere/kubeconfig"}, "/nowhere/kubeconfig"),
    ],
)
def test_wrong_settings_are_named_and_nothing_starts(
    cni_node: Node, tmp_path: Path, settings: dict[str, Any], word: str
) -> None:
    daemon = Daemon(tmp_path / "d", cni_node, {"cniDir": str(tmp_path / "state"), **settings})
    daemon.spawn()
    assert daemon.process is not None
    assert daemon.process.wait(PATIENCE) == 1
    assert word in daemon.stderr
    assert "Traceback" not in daemon.stderr


def test_sighup_reads_the_settings_again(daemon: Daemon) -> None:
    daemon.start()
    config = daemon.folder / "daemon.json"
    raw = json.loads(config.read_text())
    config.write_text("not JSON")
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: "cannot reload" in daemon.log)
    assert daemon.control("health") == (0, "ok\n")
    config.write_text(json.dumps({**raw, "logLevel": "debug"}))
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: '"msg":"reloaded"' in daemon.log)


# --- Metrics and log ------------------------------------------------------------------------------


def test_metrics_and_log_have_the_time_of_each_delegate(
    multus: Multus, daemon: Daemon, cni_pod: Netns
) -> None:
    daemon.start()
    container = evolve(
        Container(cni_pod.path), args="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"
    )
    conf = multus.conf(ptp(multus, 65), invokers={"ptp": "exec"})
    multus.add(conf, container).require()
    becomes(lambda: daemon.metric("multus_attachments "), 1)
    multus.delete(conf, container).require()
    assert multus.add(conf, evolve(container, netns="/nowhere")).status == 1
    for verb in ("ADD", "DEL"):
        line = f'multus_server_request_total{{code="0",handler="/cni",method="{verb}"}}'
        becomes(lambda: daemon.metric(line), 1)  # noqa: B023  called at once
    becomes(lambda: daemon.metric("multus_server_request_total"), 3)
    becomes(lambda: daemon.metric('multus_delegate_seconds_count{type="ptp",verb="ADD"}'), 2)
    becomes(lambda: daemon.metric('multus_stage_seconds_count{stage="resolve",verb="ADD"}'), 2)
    becomes(lambda: daemon.metric("multus_attachments "), 0)
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    attached = next(line for line in lines if line["msg"] == "ADD" and "delegate" in line)
    assert attached["pod"] == "default/web"
    assert attached["container"] == container.id
    assert attached["network"] == "p65"
    assert 0 < attached["duration"] < 120
    failed = [line for line in lines if line["level"] == "error" and line["msg"] == "ADD"]
    assert failed[-1]["container"] == container.id


def test_metrics_are_shown_at_a_port_of_the_loopback(daemon: Daemon) -> None:
    shown = Daemon(daemon.folder, daemon.node, {**daemon.settings, "metricsPort": 19099})
    shown.start()
    try:
        fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:19099').read())"
        assert "multus_server_calls" in daemon.node.run("/usr/bin/python3", "-c", fetch)
    finally:
        shown.stop()


# --- In a container -------------------------------------------------------------------------------


def test_in_a_container_delegates_run_in_the_hosts_view(
    cni_node: Node,
    cni_pod: Netns,
    cni_runtime: Runtime,
    programs: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """``/hostonly`` exists only under the host's root, and shows the host's files."""
    host, state = tmp_path / "host", tmp_path / "state"
    for name in ("bin", "usr", "lib", "lib64", "proc", "run", "tmp", "dev", "etc", "hostonly"):
        (host / name).mkdir(parents=True)
    bins = BinDir(str(host / "hostonly" / "bin"))
    script = host / "hostonly" / "bin" / "fake"
    script.write_text(
        "#!/bin/sh\n[ -d /hostonly ] || exit 9\n"
        'echo "$CNI_COMMAND $CNI_NETNS" >>/hostonly/calls\n'
        '[ "$CNI_COMMAND" != ADD ] || echo \'{"cniVersion": "1.0.0"}\'\n'
    )
    script.chmod(0o755)
    os.symlink("/usr/lib/cni/ptp", f"{bins.path}/ptp")
    os.symlink("/usr/lib/cni/host-local", f"{bins.path}/host-local")
    mounts = " && ".join(
        f"mount --rbind /{name} {host}/{name}"
        for name in ("bin", "usr", "lib", "lib64", "proc", "run", "tmp", "dev", "etc")
    )
    daemon = Daemon(tmp_path / "d", cni_node, {"cniDir": str(state), "chrootDir": str(host)})
    program = os.path.join(os.path.dirname(sys.executable), "multus")
    daemon.folder.mkdir()
    (daemon.folder / "daemon.json").write_text(json.dumps(daemon.settings))
    command = f"{mounts} && exec {program} daemon --config {daemon.folder}/daemon.json"
    argv = cni_node.command(["unshare", "--mount", "sh", "-c", command])
    with open(daemon.folder / "stderr", "wb") as stderr:
        daemon.process = subprocess.Popen(argv, env=daemon.environ(), stderr=stderr)
    try:
        daemon.wait()
        runtime = evolve(cni_runtime, program=(programs["python"],), environ=daemon.environ())
        ipam = {"type": "host-local", "subnet": "10.66.0.0/24", "dataDir": str(tmp_path / "ipam")}
        conf = {
            "cniVersion": "1.0.0",
            "name": "n",
            "type": "multus",
            "binDir": "/hostonly/bin",
            "cniDir": str(state),
            "invokers": {"ptp": "exec"},
            "delegates": [{"type": "fake"}, {"type": "ptp", "ipam": ipam}],
        }
        container = Container(cni_pod.path)
        runtime.add(conf, container).require()
        assert "net0" in cni_pod.links()
        runtime.delete(conf, container).require()
        calls = (host / "hostonly" / "calls").read_text().splitlines()
        assert calls == [f"ADD {cni_pod.path}", f"DEL {cni_pod.path}"]
    finally:
        daemon.stop()
