"""Many nodes on one range: no address twice, and none lost, whatever is killed on the way.

Daemons are killed and started again at any moment, nodes are lost with all that they had, the API
server is away for seconds, and its answers are lost.  Pods come and go all the time.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, frozen
from reliability.conftest import Say
from reliability.fleet import (
    NARROW,
    WIDE,
    History,
    Member,
    Pod,
    allocations,
    stored,
    uses,
)
from waiting import PATIENCE, eventually

from multus.testing.apiserver import ApiServer, Fault
from multus.testing.netns import Node

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

#: What API servers do to writes: ``truncate`` makes them, and loses the answer.
_AFFLICTED = ("PATCH", "POST", "DELETE")
#: How many daemons start at the same moment.
_AT_A_TIME = 4


@frozen
class Size:
    """How many daemons and pods there are, and for how many seconds.

    ``kills`` and ``stay`` are the seconds between two kills, and those that a pod has its address,
    on average; ``heal`` is the daemons' ``healMinutes``.
    """

    daemons: int
    pods: int
    seconds: float
    kills: float
    stay: float
    heal: int


SMALL = Size(daemons=4, pods=8, seconds=8.0, kills=1.0, stay=2.0, heal=0)
FULL = Size(daemons=50, pods=100, seconds=600.0, kills=5.0, stay=15.0, heal=1)


@define
class Storm:
    """What befalls the fleet, one thing after the other."""

    api: ApiServer
    members: list[Member]
    history: History
    chance: random.Random
    #: The mean pause between two kills, in seconds.
    pause: float

    def rage(self, seconds: float) -> None:
        """Kill daemons, lose nodes, and have the API server fail."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(self.chance.expovariate(1 / self.pause))
            self.chance.choice((self._kill, self._kill, self._kill, self._lose, self._fail))()
            for member in self.members:
                self._restart(member)
            # What etcd forgets after minutes; a watch from there has to list again.
            self.api.store.compact(self.api.store.version - 2000)
        self.api.faults.clear()

    def _kill(self) -> None:
        member = self.chance.choice(self.members)
        member.kill(self.chance)
        self.history.kills += 1
        time.sleep(self.chance.random() * 0.5)
        self._restart(member)

    def _lose(self) -> None:
        member = self.chance.choice(self.members)
        member.lose()
        self.history.lost_nodes += 1
        self._restart(member)

    def _restart(self, member: Member) -> None:
        """Start a daemon that has ended, as a service manager does."""
        process = member.daemon.process
        if process is None or process.poll() is not None:
            member.daemon.spawn()

    def _fail(self) -> None:
        """For some writes, for all of a moment, or by a watch that ends."""
        kind = self.chance.choice(("truncate", "reset", "slow", "status", "away", "watch"))
        if kind == "watch":
            self.api.drop_watches()
        elif kind == "away":
            self.api.faults.add(Fault("reset", times=0))
            time.sleep(self.chance.uniform(0.5, 3.0))
            self.api.faults.clear()
        else:
            for method in _AFFLICTED:
                times, seconds = self.chance.randint(1, 5), self.chance.random()
                fault = Fault(kind, "*whereabouts*", method, times, code=503, seconds=seconds)
                self.api.faults.add(fault)


@contextmanager
def running(members: list[Member]) -> Iterator[None]:
    """The daemons of all, and none at the end."""
    try:
        # A few at a time: nodes do not share their processors, as these do.
        for start in range(0, len(members), _AT_A_TIME):
            few = members[start : start + _AT_A_TIME]
            for each in few:
                each.daemon.spawn()
            for each in few:
                each.daemon.wait(4 * PATIENCE)
        yield
    finally:
        for each in members:
            each.end()


def live(
    api: ApiServer, members: list[Member], history: History, chance: random.Random, size: Size
) -> tuple[int, int]:
    """Let pods come and go in a storm; returns the processes and the memory of all daemons."""
    stop = threading.Event()
    pods = [
        Pod(
            api,
            members[number % size.daemons],
            number,
            # Of each node, and of the pods that keep their names, some have the narrow range.
            NARROW if number % 7 == 0 else WIDE,
            random.Random(chance.randrange(1 << 32)),
            history,
            size.stay,
        )
        for number in range(size.pods)
    ]
    with ThreadPoolExecutor(size.pods) as threads:
        lives = [threads.submit(each.live, stop) for each in pods]
        try:
            Storm(api, members, history, chance, size.kills).rage(size.seconds)
            used = uses(members)
        finally:
            stop.set()
        for each in lives:
            each.result()
    return used


def reconcile(host: Node, kubeconfig: str) -> None:
    """Free what pods that are gone have left, as an administrator does; once is enough."""
    argv = [sys.executable, "-m", "multus", "ipam", "reconcile", "--grace", "0.1"]
    argv = host.command([*argv, "--kubeconfig", kubeconfig])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_fleet_gives_no_address_twice_and_loses_none(
    tmp_path: Path, full_size: bool, say: Say
) -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    size = FULL if full_size else SMALL
    seed = 5004 if os.environ.get("CI") else random.randrange(1 << 32)
    print("seed", seed)
    chance, history, host = random.Random(seed), History(), Node.create()
    try:
        with ApiServer(netns=host.path, bookmark_seconds=5.0) as api:
            kubeconfig = api.write_kubeconfig(tmp_path)
            settings = {"workers": 2, "healMinutes": size.heal, "healGraceSeconds": 20}
            members = [
                Member(f"n{number}", tmp_path / f"n{number}", host, kubeconfig, settings)
                for number in range(size.daemons)
            ]
            with running(members):
                used = live(api, members, history, chance, size)
                eventually(
                    lambda: not [each for m in members for each in m.waiting()], 4 * PATIENCE
                )
            left = allocations(api)
            reconcile(host, kubeconfig)
            assert history.problems == []
            assert history.twice() == []
            assert [each for member in members for each in member.records()] == []
            assert allocations(api) == {}
            assert stored(api, "overlappingrangeipreservations") == []
            assert history.adds, "no pod got an address"
    finally:
        host.remove()
    say(figures(size, history, used, len(left)))


def figures(size: Size, history: History, used: tuple[int, int], left: int) -> str:
    """What happened, in a line."""
    adds = sorted(history.adds)
    half, most = adds[len(adds) // 2], adds[int(len(adds) * 0.99)]
    processes, memory = used
    return (
        f"fleet: {size.daemons} daemons, {size.pods} pods at a time, {size.seconds:.0f} s:"
        f" {len(adds)} ADDs, {len(history.refused)} refused, median {half:.2f} s, 99 % in"
        f" {most:.2f} s; {history.kills} kills, {history.lost_nodes} nodes lost with"
        f" {history.lost_pods} pods; no address twice; {left} left for reconciling, none after it;"
        f" {processes} processes of daemons, {memory} MiB"
    )
