"""Many pods in several processes for a fixed time: no failure, no duplicate address, no growth."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from reliability.conftest import Say
from reliability.ground import Conf, Ground

from multus.api.jsontext import encode
from multus.cni import shim
from multus.testing.runtime import Container

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

WAYS = ("in place", "daemon")


@frozen
class Size:
    """The size of the load: pods, processes and seconds."""

    pods: int
    processes: int
    seconds: float


SMALL = Size(pods=24, processes=4, seconds=12.0)
FULL = Size(pods=200, processes=8, seconds=300.0)


@frozen
class Worker:
    """A process that adds and deletes its own pods again and again.

    It writes a line of JSON for every call, and for the resources of its own process (``pid``) or
    of the daemon's processes at each quarter of the time.
    """

    ground: Ground
    conf: Conf
    pods: list[Container]
    socket: str
    log: Path
    measured: int

    def run(self, seconds: float, seed: int) -> None:
        chance = random.Random(seed)
        began, quarters = time.monotonic(), 0
        with open(self.log, "w", encoding="utf-8") as log:
            attached: set[Container] = set()
            for pod in self.pods:
                self._call(log, "ADD", pod, attached)
            while (now := time.monotonic() - began) < seconds:
                pod = chance.choice(self.pods)
                if pod in attached and chance.random() < 0.2:
                    self._call(log, "CHECK", pod, attached)
                else:
                    self._call(log, "DEL" if pod in attached else "ADD", pod, attached)
                if now * 4 > seconds * (quarters + 1):
                    quarters += 1
                    print(json.dumps({"uses": _uses(self.measured or os.getpid())}), file=log)
            for pod in self.pods:
                self._call(log, "DEL", pod, attached)

    def _call(self, log: Any, command: str, pod: Container, attached: set[Container]) -> None:
        started = time.monotonic()
        if self.socket:
            environ = {**self.ground.environ(command, pod), "MULTUS_SOCKET": self.socket}
            raw = {key.encode(): value.encode() for key, value in environ.items()}
            answer = shim.ask(raw, encode(self.conf))
            assert not isinstance(answer, bytes), "nobody serves"
            status, stdout = answer
        else:
            status, stdout = self.ground.call(command, self.conf, pod)
        line: dict[str, Any] = {
            "command": command,
            "pod": pod.id,
            "status": status,
            "started": started,
            "ended": time.monotonic(),
        }
        if status:
            line["said"] = stdout.decode()
        elif command == "ADD":
            attached.add(pod)
            line["addresses"] = _addresses(self.ground, pod)
        elif command == "DEL":
            attached.discard(pod)
        print(json.dumps(line), file=log)


def _addresses(ground: Ground, pod: Container) -> list[str]:
    """All the pod's addresses, from the journal: the answer has only the primary network's."""
    path = f"{ground.cni_dir}/{pod.id}:{pod.ifname}"
    lines = Path(path).read_bytes().splitlines()
    values = [json.loads(line[9:]) for line in lines]
    results = [value["result"] for value in values if value["kind"] == "attached"]
    return [ip["address"] for result in results for ip in result["ips"]]


def _uses(pid: int) -> dict[str, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return {"kilobytes": int(resident), "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}


@contextmanager
def _daemon(folder: Path) -> Iterator[tuple[str, int]]:
    """The node daemon in this namespace: its socket and process."""
    socket = f"{folder}/multus.sock"
    config = folder / "daemon.json"
    config.write_text(json.dumps({"cniDir": f"{folder}/node"}))
    command = [sys.executable, "-m", "multus", "daemon", "--config", str(config)]
    with open(folder / "daemon.log", "wb") as log:
        environ = {**os.environ, "MULTUS_SOCKET": socket}
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not os.path.exists(socket):
            assert process.poll() is None, (folder / "daemon.log").read_text()
            assert time.monotonic() < deadline, "the daemon does not start"
            time.sleep(0.05)
        yield socket, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def _served(way: str, folder: Path) -> Iterator[tuple[str, int]]:
    if way == "in place":
        yield "", 0
        return
    with _daemon(folder) as served:
        yield served


@pytest.mark.parametrize("way", WAYS)
def test_many_pods_come_and_go(
    on_ground: Ground, tmp_path: Path, full_size: bool, say: Say, way: str
) -> None:
    size = FULL if full_size else SMALL
    conf = on_ground.in_process() if way == "daemon" else on_ground.mixed()
    pods = [on_ground.container(f"pod{number}") for number in range(size.pods)]
    for command in ("ADD", "DEL"):  # create what the first call creates and later ones reuse
        on_ground.done(command, conf, pods[0])
    before = on_ground.state()
    with _served(way, tmp_path) as (socket, daemon):
        children = []
        for number in range(size.processes):
            mine = pods[number :: size.processes]
            worker = Worker(on_ground, conf, mine, socket, tmp_path / f"{number}.log", daemon)
            children.append(_forked(worker, size.seconds, number))
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert statuses == [0] * size.processes
    lines = [
        json.loads(line)
        for number in range(size.processes)
        for line in (tmp_path / f"{number}.log").read_text().splitlines()
    ]
    calls = [line for line in lines if "command" in line]
    assert [line["said"] for line in calls if line["status"]] == []
    assert _held_twice(calls) == []
    assert before.difference(on_ground.state()) == []
    growth = _require_flat([line["uses"] for line in lines if "uses" in line], size)
    adds = [line["ended"] - line["started"] for line in calls if line["command"] == "ADD"]
    say(
        f"load, {way}: {size.pods} pods × 4 networks, {size.processes} processes,"
        f" {size.seconds:.0f} s: {len(calls)} calls, all succeeded;"
        f" ADD median {sorted(adds)[len(adds) // 2]:.3f} s;"
        f" no address twice; nothing left; {growth}"
    )


def _forked(worker: Worker, seconds: float, seed: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        worker.run(seconds, seed)
        status = 0
    finally:
        if status:
            import traceback

            traceback.print_exc()
        os._exit(status)


def _held_twice(calls: list[Mapping[str, Any]]) -> list[str]:
    """Addresses that two pods had at the same time.

    A pod has its addresses at least from the end of its ADD to the start of its DEL.
    """
    spans: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    since: dict[str, tuple[float, list[str]]] = {}
    for call in sorted(calls, key=lambda call: float(call["ended"])):
        if call["command"] == "ADD":
            since[call["pod"]] = (call["ended"], call["addresses"])
        elif call["command"] == "DEL" and call["pod"] in since:
            began, held = since.pop(call["pod"])
            for address in held:
                spans[address].append((began, call["started"], call["pod"]))
    twice = []
    for address, held_by in spans.items():
        held_by.sort()
        for (_, ended, one), (began, _, other) in pairwise(held_by):
            if began < ended:
                twice.append(f"{address}: {one} and {other}")
    return twice


def _require_flat(uses: list[Mapping[str, int]], size: Size) -> str:
    """Memory and open files at the last quarter are the same as at the first."""
    assert len(uses) >= 2 * size.processes
    parts = []
    for key, allowed in (("kilobytes", 4096), ("descriptors", 16)):
        values = [each[key] for each in uses]
        # The workers' lines are one after the other: the first quarter of each, the last of each.
        per = len(values) // size.processes
        first = max(values[index * per] for index in range(size.processes))
        last = max(values[(index + 1) * per - 1] for index in range(size.processes))
        assert last <= first * 1.1 + allowed, f"{key}: {first} became {last}"
        parts.append(f"{key} {first} then {last}")
    return ", ".join(parts)
