"""Plugins that hang: log, metrics and error name them, and other pods are served."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
from attrs import evolve
from waiting import PATIENCE, eventually

from integration.daemon.family import Call
from integration.daemon.place import Place
from multus.testing.netns import Netns
from multus.testing.runtime import Container

HUNG = 4
#: ``stuckSeconds`` here: longer than another pod may wait.
STUCK = 12
BLOCKED = 'multus_workers_blocked{plugin="hostile",task="multus_runtime_config"}'


@pytest.fixture
def more_settings() -> dict[str, object]:
    return {"stuckSeconds": STUCK}


@pytest.fixture
def hung(place: Place, cni_pods: Callable[[], Netns]) -> Iterator[list[Call]]:
    """ADDs whose hook hangs."""
    place.start()
    place.serves(cni_pods())
    conf = place.conf(deed="sleep", at="hook")
    containers = [Container(cni_pods().path) for _ in range(HUNG)]
    multus = evolve(place.multus, runtime=evolve(place.multus.runtime, timeout=120))
    calls = [Call(lambda each=each: multus.add(conf, each)) for each in containers]  # type: ignore[misc]
    eventually(lambda: place.daemon.control("workers")[1].count("'multus_runtime_config'") == HUNG)
    yield calls
    place.calm()
    for call in calls:
        call.answer()


def test_they_are_named_while_they_hang_and_another_pod_is_served(
    place: Place, hung: list[Call], cni_pod: Netns
) -> None:
    began = time.monotonic()
    place.serves(cni_pod)
    assert time.monotonic() - began < STUCK / 2, "before the others counted as stuck"
    status, lines = place.daemon.control("workers")
    assert status == 0
    shown = [line for line in lines.splitlines() if "ADD of container" in line]
    assert len(shown) == HUNG
    assert all("s in plugin 'hostile', hook 'multus_runtime_config'" in line for line in shown)
    eventually(lambda: place.daemon.metric(BLOCKED) == HUNG)
    blocked = [json.loads(line) for line in place.daemon.log.splitlines() if "is blocked" in line]
    assert {(each["plugin"], each["task"]) for each in blocked} == {
        ("hostile", "multus_runtime_config")
    }
    assert len({each["container"] for each in blocked}) == HUNG
    assert "stuck: ADD of container" in place.daemon.control("workers")[1]


def test_they_are_named_after_the_interruption(place: Place, hung: list[Call]) -> None:
    for call in hung:
        error = call.answer().error
        assert error["code"] == 11
        assert "plugin 'hostile', hook 'multus_runtime_config' did not end within" in error["msg"]
    count = 'multus_plugin_seconds_count{plugin="hostile",task="multus_runtime_config"}'
    eventually(lambda: place.daemon.metric(count) == HUNG, PATIENCE)
    said = [json.loads(line) for line in place.daemon.log.splitlines()]
    slow = [each for each in said if each["msg"].startswith("slow: multus_runtime_config of")]
    assert len(slow) == HUNG
    assert all(each["level"] == "error" and each["duration"] >= STUCK for each in slow)
