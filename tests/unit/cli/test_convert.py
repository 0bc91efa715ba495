from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.cli import seed
from unit.cli.conftest import Command

from multus.api.keys import NETWORK_SPELLING
from multus.api.spelling import spelled
from multus.cli.commands.convert.converting import NAD, NETWORK, Conversion
from multus.cli.documents import Document
from multus.cli.objects import objects_in

File = Callable[[str, "str | dict[str, Any]"], Path]


def objects(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]


def meaning(wire: dict[str, Any]) -> Any:
    """A Network or pod, with the JSON that it holds as a string taken out of it."""
    changed = json.loads(json.dumps(wire))
    if "args" in changed:
        changed["args"] = json.loads(changed["args"])
    annotations = changed["metadata"].get("annotations") or {}
    if "networks" in annotations:
        annotations["networks"] = json.loads(annotations["networks"])
    return changed


def test_there_and_back_is_the_same(multus: Command, file: File) -> None:
    before = f"{seed.NETWORKS}---\n{seed.POD}"
    there = multus("convert", "-f", file("before.yaml", before))
    assert (there.status, there.err) == (0, "")
    back = multus("convert", "--to", "network", "-f", file("there.yaml", there.out))
    assert (back.status, back.err) == (0, "")
    assert list(map(meaning, objects(back.out))) == list(map(meaning, objects(before)))


def test_networks_become_definitions_that_validate_and_attach_the_same(
    multus: Command, file: File
) -> None:
    there = multus("convert", "-f", file("a.yaml", f"{seed.NETWORKS}---\n{seed.POD}"))
    path = file("b.yaml", there.out)
    said = multus("validate", "-f", path)
    assert said.status == 0, said.out
    conf = {
        "name": "n",
        "type": "multus",
        "cniVersion": "1.0.0",
        "kubeconfig": "/x",
        "delegates": [{"type": "bridge"}],
    }
    explained = multus("explain", "--json", "--conf", file("n.conf", conf), "-f", path)
    assert [
        (each["interface"], each["network"], each["primary"]) for each in explained.json["networks"]
    ] == [
        ("eth0", "default/flannel-conf", True),
        ("net0", "default/sriov-conf", False),
        ("net1", "default/sriov-vlanid-l2enable-conf", False),
    ]
    assert explained.json["networks"][2]["plugins"][0]["config"]["if0name"] == "north"


def test_with_always_use_default_all_come_after_the_default(multus: Command, file: File) -> None:
    there = multus("convert", "--always-use-default", "-f", file("pod.yaml", seed.POD))
    (pod,) = objects(there.out)
    annotations = pod["metadata"]["annotations"]
    assert list(annotations) == ["k8s.v1.cni.cncf.io/networks"]
    assert [
        each["interface"] for each in json.loads(annotations["k8s.v1.cni.cncf.io/networks"])
    ] == ["net0", "net1", "net2"]


def pod(**annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
    }


NPWG, DEFAULT = "k8s.v1.cni.cncf.io/networks", "v1.multus-cni.io/default-network"


def test_the_way_back_keeps_the_interfaces_names(multus: Command, file: File) -> None:
    wire = pod(**{DEFAULT: "shop/a", NPWG: "b,other/c@data"})
    back = multus("convert", "--to", "network", "-f", file("p.json", wire))
    (changed,) = objects(back.out)
    assert json.loads(changed["metadata"]["annotations"]["networks"]) == [
        {"name": "a"},
        {"name": "b", "interface": "net1"},
        {"name": "c", "namespace": "other", "interface": "data"},
    ]
    assert back.status == 0


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (pod(**{NPWG: "a"}), "always_use_default"),
        (
            pod(**{DEFAULT: "shop/a", NPWG: '[{"name": "b", "mac": "02:00:00:00:00:01"}]'}),
            "['mac']",
        ),
    ],
)
def test_what_a_network_cannot_say_is_a_comment_and_status_1(
    multus: Command, file: File, wire: dict[str, Any], words: str
) -> None:
    back = multus("convert", "--to", "network", "-f", file("p.json", wire))
    assert back.status == 1
    assert words in back.out.splitlines()[0]
    assert back.out.startswith("# ")
    assert words in back.err
    assert objects(back.out)


def test_a_list_of_plugins_stays_a_definition(multus: Command, file: File) -> None:
    wire = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "x"},
        "spec": {"config": '{"cniVersion": "1.0.0", "plugins": [{"type": "a"}]}'},
    }
    back = multus("convert", "--to", "network", "-f", file("n.json", wire))
    assert back.status == 1
    assert objects(back.out) == [wire]
    assert "list of plugins" in back.out


def test_the_form_that_kubectl_prints_is_read_and_the_servers_part_left_out(
    multus: Command, file: File
) -> None:
    text = """\
apiVersion: v1
kind: List
items:
- apiVersion: kubernetes.com/v1
  args: '[ { "delegate": { "isDefaultGateway": true } } ]'
  kind: Network
  metadata:
    clusterName: ""
    creationTimestamp: 2017-07-11T21:46:52Z
    deletionGracePeriodSeconds: null
    deletionTimestamp: null
    labels: {team: a}
    name: flannel-networkobj
    namespace: default
    resourceVersion: "6848829"
    selfLink: /apis/kubernetes-network.cni.cncf.io/v1/namespaces/default/networks/flannel-networkobj
    uid: 7311c965-6682-11e7-b0b9-408d5c537d27
  plugin: flannel
"""
    there = multus("convert", "-f", file("list.yaml", text))
    (nad,) = objects(there.out)
    assert nad["metadata"] == {
        "labels": {"team": "a"},
        "name": "flannel-networkobj",
        "namespace": "default",
        "annotations": {"multus.io/converted-from": "kubernetes.com/v1; added cniVersion"},
    }
    back = multus("convert", "--to", "network", "-f", file("there.yaml", there.out))
    (network,) = objects(back.out)
    assert network["apiVersion"] == "kubernetes.com/v1"
    assert "annotations" not in network["metadata"]


def test_a_workloads_template_is_converted_in_its_place(multus: Command, file: File) -> None:
    wire: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "template": {
                "metadata": {
                    "labels": {"app": "web"},
                    "annotations": {"networks": '[{"name": "a"}, {"name": "b"}]'},
                },
                "spec": {"containers": []},
            },
        },
    }
    (changed,) = objects(multus("convert", "-f", file("d.json", wire)).out)
    annotations = changed["spec"]["template"]["metadata"].pop("annotations")
    wire["spec"]["template"]["metadata"].pop("annotations")
    assert changed == wire
    assert annotations[DEFAULT] == "default/a"
    assert json.loads(annotations[NPWG]) == [{"name": "b", "interface": "net0"}]


def test_other_objects_pass_unchanged(multus: Command, file: File) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"x": 1}}
    assert objects(multus("convert", "-f", file("s.json", service)).out) == [service]


def test_a_network_that_is_wrong_is_refused(multus: Command, file: File) -> None:
    text = "apiVersion: kubernetes-network.cni.cncf.io/v1\nkind: Network\n"
    said = multus(
        "convert", "-f", file("n.yaml", f"{text}metadata: {{name: x}}\nplugin: a\nargs: 1")
    )
    assert said.status == 1
    assert "'args' must be a string" in said.err


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = (st.text(min_size=1, max_size=8) | st.sampled_from(["NAME", "Ipam", "dnS"])).filter(
    lambda key: key.lower() != "type"
)


@given(st.dictionaries(KEYS, JSON, max_size=5), st.sampled_from(["ptp", "sriov", "x-y"]))
@settings(max_examples=100)
def test_any_arguments_come_back_with_the_documented_spelling_of_their_keys(
    args: dict[str, Any], plugin: str
) -> None:
    wire = {
        "apiVersion": "kubernetes-network.cni.cncf.io/v1",
        "kind": "Network",
        "metadata": {"name": "n", "namespace": "default"},
        "plugin": plugin,
        "args": json.dumps([args]),
    }
    (network,) = objects_in(Document("x", wire))
    there = Conversion(NAD).of(network)
    (nad,) = objects_in(Document("y", there.wire))
    back = Conversion(NETWORK).of(nad)
    assert (there.unsaid, back.unsaid) == ((), ())
    assert meaning(back.wire) == meaning(
        {**wire, "args": json.dumps([spelled(args, NETWORK_SPELLING)])}
    )
