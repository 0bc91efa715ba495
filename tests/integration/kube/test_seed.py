"""The walk-through of Multus' first documentation, as docs/networks-crd-tpr.md shows it.

flannel and sriov need a daemon and cards: scripts stand in for them, which make real links with the
system's bridge and macvlan plugins, as those would, and say of it what those would say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.blackbox.program import refused
from integration.kube.cluster import DEPLOY, Cluster, manifest
from multus.testing.apiserver import CORE_KINDS, ApiServer
from multus.testing.delegates import BinDir
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Runtime

PAGE = DEPLOY.parent / "docs" / "networks-crd-tpr.md"
EXAMPLES = ("flannel-network", "sriov-network", "sriov-vlanid-l2enable-network")
ANNOTATION = [
    {"name": "flannel-conf"},
    {"name": "sriov-conf"},
    {"name": "sriov-vlanid-l2enable-conf"},
]

FLANNEL = """\
#!/usr/bin/env python3
# flannel completes a configuration of the bridge plugin from its subnet file, and delegates to it.
import json, os, sys
conf = json.load(sys.stdin)
conf = {
    "cniVersion": conf["cniVersion"], "name": conf["name"], "type": "bridge", "mtu": 1450,
    "bridge": "cni0", **conf.get("delegate", {}),
    "ipam": {"type": "host-local", "subnet": "192.168.42.0/24", "dataDir": "@IPAM@"},
}
read, write = os.pipe()
os.write(write, json.dumps(conf).encode()); os.close(write); os.dup2(read, 0)
os.execv("@BIN@/bridge", ["bridge"])
"""

SRIOV = """\
#!/usr/bin/env python3
# sriov moves a function of the card "if0" into the pod; here a macvlan link on a link of that name
# is the function. Without ipam it prints nothing, as the plugin of that time did.
import json, os, subprocess, sys
conf = json.load(sys.stdin)
ipam = {**conf["ipam"], "dataDir": "@IPAM@"} if "ipam" in conf else {}
# The oldest results have no place for a link without address.
version = "0.4.0" if conf.get("l2enable") else conf["cniVersion"]
child = {"cniVersion": version, "name": conf["name"], "type": "macvlan",
         "master": conf["if0"], "mode": "bridge", "ipam": ipam}
env = {**os.environ, "CNI_IFNAME": conf.get("if0name", os.environ["CNI_IFNAME"])}
done = subprocess.run(["@BIN@/macvlan"], input=json.dumps(child).encode(), env=env,
                      capture_output=True)
if done.returncode or not conf.get("l2enable"):
    sys.stdout.buffer.write(done.stdout)
sys.exit(done.returncode)
"""


def put_stand_ins(cluster: Cluster) -> None:
    """flannel, sriov, and the two cards of the examples."""
    for name, script in (("flannel", FLANNEL), ("sriov", SRIOV)):
        filled = script.replace("@BIN@", cluster.bin.path)
        filled = filled.replace("@IPAM@", f"{cluster.folder}/ipam")
        cluster.bin.file(name, filled.encode())
    for card in ("enp12s0f1", "enp2s0"):
        cluster.node.ip("link", "add", card, "type", "veth", "peer", "name", f"{card}w")
        cluster.node.ip("link", "set", f"{card}w", "up")
        cluster.node.ip("link", "set", card, "up")


def conf_of(cluster: Cluster, **keys: Any) -> dict[str, Any]:
    """The first documentation's: a name, the type, a kubeconfig; scripts stand in for cards."""
    return cluster.conf(
        cniVersion=None, invokers=dict.fromkeys(("sriov", "flannel"), "exec"), **keys
    )


@pytest.fixture
def api(cni_node: Node) -> Iterator[ApiServer]:
    """An API server that knows no networks yet."""
    with ApiServer(CORE_KINDS, netns=cni_node.path) as server:
        yield server


@pytest.fixture
def seed(cluster: Cluster) -> Cluster:
    put_stand_ins(cluster)
    return cluster


@pytest.mark.parametrize("definition", ["networks", "networks-v1beta1", "networks-tpr"])
def test_the_walk_through(seed: Cluster, cni_pod: Netns, definition: str) -> None:
    # 1. The kind. Before that, the API server does not serve it.
    for wire in manifest(f"crds/{definition}.yaml"):
        seed.api.create(wire)
    # 2. The three networks, as they are printed.
    for name in EXAMPLES:
        for wire in manifest(f"examples/{name}.yaml"):
            seed.api.create(wire)
    # 3. The pod.
    (pod,) = manifest("examples/pod-multi-network.yaml")
    stored = seed.api.create(pod)
    uid = stored["metadata"]["uid"]
    container = seed.container(cni_pod, "multus-multi-net-poc", "default", uid)
    conf = conf_of(seed)
    result = seed.add(conf, container).result
    # 4. Its interfaces.
    assert sorted(cni_pod.links()) == ["eth0", "net0", "north"]
    assert cni_pod.addresses("eth0") == ["192.168.42.2/24"]
    assert cni_pod.addresses("net0") == ["10.56.217.171/24"]
    assert cni_pod.addresses("north") == []
    assert cni_pod.links()["eth0"].mtu == 1450
    assert result["ip4"]["ip"] == "192.168.42.2/24"
    assert "net0" not in json.dumps(result)
    block = seed.shown(cni_pod)
    assert block in PAGE.read_text(), f"docs/networks-crd-tpr.md does not show:\n{block}"
    # 5. The end of the pod; it asks the API server for nothing.
    seed.api.requests.clear()
    seed.delete(conf, container).require()
    assert cni_pod.links() == {}
    assert not seed.api.requests


def test_the_page_shows_the_files_that_are_tested() -> None:
    page = PAGE.read_text()
    for name in (*EXAMPLES, "pod-multi-network"):
        text = (DEPLOY / "examples" / f"{name}.yaml").read_text()
        assert text.strip() in page, name
    for name in ("networks", "networks-tpr"):
        assert f"deploy/crds/{name}.yaml" in page


def test_the_stored_form_that_kubectl_printed_is_read(seed: Cluster, cni_pod: Netns) -> None:
    for wire in manifest("crds/networks-v1beta1.yaml"):
        seed.api.create(wire)
    seed.api.create(
        {
            "apiVersion": "kubernetes-network.cni.cncf.io/v1",
            "args": '[ { "delegate": { "isDefaultGateway": true } } ]',
            "kind": "Network",
            "metadata": {
                "clusterName": "",
                "creationTimestamp": "2017-07-11T21:46:52Z",
                "deletionGracePeriodSeconds": None,
                "deletionTimestamp": None,
                "name": "flannel-networkobj",
                "namespace": "default",
                "resourceVersion": "6848829",
                "selfLink": "/apis/kubernetes-network.cni.cncf.io/v1/namespaces/default/networks/"
                "flannel-networkobj",
                "uid": "7311c965-6682-11e7-b0b9-408d5c537d27",
            },
            "plugin": "flannel",
        }
    )
    container = seed.pod(cni_pod, {"networks": [{"name": "flannel-networkobj"}]})
    seed.add(conf_of(seed), container).require()
    assert cni_pod.addresses("eth0") == ["192.168.42.2/24"]


class Dialects:
    """The API group of Networks, and the annotation that chooses them."""

    FIRST = "kubernetes.com"
    SEED = "kubernetes-network.cni.cncf.io"
    SPRING = "kubernetes.cni.cncf.io"


@pytest.fixture
def everywhere(
    cni_node: Node, cni_runtime: Runtime, cni_bin: BinDir, tmp_path: Path
) -> Iterator[Cluster]:
    """A cluster whose API server serves every dialect, with a plugin that records."""
    cni_bin.stand_in("recorder").real("ptp", "host-local")
    with ApiServer(netns=cni_node.path) as api:
        path = api.write_kubeconfig(tmp_path)
        yield Cluster(api, cni_runtime, cni_bin, cni_node, str(tmp_path), path)


def calls(cluster: Cluster) -> list[tuple[str, str]]:
    """Interface and mark of every ADD."""
    return [(c.ifname, c.conf["mark"]) for c in cluster.bin.calls if c.command == "ADD"]


def test_with_both_sources_installed_nothing_is_selected_twice(
    everywhere: Cluster, cni_pod: Netns
) -> None:
    everywhere.network("a", "recorder", [{"mark": "seed"}])
    container = everywhere.pod(cni_pod, {"networks": [{"name": "a"}]})
    everywhere.add(everywhere.conf(), container).require()
    assert calls(everywhere) == [("eth0", "seed")]
    assert everywhere.gets("/pods/web") == 1
    assert everywhere.gets("kubernetes-network.cni.cncf.io") == 1


def test_the_first_releases_networks_are_found_in_namespace_default(
    everywhere: Cluster, cni_pod: Netns
) -> None:
    everywhere.network("a", "recorder", [{"mark": "first"}], group=Dialects.FIRST)
    everywhere.network("b", "recorder", [{"mark": "seed"}], namespace="team")
    annotation = {"networks": [{"name": "a"}, {"name": "b"}]}
    container = everywhere.pod(cni_pod, annotation, namespace="team")
    everywhere.add(everywhere.conf(), container).require()
    assert calls(everywhere) == [("eth0", "first"), ("net0", "seed")]


def test_the_dialects_are_one_setting(everywhere: Cluster, cni_pod: Netns) -> None:
    for group in (Dialects.FIRST, Dialects.SEED):
        everywhere.network("a", "recorder", [{"mark": group}], group=group)
    container = everywhere.pod(cni_pod, {"networks": [{"name": "a"}]})
    conf = everywhere.conf(networkDialects=[Dialects.SEED])
    everywhere.add(conf, container).require()
    assert calls(everywhere) == [("eth0", Dialects.SEED)]
    assert everywhere.gets(Dialects.FIRST) == 0
    wrong = everywhere.conf(networkDialects=["example.org"])
    refused(everywhere.add(wrong, container), 7, "networkDialects", "example.org")


def test_the_order_is_that_of_both_sources_together(everywhere: Cluster, cni_pod: Netns) -> None:
    everywhere.network("a", "recorder", [{"mark": "first"}], group=Dialects.FIRST)
    everywhere.network("a", "recorder", [{"mark": "seed"}])
    container = everywhere.pod(cni_pod, {"networks": [{"name": "a"}]})
    conf = everywhere.conf()
    everywhere.add(conf, container).require()
    everywhere.delete(conf, container).require()
    reordered = everywhere.conf(networkDialects=[Dialects.SEED, Dialects.FIRST])
    everywhere.add(reordered, container).require()
    assert [mark for _, mark in calls(everywhere)] == ["first", "seed"]


def test_the_annotation_of_spring_2018(everywhere: Cluster, cni_pod: Netns) -> None:
    everywhere.network("a", "recorder", [{"mark": "a"}], group=Dialects.SPRING)
    everywhere.network("b", "recorder", [{"mark": "b"}], group=Dialects.SPRING, namespace="other")
    annotation = {"kubernetes.v1.cni.cncf.io/networks": "a,other/b@north"}
    everywhere.add(everywhere.conf(), everywhere.pod(cni_pod, annotation)).require()
    assert calls(everywhere) == [("eth0", "a"), ("north", "b")]


def test_an_unknown_network_fails(everywhere: Cluster, cni_pod: Netns) -> None:
    container = everywhere.pod(cni_pod, {"networks": [{"name": "nowhere"}]})
    answer = everywhere.add(everywhere.conf(), container)
    refused(answer, 11, "network default/nowhere", "HTTP 404", "correct the name")
    ((_, reason, _),) = everywhere.events()
    assert reason == "NoNetworkFound"


def test_without_the_kind_the_message_says_to_create_it(seed: Cluster, cni_pod: Netns) -> None:
    container = seed.pod(cni_pod, {"networks": [{"name": "flannel-conf"}]})
    answer = seed.add(conf_of(seed), container)
    refused(answer, 11, "create its CustomResourceDefinition")


def test_isolation_holds_for_networks_too(everywhere: Cluster, cni_pod: Netns) -> None:
    everywhere.network("a", "recorder", [{"mark": "a"}], namespace="other")
    annotation = {"networks": [{"name": "a", "namespace": "other"}]}
    container = everywhere.pod(cni_pod, annotation)
    conf = everywhere.conf(namespaceIsolation=True)
    refused(everywhere.add(conf, container), 7, "namespace isolation", "'other'")


# --- The defaults --------------------------------------------------------------------------------


def with_default(cluster: Cluster, **keys: Any) -> dict[str, Any]:
    default = {"type": "ptp", "masterplugin": True, "ipam": cluster.ipam("10.10.0")}
    return cluster.conf(delegates=[default], **keys)


def test_the_pods_networks_replace_the_defaults(
    everywhere: Cluster, cni_pods: Callable[[], Netns]
) -> None:
    everywhere.network("a", "recorder", [{"mark": "a"}])
    chosen, plain = cni_pods(), cni_pods()
    conf = with_default(everywhere)
    everywhere.add(conf, everywhere.pod(chosen, {"networks": [{"name": "a"}]})).require()
    everywhere.add(conf, everywhere.pod(plain, name="plain")).require()
    assert calls(everywhere) == [("eth0", "a")]
    assert sorted(chosen.links()) == []
    assert plain.addresses("eth0") == ["10.10.0.2/24"]


def test_always_use_default_keeps_them_before_the_pods(everywhere: Cluster, cni_pod: Netns) -> None:
    everywhere.network("a", "recorder", [{"mark": "a"}])
    container = everywhere.pod(cni_pod, {"networks": [{"name": "a"}]})
    conf = with_default(everywhere, always_use_default=True)
    result = everywhere.add(conf, container).result
    assert cni_pod.addresses("eth0") == ["10.10.0.2/24"]
    assert calls(everywhere) == [("net0", "a")]
    assert [ip["address"] for ip in result["ips"]] == ["10.10.0.2/24"]


def test_the_pods_choice_decides_how_its_networks_are_named(
    everywhere: Cluster, cni_pod: Netns
) -> None:
    config = {"cniVersion": "1.0.0", "type": "recorder", "mark": "main"}
    everywhere.nad("main", config, namespace="kube-system")
    everywhere.network("a", "recorder", [{"mark": "a"}])
    annotation = {"networks": [{"name": "a"}, {"name": "a"}]}
    container = everywhere.pod(cni_pod, annotation)
    everywhere.add(everywhere.conf(clusterNetwork="main"), container).require()
    assert calls(everywhere) == [("eth0", "a"), ("net0", "a")]


@pytest.mark.parametrize("missing", ["kubeconfig", "delegates"])
def test_always_use_default_needs_both(everywhere: Cluster, cni_pod: Netns, missing: str) -> None:
    conf = with_default(everywhere, always_use_default=True)
    del conf[missing]
    refused(
        everywhere.add(conf, everywhere.pod(cni_pod)),
        7,
        "If you have set always_use_default, you must also set the delegates & the kubeconfig,"
        " refer to the README",
    )


@pytest.mark.parametrize(
    ("args", "word"),
    [("[]", "list of 0"), ("[{},{}]", "list of 2"), ("{}", "an object"), ("[{]", "not JSON")],
)
def test_args_that_are_wrong_name_the_object(
    everywhere: Cluster, cni_pod: Netns, args: str, word: str
) -> None:
    everywhere.network("a", "recorder", args)
    container = everywhere.pod(cni_pod, {"networks": [{"name": "a"}]})
    answer = everywhere.add(with_default(everywhere), container)
    refused(answer, 7, "network default/a", "'args'", word)
    assert calls(everywhere) == []


def test_a_failing_api_never_means_the_default(everywhere: Cluster, cni_pod: Netns) -> None:
    everywhere.network("a", "recorder", [{"mark": "a"}])
    container = everywhere.pod(cni_pod, {"networks": [{"name": "a"}]})
    for verb, what in (("get", "networks"), ("get", "pods")):
        everywhere.api.forbidden.add((verb, what))
        refused(everywhere.add(with_default(everywhere), container), 11, "HTTP 403")
    assert cni_pod.links() == {}
