"""Histories with blocks: processes of several nodes are killed, and no address is held twice.

The model is that of `test_history`: an address is certainly held from the end of the ADD to the
begin of the DEL.  A process that was killed has its container's DEL made, as the engine's journal
has it.  At the end nothing is held, and all blocks are returned: none is lost.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from multus_ipam_whereabouts import blockreturning
from waiting import eventually

from integration.whereabouts.cluster import Node
from multus.api.conf import Conf
from multus.api.session import Session
from multus.kube.client import KubeClient
from multus.kube.kubeconfig import load_kubeconfig
from multus.log import Log
from multus.testing.apiserver import Fault

#: Eight blocks for three nodes; and two, so that one node at least has to borrow.  A pod stays for
#: so many seconds at most.
RANGES: dict[str, dict[str, Any]] = {
    "wide": {"range": "10.7.0.0/27", "block": 30, "stay": 0.2},
    "full": {"range": "10.7.0.0/28", "block": 29, "stay": 1.5},
}
NODES, PODS, CALLS = 3, 3, 8
#: How long processes are started and killed, in seconds; those that live are waited for.
KILLING = 8.0


class Span(NamedTuple):
    """An address, and from when to when a container had it certainly; in seconds."""

    address: str
    since: float
    until: float
    container: str


class Process:
    """A process of one node: of pods with *name*, else of the daemon."""

    def __init__(self, node: Node, folder: Path, keys: dict[str, Any], name: str = "") -> None:
        self.node, self.name, self.keys = node, name, keys
        self.said = folder / f"{name}.said"
        given = {
            "kubeconfig": node.kubeconfig,
            "cniDir": node.cni_dir,
            "name": name,
            "said": str(self.said),
            "keys": keys,
            "calls": CALLS,
        }
        argv = [sys.executable, "-m", "integration.whereabouts.blockworker", json.dumps(given)]
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(argv, env=environ)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.clean_up()

    def clean_up(self) -> None:
        """What the engine does for a container whose call was killed."""
        lines = self.lines()
        if lines and lines[-1][1] != "end":
            container = lines[-1][2]
            with self.said.open("a") as file:
                file.write(f"{time.monotonic()} del {container} \n")
            self.node.delete(self.name, container=container, **ipam_of(self.keys))

    def lines(self) -> list[list[str]]:
        text = self.said.read_text() if self.said.exists() else ""
        return [line.split(" ") for line in text.splitlines()]

    def spans(self) -> list[Span]:
        found, lines = [], self.lines()
        for at, (since, what, container, address) in enumerate(lines):
            if what == "has":
                ends = (float(line[0]) for line in lines[at + 1 :] if line[1] == "del")
                found.append(Span(address, float(since), next(ends), container))
        return found


@pytest.mark.parametrize("size", RANGES)
def test_processes_are_killed_and_no_address_is_held_twice(
    nodes: Callable[[int], list[Node]], tmp_path: Path, size: str
) -> None:
    keys = RANGES[size]
    seed = 8812 if os.environ.get("CI") else random.randrange(1 << 32)
    print("seed", seed)
    chance, many, names = random.Random(seed), nodes(NODES), iter(range(10_000))
    many[0].register()
    for kind in ("truncate", "reset", "slow"):
        for method in ("POST", "PATCH", "DELETE"):
            fault = Fault(kind, path="*addressblocks*", method=method, seconds=0.05, times=3)
            many[0].api.faults.add(fault)
    living = [Process(each, tmp_path, keys) for each in many]
    started = [each for each in many for _ in range(PODS)]
    living += [Process(each, tmp_path, keys, f"p{next(names)}") for each in started]
    ended, loans = list[Process](), 0
    eventually(lambda: all(each.lines() for each in living if each.name))
    until = time.monotonic() + KILLING
    while time.monotonic() < until:
        time.sleep(chance.random() * 0.3)
        loans += borrowing(many)
        victim = living.pop(chance.randrange(len(living)))
        victim.kill()
        ended.append(victim)
        name = f"p{next(names)}" if victim.name else ""
        living.append(Process(victim.node, tmp_path, keys, name))
    while any(each.process.poll() is None for each in living if each.name):
        time.sleep(0.05)
        loans += borrowing(many)
    for each in living:
        if each.name:
            assert each.process.wait() == 0
        else:
            each.kill()
    spans = [span for each in (*ended, *living) if each.name for span in each.spans()]
    assert len(spans) >= len(living)
    print(size, len(spans), "addresses;", loans, "looks in which one was borrowed")
    assert size == "wide" or loans
    require_apart(spans)
    require_nothing_left(many)


def ipam_of(keys: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in keys.items() if key != "stay"}


def borrowing(many: list[Node]) -> bool:
    """Whether a node has borrowed an address."""
    return any(any(Path(node.cni_dir).glob(".blocks/*/*_*/block")) for node in many)


def require_apart(spans: list[Span]) -> None:
    before: dict[str, Span] = {}
    for span in sorted(spans, key=lambda each: each.since):
        other = before.get(span.address)
        assert other is None or other.until <= span.since, (other, span)
        before[span.address] = span


def require_nothing_left(many: list[Node]) -> None:
    many[0].api.faults.clear()
    for node in many:
        held = [path for path in Path(node.cni_dir).glob(".blocks/*/*/10.*") if path.is_file()]
        assert held == []
        for path in Path(node.cni_dir).glob(".blocks/*/10.*"):
            os.utime(path, (1.0, 1.0))  # what was under way to the server has arrived
        conf = Conf.from_wire({"name": "multus", "type": "multus", "cniDir": node.cni_dir})
        client = KubeClient(load_kubeconfig(node.kubeconfig))
        with Session(Log.from_conf({"logLevel": "error"}), api=client) as session:
            blockreturning.upkeep(conf, session, 0.0)
        client.close()
        assert list(Path(node.cni_dir).glob(".blocks/*/10.*")) == []
    assert many[0].blocks() == {}
