"""A worker is killed: its pod's call is retried, and no other pod is affected.

The test sends ``SIGKILL``, as the supervisor does to a stuck worker, and the kernel to one that
uses too much memory.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from attrs import define, field
from reliability.conftest import Say
from reliability.neighbours import Place, interfaces, place
from reliability.processes import family_of, workers_of
from waiting import PATIENCE

from multus.testing.delegates import Reply, interface_result
from multus.testing.netns import Netns
from multus.testing.runtime import Answer

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

#: A worker in the middle of a call waits for this delegate, in seconds.
SLOW = 0.4


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    with place(tmp_path_factory.mktemp("workers")) as made:
        add = Reply(json.dumps(interface_result()), sleep=SLOW)
        made.bin.stand_in("slow", ADD=add, DEL=Reply(sleep=SLOW))
        yield made


@define
class Pod:
    """Acts as a kubelet: ADD, then DEL until that succeeds, again and again."""

    place: Place
    netns: Netns
    stop: threading.Event
    problems: list[str] = field(factory=list)
    attached: int = 0
    cut_off: int = 0

    def live(self) -> None:
        conf = self.place.conf({"cniVersion": "1.0.0", "type": "slow", "name": "slow"})
        while not self.stop.is_set():
            container = self.place.container(self.netns, "neighbour-0")
            if self._succeeds(self.place.call("ADD", conf, container)):
                self.attached += 1
                if (found := interfaces(self.netns.path)) != {"eth0", "net2"}:
                    self.problems.append(f"ADD succeeded, and there are {sorted(found)}")
            tries = (self.place.call("DEL", conf, container) for _ in range(20))
            if not any(self._succeeds(answer) for answer in tries):
                self.problems.append(f"DEL of {container.id} never succeeded")

    def _succeeds(self, answer: Answer) -> bool:
        if answer.status:
            self.cut_off += 1
            if answer.error["code"] != 11:
                self.problems.append(str(answer.error))
        return answer.status == 0


def busy_workers(root: int) -> list[int]:
    """Workers in the middle of a call: they have a delegate's process as descendant."""
    return [pid for pid in workers_of(root) if len(family_of(pid)) > 1]


def kill_one(place: Place, chance: random.Random, seconds: float = PATIENCE) -> int:
    """Kill one of the workers in the middle of a call; its process ID."""
    end = time.monotonic() + seconds
    while True:
        found = busy_workers(place.manager.daemon.pid)
        if found:
            victim = chance.choice(found)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                return victim
        assert time.monotonic() < end, "the daemon has no worker process in the middle of a call"
        time.sleep(0.01)


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_worker_that_is_killed_costs_one_answer(shared: Place, command: str) -> None:
    """Its client gets code 11, its neighbours are served, and DEL leaves nothing."""
    conf = shared.conf({"cniVersion": "1.0.0", "type": "slow", "name": "slow"})
    netns, answers = Netns.create("pod"), []
    container = shared.container(netns, "neighbour-0")
    try:
        if command == "DEL":
            shared.call("ADD", conf, container).require()
        call = threading.Thread(
            target=lambda: answers.append(shared.call(command, conf, container))
        )
        call.start()
        kill_one(shared, random.Random(1))
        assert shared.round().problems == []
        call.join()
        (answer,) = answers
        assert answer.status == 0 or answer.error["code"] == 11, answer.stdout
        for _ in range(3):
            if shared.call("DEL", conf, container).status == 0:
                break
        assert shared.left(netns) == []
        assert shared.manager.restarts == 0
    finally:
        netns.remove()


def test_nothing_is_lost_or_left_however_many_workers_are_killed(
    shared: Place, full_size: bool, say: Say
) -> None:
    kills, number = (300, 8) if full_size else (8, 3)
    stop, chance = threading.Event(), random.Random(7)
    restarts, before = shared.manager.restarts, shared.manager.daemon.pid
    pods = [Pod(shared, Netns.create("pod"), stop) for _ in range(number)]
    threads = [threading.Thread(target=pod.live) for pod in pods]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, 1.0))
            kill_one(shared, chance)
    finally:
        stop.set()
        for thread in threads:
            thread.join(4 * PATIENCE)
    left = [left for pod in pods for left in shared.left(pod.netns)]
    for pod in pods:
        pod.netns.remove()
    assert [problem for pod in pods for problem in pod.problems] == []
    assert sum(pod.attached for pod in pods) > 0
    assert shared.round().problems == []
    assert left == []
    assert (shared.manager.restarts, shared.manager.daemon.pid) == (restarts, before)
    cut_off = sum(pod.cut_off for pod in pods)
    say(f"workers killed: {kills}, calls that were told to try again: {cut_off}, left: 0")
