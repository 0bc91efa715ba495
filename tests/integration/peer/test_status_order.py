"""A pod's status is never behind its events, and never that of an earlier attempt.

Facts: the Go Multus writes the status before it answers, and its events by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from waiting import becomes, eventually

from integration.daemon.node import Daemon
from integration.kube.cluster import Cluster
from multus.testing.apiserver import Fault
from multus.testing.delegates import Reply, interface_result
from multus.testing.netns import Netns

EVENTS = "/api/v1/namespaces/default/events"
QUEUED = "multus_queued_writes"


@pytest.fixture
def daemon(cluster: Cluster, tmp_path: Path) -> Iterator[Daemon]:
    settings = {
        "cniDir": str(tmp_path / "multus"),
        "kubeconfig": cluster.kubeconfig,
        "nodeName": "n1",
        "logFile": str(tmp_path / "daemon.log"),
        "logLevel": "verbose",
    }
    made = Daemon(tmp_path / "daemon", cluster.node, settings)
    made.start()
    try:
        becomes(lambda: made.control("ready"), (0, "ok\n"))
        yield made
    finally:
        made.stop()


@pytest.fixture
def served(cluster: Cluster, daemon: Daemon, programs: Mapping[str, str]) -> Cluster:
    """The cluster whose runtime starts the shim of the daemon."""
    shim = evolve(cluster.runtime, program=(programs["python"],), environ=daemon.environ())
    return evolve(cluster, runtime=shim)


@pytest.fixture
def conf(served: Cluster) -> dict[str, Any]:
    served.bin.stand_in("recorder")
    return served.conf(delegates=[{"type": "recorder", "name": "lan"}])


def with_mac(mac: str) -> Reply:
    return Reply.json(interface_result(mac=mac))


def test_with_events_forbidden_each_status_is_written_and_nothing_waits(
    served: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pod: Netns, tmp_path: Path
) -> None:
    served.api.forbidden.add(("create", "events"))
    container = served.pod(cni_pod)
    for mac in ("02:00:00:00:00:01", "02:00:00:00:00:02"):
        served.bin.stand_in("recorder", ADD=with_mac(mac))
        served.add(conf, container).require()
        assert [each["mac"] for each in served.status()] == [mac]
        eventually(lambda: served.api.requests["POST", EVENTS] > 0)
        served.delete(conf, container).require()
    becomes(lambda: daemon.metric(QUEUED), 0)
    log = tmp_path / "daemon.log"
    becomes(lambda: log.read_text().count("create an event on pod default/web"), 1)


def test_a_pod_that_is_added_again_has_its_status_before_the_answer(
    served: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pod: Netns
) -> None:
    """Also when an earlier status of it is queued, which is dropped."""
    container = served.pod(cni_pod)
    served.api.forbidden.add(("patch", "pods/status"))
    served.bin.stand_in("recorder", ADD=with_mac("02:00:00:00:00:01"))
    served.add(conf, container).require()
    assert served.status() == []
    served.delete(conf, container).require()
    served.api.forbidden.clear()
    served.bin.stand_in("recorder", ADD=with_mac("02:00:00:00:00:02"))
    served.add(conf, container).require()
    assert [each["mac"] for each in served.status()] == ["02:00:00:00:00:02"]
    becomes(lambda: daemon.metric(QUEUED), 0)
    assert [each["mac"] for each in served.status()] == ["02:00:00:00:00:02"]


def test_what_waits_for_a_pod_that_is_deleted_is_dropped(
    served: Cluster, daemon: Daemon, conf: dict[str, Any], cni_pod: Netns
) -> None:
    """Though the server answers 403 whether the pod exists or not."""
    served.api.faults.add(Fault("status", method="PATCH", code=403, reason="Forbidden", times=0))
    container = served.pod(cni_pod)
    served.add(conf, container).require()
    eventually(lambda: daemon.metric(QUEUED) > 0)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"}}
    served.api.delete(pod)
    becomes(lambda: daemon.metric(QUEUED), 0)
