"""What an in-process plugin would refuse is found before a pod is: a mode, a type, a lease."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.cli.conftest import Command

File = Callable[[str, "str | dict[str, Any]"], Path]


def nad(name: str, **config: Any) -> str:
    text = json.dumps({"cniVersion": "1.0.0", **config})
    head = "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\n"
    return f"---\n{head}metadata: {{name: {name}}}\nspec:\n  config: '{text}'\n"


@pytest.mark.parametrize("command", ["validate", "explain"])
def test_a_misspelt_mode_is_an_error_off_the_node_too(
    multus: Command, file: File, command: str
) -> None:
    text = nad("lan", type="macvlan", master="eth7", mode="vepaa")
    pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: w, annotations: "
    pod += "{k8s.v1.cni.cncf.io/networks: lan}}\n"
    said = multus(command, file("all.yaml", text + pod))
    assert said.status == 1
    assert "'mode' is 'vepaa'" in said.out
    assert "private, vepa, bridge, passthru" in said.out


def test_a_misspelt_type_gets_a_guess(multus: Command, file: File, tmp_path: Path) -> None:
    conf = {"name": "n", "type": "multus", "cniVersion": "1.0.0", "binDir": str(tmp_path)}
    file("net.d/00-multus.conf", {**conf, "delegates": [{"type": "macvaln", "name": "x"}]})
    said = multus("validate", "--net-d", tmp_path / "net.d")
    assert said.status == 1
    assert "did you mean 'macvlan'? Otherwise install it there" in said.out
    off = multus("validate", "--off-node", tmp_path / "net.d")
    assert "program 'macvaln' (did you mean 'macvlan'?)" in off.out


@pytest.mark.parametrize("name", ["Bad_name", "-x"])
def test_a_name_that_is_none_is_told_of_the_object_itself(
    multus: Command, file: File, name: str
) -> None:
    said = multus("validate", "--json", "-f", file("nad.yaml", nad(name, type="bridge")))
    (problem,) = said.json["findings"]
    assert (problem["subject"], problem["line"]) == ("metadata.name", 4)
    assert name in problem["reason"] and "multus-validate" not in said.out


def test_flannels_own_plugin_is_explained(multus: Command, file: File, tmp_path: Path) -> None:
    lease = file(
        "subnet.env",
        "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\n"
        "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
    )
    network = {"type": "flannel", "name": "f", "subnetFile": str(lease)}
    conf = {"name": "n", "type": "multus", "cniVersion": "1.0.0", "delegates": [network]}
    path = file("m.conf", {**conf, "cniDir": str(tmp_path / "state")})
    said = multus("explain", "--conf", path)
    assert said.status == 0
    assert "flannel > bridge" in said.out
    assert "eth0: bridge, called by flannel, invoker bridge" in said.out
    (plugin,) = multus("explain", "--json", "--conf", path).json["networks"][0]["plugins"]
    assert plugin["delegated"]["type"] == "bridge"
    assert plugin["delegated"]["config"]["mtu"] == 1450
    # Without a lease, flannel's ADD is tried again later.
    lease.unlink()
    said = multus("explain", "--conf", path)
    assert said.status == 0
    assert "! not ready: " in said.out and "once the node is ready" in said.out
