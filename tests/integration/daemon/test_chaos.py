"""Pods come and go while the daemon is killed and restarted again and again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from waiting import PATIENCE, becomes

from integration.daemon.node import Daemon
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Answer, Container, Runtime

NETWORKS = 3


@pytest.fixture
def daemon(cni_node: Node, tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "daemon", cni_node, {"cniDir": str(tmp_path / "multus")})
    yield made
    made.stop()


@pytest.fixture
def runtime(
    daemon: Daemon, programs: Mapping[str, str], cni_runtime: Runtime, cni_bin: BinDir
) -> Runtime:
    cni_bin.real("ptp", "host-local")
    program = programs.get("c") or programs["python"]
    environ = {**daemon.environ(), "ASAN_OPTIONS": "detect_leaks=0", "MULTUS_WAIT": "30"}
    return evolve(cni_runtime, program=(program,), environ=environ, timeout=120.0)


def conf_of(tmp_path: Path, bin_dir: str, invoker: str) -> dict[str, Any]:
    delegates = [
        {
            "type": "ptp",
            "name": f"chaos{number}",
            "ipam": {
                "type": "host-local",
                "subnet": f"10.{70 + number}.0.0/24",
                "dataDir": str(tmp_path / "ipam"),
            },
        }
        for number in range(NETWORKS)
    ]
    return {
        "cniVersion": "1.0.0",
        "name": "chaos",
        "type": "multus",
        "binDir": bin_dir,
        "cniDir": str(tmp_path / "multus"),
        "invokers": {"ptp": invoker},
        "delegates": delegates,
    }


class Pod:
    """Acts as a kubelet: ADD, a check if it succeeded, then DEL until that succeeds.

    Each container has its own namespace: the daemon may carry out a kept DEL after the next
    container's ADD.
    """

    def __init__(self, runtime: Runtime, conf: dict[str, Any], fresh: Callable[[], Netns]) -> None:
        self._runtime, self._conf, self._fresh = runtime, conf, fresh
        self.problems: list[str] = []
        self.attached = 0

    def live(self, stop: threading.Event) -> None:
        while not stop.is_set():
            netns = self._fresh()
            container = Container(netns.path)
            if self._succeeds(self._runtime.add(self._conf, container)):
                self.attached += 1
                links = netns.links().keys()
                if len(links) != NETWORKS:
                    self.problems.append(f"ADD succeeded, and there are {sorted(links)}")
            if not any(
                self._succeeds(self._runtime.delete(self._conf, container)) for _ in range(20)
            ):
                self.problems.append(f"DEL of {container.id} never succeeded")

    def _succeeds(self, answer: Answer) -> bool:
        if answer.status and answer.json["code"] != 11:
            self.problems.append(str(answer.json))
        return answer.status == 0


@pytest.mark.parametrize("invoker", ["ptp", "exec"])
def test_nothing_is_lost_or_left_however_often_the_daemon_is_killed(
    daemon: Daemon,
    runtime: Runtime,
    cni_bin: BinDir,
    cni_node: Node,
    cni_pods: Callable[[], Netns],
    tmp_path: Path,
    full_size: bool,
    invoker: str,
) -> None:
    kills, pods = (200, 8) if full_size else (8, 4)
    conf = conf_of(tmp_path, cni_bin.path, invoker)
    before = cni_node.state(str(tmp_path / "ipam"))
    stop, chance = threading.Event(), random.Random(7)
    daemon.start()
    living = [Pod(runtime, conf, cni_pods) for _ in range(pods)]
    threads = [threading.Thread(target=pod.live, args=(stop,)) for pod in living]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        time.sleep(chance.uniform(0.05, 0.6))
        daemon.kill()
        daemon.start()
    stop.set()
    for thread in threads:
        thread.join(120)
    # The daemon carries out kept DELs in the background.
    becomes(lambda: daemon.metric("multus_spool_files"), 0, 2 * PATIENCE)
    assert [problem for pod in living for problem in pod.problems] == []
    assert sum(pod.attached for pod in living) >= pods
    assert before.difference(cni_node.state(str(tmp_path / "ipam"))) == []
    becomes(lambda: daemon.metric("multus_attachments "), 0)
