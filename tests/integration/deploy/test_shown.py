"""What a daemon that has served a pod shows: all that alerts and the dashboard ask for, no more."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import promtool
import pytest
import yaml
from attrs import frozen
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from promql import asked_for
from repository import ROOT
from waiting import becomes, eventually

from integration.daemon.node import Daemon
from integration.kube.cluster import NETWORKS, Cluster
from multus.cni import shim
from multus.testing.apiserver import ApiServer
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Runtime

MONITORING = ROOT / "deploy" / "monitoring"
#: Labels and metrics of Prometheus itself.
SCRAPED = {"job", "instance"}
OWN = {"up"}


@frozen
class Shown:
    """The daemon's metrics over HTTP, and its log; *chosen* are names of a tenant's."""

    text: str
    log: str
    chosen: tuple[str, ...]

    @property
    def samples(self) -> Iterator[Sample]:
        for family in text_string_to_metric_families(self.text):
            yield from family.samples

    @property
    def names(self) -> set[str]:
        """The names of all samples that there are or can be."""
        found = set()
        for family in text_string_to_metric_families(self.text):
            found |= {f"{family.name}{each}" for each in _SUFFIXES[family.type]}
        return found


_SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}


@pytest.fixture
def shown(cni_node: Node, cni_pod: Netns, cni_bin: BinDir, tmp_path: Path) -> Iterator[Shown]:
    """A pod with one more network was started, another could not be, and the first one is gone."""
    cni_bin.real("bridge", "host-local", "ptp")
    with ApiServer(netns=cni_node.path) as api:
        kubeconfig = api.write_kubeconfig(tmp_path, "token-file")
        settings = {
            "cniDir": str(tmp_path / "multus"),
            "kubeconfig": kubeconfig,
            "nodeName": "n1",
            "metricsAddress": "pod",
            "metricsPort": 19107,
        }
        daemon = Daemon(tmp_path / "daemon", cni_node, settings).start(MULTUS_POD_IP="::1")
        program = (sys.executable, "-I", "-S", shim.__file__)
        runtime = Runtime(program, cni_bin.path, cni_node, environ=daemon.environ())
        cluster = Cluster(api, runtime, cni_bin, cni_node, str(tmp_path), kubeconfig)
        try:
            chosen = _serve(cluster, daemon, cni_pod)
            text = cni_node.run(sys.executable, "-I", "-c", _FETCH)
            yield Shown(text, daemon.log, chosen)
        finally:
            daemon.stop()


_FETCH = (
    "import urllib.request as u; print(u.urlopen('http://[::1]:19107/metrics').read().decode())"
)


def _serve(cluster: Cluster, daemon: Daemon, netns: Netns) -> tuple[str, ...]:
    cluster.bridge("purple", "10.57.0", namespace="acme")
    conf = cluster.default()
    container = cluster.pod(netns, {NETWORKS: "acme/purple"}, name="shop", namespace="acme")
    eventually(lambda: daemon.metric("multus_cache_objects") >= 2)
    cluster.add(conf, container).require()
    cluster.delete(conf, container).require()
    refused = cluster.pod(netns, {NETWORKS: "nowhere"}, name="kiosk", namespace="acme")
    assert cluster.add(conf, refused).error["code"]
    becomes(lambda: daemon.metric("multus_server_request_total"), 3)
    # A round of healing ends a second after the start.
    becomes(lambda: daemon.metric("multus_healing_rounds_total"), 1)
    return ("purple", "acme", "shop", "kiosk", "nowhere", container.id, refused.id, "10.57.0")


def expressions() -> Iterator[str]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def test_every_metric_and_label_that_is_asked_for_is_shown(shown: Shown) -> None:
    labels: dict[str, set[str]] = {}
    for sample in shown.samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    for expression in expressions():
        for series in asked_for(expression):
            if series.metric in OWN:
                continue
            assert series.metric in shown.names, expression
            # A metric without samples has no labels yet.
            known = labels.get(series.metric, series.labels)
            assert series.labels - SCRAPED <= known, expression


def test_metrics_tell_nothing_of_pods_networks_and_addresses(shown: Shown) -> None:
    """They are shown without a password."""
    assert "multus_delegate_seconds_bucket" in shown.text
    for each in shown.chosen:
        assert each not in shown.text


def test_promtool_finds_no_fault_in_the_metrics(shown: Shown) -> None:
    promtool.checked("check", "metrics", text=shown.text)


def test_the_log_says_what_is_followed(shown: Shown) -> None:
    lines = [json.loads(line) for line in shown.log.splitlines()]
    (said,) = [line for line in lines if line["msg"] == "follows Kubernetes"]
    assert said["level"] == "notice"
    assert {"pods of node n1", "network-attachment-definitions.k8s.cni.cncf.io"} <= {*said["kinds"]}


def test_the_caches_of_two_api_servers_have_one_value(
    cni_node: Node, cni_pods: Callable[[], Netns], cni_bin: BinDir, tmp_path: Path
) -> None:
    """Prometheus refuses a page on which a series stands twice."""
    cni_bin.real("ptp", "host-local")
    settings = {"cniDir": str(tmp_path / "multus"), "nodeName": "n1"}
    daemon = Daemon(tmp_path / "daemon", cni_node, settings).start()
    program = (sys.executable, "-I", "-S", shim.__file__)
    runtime = Runtime(program, cni_bin.path, cni_node, environ=daemon.environ())
    with ExitStack() as stack:
        stack.callback(daemon.stop)
        for number in range(2):
            api = stack.enter_context(ApiServer(netns=cni_node.path))
            folder = tmp_path / f"{number}"
            folder.mkdir()
            kubeconfig = api.write_kubeconfig(folder, "token-file")
            cluster = Cluster(api, runtime, cni_bin, cni_node, str(tmp_path), kubeconfig)
            cluster.add(cluster.default(), cluster.pod(cni_pods())).require()
        objects = 'multus_cache_objects{cache="pods'
        becomes(lambda: daemon.metric(objects), 2)
        families = text_string_to_metric_families(daemon.control("metrics")[1])
        series = [(each.name, *each.labels.items()) for one in families for each in one.samples]
    assert len(series) == len(set(series))
