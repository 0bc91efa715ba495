"""The pod's status annotation and events, written by a program and by a daemon."""

from __future__ import annotations

import os
from typing import Any

import pytest
from attrs import evolve
from descriptors import connections_to
from multus_source_nad.definition import DEFINITIONS
from waiting import PATIENCE, becomes, eventually

from integration.blackbox.program import refused
from integration.kube.cluster import NETWORKS, STATUS, Cluster
from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.kubernetes import NotFound
from multus.api.request import Request, parse_args
from multus.engine.pipeline import Engine
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import load
from multus.testing.apiserver import Fault
from multus.testing.delegates import Reply
from multus.testing.netns import Netns
from multus.testing.runtime import Container


def test_status_and_events_of_a_pod_with_two_networks(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bridge("net-a", "10.1.0")
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    cluster.add(cluster.default(), container).require()
    links = cni_pod.links()
    assert (
        cluster.status()
        == [
            {
                "name": "p0",
                "interface": "eth0",
                "ips": ["10.10.0.2"],
                "mac": links["eth0"].mac,
                "default": True,
                "dns": {},
                "gateway": ["10.10.0.1"],
            },
            {
                "name": "default/net-a",
                "interface": "net1",
                "ips": ["10.1.0.2"],
                "mac": links["net1"].mac,
                "default": False,
                "dns": {},
            },
        ]
        or cluster.status()[0].get("gateway") is None
    )
    assert cluster.events() == [
        ("Normal", "AddedInterface", "Add eth0 [10.10.0.2/24] from p0"),
        ("Normal", "AddedInterface", "Add net1 [10.1.0.2/24] from default/net-a"),
    ]


def test_a_status_that_cannot_be_written_harms_nothing(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.api.forbidden.update({("patch", "pods/status"), ("create", "events")})
    answer = cluster.add(cluster.default(), cluster.pod(cni_pod))
    answer.require()
    assert sorted(cni_pod.links()) == ["eth0"]
    assert b"observer-status" in answer.stderr
    assert b"HTTP 403" in answer.stderr
    assert STATUS not in cluster.annotations()


def test_a_status_that_hangs_delays_the_answer_by_seconds_only(
    cluster: Cluster, cni_pod: Netns
) -> None:
    cluster.api.faults.add(Fault("slow", method="PATCH", seconds=600))
    answer = cluster.add(cluster.default(), cluster.pod(cni_pod))
    answer.require()
    assert answer.seconds < PATIENCE


def test_a_failure_is_reported_in_an_event(cluster: Cluster, cni_pod: Netns) -> None:
    cluster.bin.stand_in("broken", ADD=Reply.error(7, "no such VLAN"))
    cluster.nad("net-a", {"cniVersion": "1.0.0", "type": "broken"})
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    refused(cluster.add(cluster.default(), container), 7, "no such VLAN")
    ((kind, reason, message),) = cluster.events()
    assert (kind, reason) == ("Warning", "NetworkAttachmentFailed")
    for part in ("default/net-a", "'broken'", "net1", "no such VLAN"):
        assert part in message
    assert "pod-secret" not in message


def test_no_secret_is_in_any_output(cluster: Cluster, cni_pod: Netns) -> None:
    container = cluster.pod(cni_pod, {NETWORKS: "nowhere"})
    answer = cluster.add(cluster.default(logLevel="debug"), container)
    said = answer.stdout + answer.stderr + str(cluster.events()).encode()
    for secret in (cluster.api.access.token, "pod-secret"):
        assert secret.encode() not in said


# --- In a daemon ---------------------------------------------------------------------------------


def request(cluster: Cluster, container: Container, command: str = "ADD") -> Request:
    return Request(
        command=command,
        container_id=container.id,
        netns=container.netns,
        ifname="eth0",
        path=(cluster.bin.path,),
        args=parse_args(container.args),
        environ={"CNI_ARGS": container.args, "PATH": os.environ["PATH"]},
    )


@pytest.fixture
def engine() -> Engine:
    return Engine(load(discover()), Log.from_conf({}))


def test_a_daemon_goes_on_trying_until_the_status_is_written(
    cluster: Cluster, cni_pod: Netns, engine: Engine
) -> None:
    # The engine runs here, not on the node: the delegates are scripts, the API is reached there.
    cluster.bin.stand_in("recorder")
    cluster.nad("net-a", {"cniVersion": "1.0.0", "type": "recorder"})
    container = cluster.pod(cni_pod, {NETWORKS: "net-a"})
    conf = Conf.from_wire(cluster.conf(delegates=[{"type": "recorder"}]))
    from multus.netlink import Namespace

    with Namespace(cluster.node.path) as node, node.entered():
        cached = {DEFINITIONS: ("spec",)}
        api: Any = NodeApi(load_kubeconfig(cluster.kubeconfig), "n1", cached)
        cluster.api.faults.add(Fault("status", method="PATCH", code=403, times=0))
        api.start()
        try:
            eventually(lambda: all(state.synced for state in api.states()))
            cluster.api.requests.clear()
            engine.api = api
            engine.add(request(cluster, container), conf)
            assert cluster.gets("/pods/web") == cluster.gets("definitions/net-a") == 0
            assert STATUS not in cluster.annotations()
            cluster.api.faults.clear()
            eventually(lambda: STATUS in cluster.annotations())
            becomes(lambda: len(cluster.events()), 2)
            assert [each["interface"] for each in cluster.status()] == ["eth0", "net1"]
        finally:
            api.close()


# --- A process without a daemon ------------------------------------------------------------------


@pytest.mark.parametrize("network", ["net-a", "nowhere", "wrong-configuration"])
def test_a_client_of_one_request_lives_until_the_status_is_written_and_no_longer(
    cluster: Cluster, cni_pod: Netns, engine: Engine, network: str
) -> None:
    cluster.bin.stand_in("recorder")
    cluster.nad("net-a", {"cniVersion": "1.0.0", "type": "recorder"})
    container = cluster.pod(cni_pod, {NETWORKS: network})
    conf = Conf.from_wire(cluster.conf(delegates=[{"type": "recorder"}], logToStderr=False))
    from multus.netlink import Namespace

    with Namespace(cluster.node.path) as node, node.entered():
        asked = request(cluster, container)
        if network == "net-a":
            engine.add(asked, conf)
            assert [each["interface"] for each in cluster.status()] == ["eth0", "net1"]
            named = Conf.from_wire(cluster.conf(clusterNetwork="net-a", multusNamespace="default"))
            engine.status(evolve(asked, command="STATUS", args={}), named)
        elif network == "nowhere":
            with pytest.raises(NotFound):
                engine.add(asked, conf)
            assert [reason for _, reason, _ in cluster.events()] == ["NoNetworkFound"]
        else:
            # Refused before any source is called: the observer is the first to need a client.
            with pytest.raises(InvalidConfig):
                engine.add(asked, evolve(conf, raw={**conf.raw, "kubeletDir": "relative"}))
            assert [reason for _, reason, _ in cluster.events()] == ["NetworkAttachmentFailed"]
    assert connections_to(cluster.api.port) == 0
