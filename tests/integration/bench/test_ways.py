"""The benchmark's ways do the work that their names say, and leave nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.ways import ALONE, Direct, Program
from bench.workload import KINDS, Workload
from multus.netlink import Namespace
from multus.state.journal import Journal
from multus.testing.delegates import real_plugin
from multus.testing.netns import Netns, Node
from multus.testing.runtime import Container, installed_program

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.skipif(real_plugin("portmap") is None, reason="no containernetworking-plugins"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_direct_execution_attaches_and_detaches(
    kind: str, cni_node: Node, cni_pod: Netns, tmp_path: Path
) -> None:
    work, way = Workload(1 if kind == "chain" else 3, str(tmp_path), kind), Direct()
    container = Container(cni_pod.path)
    with Namespace(cni_node.path) as node, node.entered():
        way.call("ADD", work, container)
        assert sorted(cni_pod.links()) == ["eth0", "net0", "net1"][: work.networks]
        way.call("DEL", work, container)
    assert cni_pod.links() == {}


@pytest.mark.parametrize("how", ["exec", "in-process"])
def test_each_network_is_attached_as_the_way_says(
    how: str, cni_node: Node, cni_pod: Netns, tmp_path: Path
) -> None:
    work = Workload(3, str(tmp_path), "mixed")
    way = Program(how, installed_program(), how, variables=ALONE)
    container = Container(cni_pod.path)
    with Namespace(cni_node.path) as node, node.entered():
        way.call("ADD", work, container)
        record = Journal(f"{tmp_path}/multus").find(container.id, container.ifname)
        way.call("DEL", work, container)
    assert record is not None
    wanted = KINDS["mixed"] if how == "in-process" else ("exec",) * 3
    assert [name for each in record.attachments() for name in each.invokers] == list(wanted)


def test_a_chains_plugins_get_what_a_runtime_would_give_them(tmp_path: Path) -> None:
    (bridge, tuning, portmap) = Workload(1, str(tmp_path), "chain").plugins()[0]
    assert [each["type"] for each in (bridge, tuning, portmap)] == ["bridge", "tuning", "portmap"]
    assert portmap["runtimeConfig"]["portMappings"][0]["containerPort"] == 80
    conf = json.loads(Workload(1, str(tmp_path), "chain").conf())
    assert conf["runtimeConfig"] == portmap["runtimeConfig"]
