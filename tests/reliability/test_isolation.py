"""One pod is hostile, twenty neighbours come and go: only the hostile pod fails.

The daemon is a real process, in a cgroup with the DaemonSet's memory limit where that is possible,
and a minimal service manager restarts it.  ``ISOLATION_WITHOUT=stuckSeconds,workerMemory`` leaves
out settings that an older daemon does not have.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from reliability.conftest import Say
from reliability.manager import WATCHDOG
from reliability.neighbours import NEIGHBOURS, NODE_NAME, STUCK, Place, Round, place
from reliability.processes import Uses
from reliability.rows import LIMIT, PROGRAMS, Row, program, rows
from reliability.scene import Scene, in_background
from waiting import eventually

from multus.testing.netns import Netns
from multus.testing.runtime import Answer, Container

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

#: How much longer than usual a neighbour may take, in seconds: less than a hang lasts.
MAY_WAIT = STUCK - 1.0

#: Allowed growth: caches and thread pools grow.
ALLOWED = Uses(16 << 10, 16, 40, frozenset())

#: Time to return to normal, in seconds.
SETTLED = 30.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    with place(tmp_path_factory.mktemp("isolation")) as made:
        for name in PROGRAMS:
            made.bin.file(name, program(name))
        yield made


@pytest.fixture
def site(shared: Place, request: pytest.FixtureRequest) -> Iterator[Place]:
    """The node; a daemon that a case broke is replaced before the next case."""
    failed = request.session.testsfailed
    yield shared
    if request.session.testsfailed > failed or not shared.manager.serves(1):
        shared.start_anew()


def neighbours_beside(site: Place, attempt: Future[Answer]) -> tuple[Round, float]:
    """A round of neighbours, and how much longer than usual its slowest call took.

    When that is too much, the usual time is measured again after the hostile call: the machine may
    have become slower.
    """
    found = site.round()
    over = found.slowest - site.usual
    if over > MAY_WAIT:
        attempt.exception()
        over = min(over, found.slowest - site.round().slowest)
    return found, over


def settled(site: Place, before: Uses) -> Uses:
    """The resources of the daemon's processes, once they are normal or the time is over."""
    end = time.monotonic() + SETTLED
    while True:
        now = site.uses()
        if before.exceeded_by(now, ALLOWED) == [] or time.monotonic() > end:
            return now
        time.sleep(0.1)


def test_the_ground(shared: Place, tmp_path: Path, say: Say) -> None:
    """Neighbours succeed, and a pod whose plugin is harmless; reports the conditions of the run."""
    say(f"isolation: {NEIGHBOURS} neighbours, {shared.cgroup}")
    say(f"isolation: the slowest call without a hostile pod takes {shared.usual:.3f} s")
    say("| row | neighbours failed | slowest over usual | memory (KiB) | descriptors | restarts |")
    (tmp_path / "calm").touch()
    conf = hanging(shared, tmp_path, "add")
    container = shared.container(shared.pods[0], "neighbour-0")
    for command in ("ADD", "DEL"):
        shared.call(command, conf, container).require()
    assert shared.round().problems == []
    assert shared.left(shared.pods[0]) == []


@pytest.mark.parametrize("row", rows(), ids=str)
def test_only_the_hostile_pod_fails(
    site: Place, row: Row, tmp_path: Path, full_size: bool, say: Say
) -> None:
    if row.full and not full_size:
        pytest.skip("of the full size")
    scene = Scene(site, row, tmp_path)
    restarts, before = site.manager.restarts, site.uses()
    with ExitStack() as stack:
        hazard = stack.enter_context(ExitStack())
        hazard.enter_context(row.hazard(tmp_path))
        scene.enter()
        stack.callback(scene.leave)
        if row.command == "DEL":
            scene.require_answer(scene.call("ADD"))
        attempt = in_background(partial(scene.call, row.command))
        scene.begun(attempt)
        found, over = neighbours_beside(site, attempt)
        failure = attempt.exception()
        assert found.problems == [], f"neighbours: {found.problems[:3]}"
        assert failure is None, str(failure)
        assert over <= MAY_WAIT, f"a neighbour waited {over:.2f} s longer than usual"
        answer = attempt.result()
        if row.command == "ADD":
            scene.require_answer(answer)
            answer = scene.call("DEL")
        scene.delete(answer, hazard)
        assert site.left(scene.netns) == []
        assert site.held_by(scene.container, tmp_path / "ipam") == []
        assert not (tmp_path / "harm").exists(), "a tenant's own program was run"
    after = settled(site, before)
    assert before.exceeded_by(after, ALLOWED) == []
    assert site.manager.serves(WATCHDOG)
    say(
        f"| {row} | 0 of {2 * NEIGHBOURS} | {max(over, 0):.3f} s"
        f" | {before.memory} → {after.memory} | {before.descriptors} → {after.descriptors}"
        f" | {site.manager.restarts - restarts} |"
    )


# --- Many hostile pods, the spool and the cache --------------------------------------------------

MANY = 33


@pytest.fixture
def crowd(site: Place, tmp_path: Path) -> Iterator[list[Container]]:
    """Two more pods than there can be worker processes."""
    made = [Netns.create("pod") for _ in range(MANY + 2)]
    for number in range(len(made)):
        site.api.create_pod(f"crowd-{number}", node=NODE_NAME)
    yield [site.container(netns, f"crowd-{number}") for number, netns in enumerate(made)]
    for number, netns in enumerate(made):
        metadata = {"name": f"crowd-{number}"}
        site.api.delete({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
        netns.remove()


def hanging(site: Place, folder: Path, at: str) -> dict[str, Any]:
    """The node's configuration with a plugin that hangs."""
    deed = {"deed": "sleep", "at": at, "folder": str(folder)}
    return site.conf({"type": "hostile", "name": "hostile", **deed})


def test_more_pods_that_hang_than_there_are_workers(
    site: Place, crowd: list[Container], tmp_path: Path, say: Say
) -> None:
    """Their workers are interrupted at the same time; then the next calls get workers."""
    came, went, *others = crowd
    site.call("ADD", site.conf(), went).require()
    conf, before = hanging(site, tmp_path, "add"), site.uses()
    limit, soon = 3 * STUCK + LIMIT, STUCK + LIMIT + 10 * site.usual
    with ThreadPoolExecutor(MANY) as pool:
        attempts = [pool.submit(site.call, "ADD", conf, each, limit) for each in others]
        time.sleep(0.5)
        beside = [
            in_background(partial(site.call, "ADD", site.conf(), came, soon)),
            in_background(partial(site.call, "DEL", site.conf(), went, soon)),
        ]
        answers = [each.result().require() for each in beside]
        healthy = site.manager.serves(WATCHDOG)
        failures = [str(error) for each in attempts if (error := each.exception())]
    assert healthy
    assert failures == [], f"{len(failures)} of {MANY}: {failures[0]}"
    said = [each.result().error["msg"] for each in attempts]
    assert [each for each in said if "hostile" not in each] == []
    assert site.round().problems == []
    for container in (came, *others):
        site.call("DEL", conf, container, LIMIT).require()
    assert site.left(site.pods[0]) == []
    assert before.exceeded_by(settled(site, before), ALLOWED) == []
    slowest = max(each.seconds for each in answers)
    say(f"isolation: {MANY} pods hang: an ADD and a DEL beside them take {slowest:.1f} s")


def test_a_spooled_del_that_hangs_does_not_hold_up_the_start(site: Place, tmp_path: Path) -> None:
    netns = Netns.create("pod")
    container, conf = site.container(netns, "neighbour-0"), hanging(site, tmp_path, "delete")
    try:
        site.call("ADD", conf, container).require()
        site.stop()
        spooled = site.call("DEL", conf, container, LIMIT)
        assert spooled.status == 0, spooled.stdout
        began = time.monotonic()
        site.launch()
        assert time.monotonic() - began < LIMIT
        assert site.round().problems == []
        (tmp_path / "calm").touch()
        site.call("DEL", conf, container, LIMIT).require()
        assert site.left(netns) == []
    finally:
        netns.remove()


def test_the_cache_stays_fresh_despite_malformed_objects(site: Place) -> None:
    """A malformed object must not end the watch: the cache would not be updated any more."""
    metric = site.manager.daemon.metric
    site.api.odd.append({"metadata": 5})
    try:
        time.sleep(0.5)  # until the open watches have got the events
        known = metric("multus_cache_objects")
        for number in range(3):
            site.api.create_pod(f"fresh-{number}", node=NODE_NAME)
        eventually(lambda: metric("multus_cache_objects") >= known + 3)
    finally:
        site.api.odd.clear()
        for number in range(3):
            metadata = {"name": f"fresh-{number}"}
            site.api.delete({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
