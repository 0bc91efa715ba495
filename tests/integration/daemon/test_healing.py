"""The daemon removes what containers that are gone have left, while it serves calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from kernel import require_nftables
from waiting import becomes, eventually

from integration.blackbox.program import Multus
from integration.daemon.node import Daemon
from multus.state.lock import container_lock
from multus.testing.delegates import BinDir, Reply
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, Runtime


@pytest.fixture
def daemon(cni_node: Node, tmp_path: Path) -> Iterator[Daemon]:
    keys = {"cniDir": str(tmp_path / "multus"), "healGraceSeconds": 0, "logLevel": "verbose"}
    made = Daemon(tmp_path / "daemon", cni_node, keys)
    yield made
    made.stop()


@pytest.fixture
def multus(
    programs: Mapping[str, str],
    daemon: Daemon,
    cni_runtime: Runtime,
    cni_bin: BinDir,
    cni_node: Node,
    tmp_path: Path,
) -> Multus:
    runtime = daemon.clients(programs["python"], cni_runtime)
    return Multus(runtime, cni_bin, cni_node, str(tmp_path / "multus"), str(tmp_path / "ipam"))


def network(multus: Multus) -> dict[str, Any]:
    ipam = {"type": "host-local", "subnet": "10.61.0.0/24", "dataDir": multus.ipam_dir}
    return {"type": "ptp", "name": "lan", "ipMasq": True, "ipMasqBackend": "nftables", "ipam": ipam}


def dead(multus: Multus, conf: Any, pods: Callable[[], Netns], count: int) -> list[str]:
    """Containers whose namespace is gone and whose DEL never came."""
    pod = pods()
    names = [f"dead{number}" for number in range(count)]
    for number, name in enumerate(names):
        container = Container(pod.path, name, f"e{number}")
        multus.add(conf, container).require()
        # Each has a route of its own to the gateway: only one can be in a namespace.
        pod.ip("link", "set", f"e{number}", "down")
    pod.remove()
    return names


def without_a_daemon(multus: Multus, cni_program: Any) -> Multus:
    environ = {"MULTUS_STANDALONE": "1"}
    return evolve(multus, runtime=evolve(multus.runtime, program=cni_program, environ=environ))


def removed(daemon: Daemon, kind: str) -> float:
    return daemon.metric(f'multus_healing_removed_total{{kind="{kind}"}}')


def test_a_daemon_heals_at_its_start_while_calls_come(
    multus: Multus, daemon: Daemon, cni_pods: Callable[[], Netns], cni_program: Any
) -> None:
    require_nftables()
    conf = multus.conf(network(multus))
    living, other = Container(cni_pods().path), Container(cni_pods().path)
    alone = without_a_daemon(multus, cni_program)
    alone.add(conf, living).require()
    before = multus.node.state(multus.ipam_dir)
    names = dead(alone, conf, cni_pods, 2)
    daemon.start()
    for _ in range(5):
        multus.add(conf, other).require()
        multus.runtime.check(conf, other, {}).require()
        multus.delete(conf, other).require()
    becomes(lambda: removed(daemon, "record"), float(len(names)))
    becomes(lambda: before.difference(multus.node.state(multus.ipam_dir)), [])
    assert daemon.metric('multus_healing_found_total{kind="address"}') == len(names)
    assert daemon.metric("multus_healing_failed_total") == 0
    assert "healed: removed" in daemon.log and "namespace is gone" in daemon.log
    multus.runtime.check(conf, living, {}).require()
    assert multus.records() == [f"{living.id}:eth0"]


def test_a_daemon_that_is_killed_while_it_heals_goes_on_when_it_starts(
    multus: Multus, daemon: Daemon, cni_pods: Callable[[], Netns], cni_program: Any
) -> None:
    before = multus.node.state(multus.ipam_dir)
    conf = multus.conf({"type": "between"}, {**network(multus), "ipMasq": False})
    multus.bin.stand_in("between")
    alone, pod = without_a_daemon(multus, cni_program), cni_pods()
    alone.add(conf, Container(pod.path, "c1")).require()
    pod.remove()
    multus.bin.stand_in("between", DEL=Reply(sleep=2))
    daemon.start()
    eventually(lambda: "DEL between eth0" in multus.bin.commands())
    daemon.kill()
    assert multus.records() == ["c1:eth0"]
    multus.bin.stand_in("between")
    with container_lock(multus.cni_dir, "c1", 30.0):
        pass  # the delegate that outlived the daemon has ended
    daemon.start()
    becomes(multus.records, [])
    becomes(lambda: before.difference(multus.node.state(multus.ipam_dir)), [])


def test_what_cannot_be_removed_is_counted_and_does_not_keep_the_rest(
    multus: Multus, daemon: Daemon, cni_pods: Callable[[], Netns], cni_program: Any
) -> None:
    require_nftables()
    multus.bin.stand_in("between")
    alone = without_a_daemon(multus, cni_program)
    for name, delegate in (("c1", {"type": "between"}), ("c2", network(multus))):
        pod = cni_pods()
        alone.add(multus.conf(delegate), Container(pod.path, name)).require()
        pod.remove()
    os.unlink(Path(multus.bin.path, "between"))
    daemon.start()
    becomes(lambda: daemon.metric("multus_healing_rounds_total"), 1.0)
    assert daemon.metric('multus_healing_failed_total{kind="record"}') == 1.0
    assert multus.records() == ["c1:eth0"]
    assert "healing: container c1" in daemon.log
