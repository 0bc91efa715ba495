"""Write down what the binary writes for each configuration.

Run ``python -m integration.whereabouts.observe WHEREABOUTS CONTROLLER`` in ``tests/``: the paths of
the programs ``whereabouts`` and ``node-slice-controller`` of release 0.9.3.  What they wrote goes
into ``observed.json``, beside this file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from integration.whereabouts.binary import Binary
from integration.whereabouts.cluster import Node
from multus.testing.apiserver import ApiServer

OBSERVED = Path(__file__).with_name("observed.json")
#: The node of the pod.
NODE = "n2"
#: A range of four parts, of which nodes n1 and n2 have one each.
SLICED: Mapping[str, Any] = {"range": "10.7.0.0/24", "node_slice_size": "/26"}
#: Keys of ipam by name.
CASES: Mapping[str, Mapping[str, Any]] = {
    "IPv4": {},
    "IPv6": {"range": "fd00:7::/64"},
    "IPv6 that ends with colons": {"range": "fd00:7:0:8::/112"},
    "named": {"network_name": "blue"},
    "named, IPv6": {"network_name": "blue", "range": "fd00::/112"},
    "host bits": {"range": "10.7.0.5/24"},
    "first and last": {"range": "10.7.0.20-10.7.0.30/24"},
    "start and end": {"range_start": "10.7.0.9", "range_end": "10.7.0.19"},
    "start outside": {"range_start": "10.9.0.9"},
    "excluded": {"exclude": ["10.7.0.0/29", "10.7.0.8/32"]},
    "both families": {"ipRanges": [{"range": "fd00:7::/112", "exclude": ["fd00:7::1/128"]}]},
    "not overlapping": {"enable_overlapping_ranges": False},
    "more than addresses": {
        "gateway": "10.7.0.254",
        "routes": [{"dst": "10.9.0.0/16", "gw": "10.7.0.254"}],
        "dns": {"nameservers": ["192.0.2.53"]},
        "addresses": [{"address": "192.0.2.9/24", "gateway": "192.0.2.1"}],
    },
    "slices": SLICED,
    "slices, named": {**SLICED, "network_name": "blue"},
}
_KINDS = ("ippools", "overlappingrangeipreservations")


def written(node: Node) -> dict[str, dict[str, Any]]:
    """The objects of each kind by name, without what differs from run to run."""
    return {
        plural: {name: each["spec"] for name, each in node.stored(plural).items()}
        for plural in _KINDS
    }


def divided(node: Node, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Create the NodeSlicePools of *found*."""
    for name, each in found.items():
        node.api.create({
            "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
            "kind": "NodeSlicePool",
            "metadata": {"name": name, "namespace": "kube-system"},
            **each,
        })  # fmt: skip


def main(whereabouts: str, controller: str) -> None:
    """Run every case against an API server of its own."""
    with _server() as (node, folder):
        slices = _slices(node, controller, folder)
    cases = {}
    for name, keys in CASES.items():
        with _server() as (node, folder):
            divided(node, slices)
            binary = Binary(whereabouts, node.kubeconfig, folder, NODE)
            result = binary.add("a", **keys)
            cases[name] = {"result": result, "written": written(node)}
    text = json.dumps({"nodeslicepools": slices, "cases": cases}, indent=1)
    OBSERVED.write_text(f"{text}\n")


@contextmanager
def _server() -> Iterator[tuple[Node, Path]]:
    with ApiServer() as api, tempfile.TemporaryDirectory() as folder:
        yield Node(api, api.write_kubeconfig(folder), folder), Path(folder)


def _slices(node: Node, controller: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What the controller makes of the cases with slices, for two nodes."""
    own = folder / "whereabouts.conf"
    own.write_text(json.dumps({"kubernetes": {"kubeconfig": node.kubeconfig}}))
    for name in ("n1", "n2"):
        node.api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    wanted = {
        name: {**keys, "type": "whereabouts", "configuration_path": str(own)}
        for name, keys in (("net1", SLICED), ("blue", CASES["slices, named"]))
    }
    for name, ipam in wanted.items():
        config = {"cniVersion": "1.0.0", "name": name, "type": "macvlan", "ipam": ipam}
        node.api.create({
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"config": json.dumps(config)},
        })  # fmt: skip
    environ = {**os.environ, "WHEREABOUTS_NAMESPACE": "kube-system"}
    with subprocess.Popen([controller, "-kubeconfig", node.kubeconfig], env=environ) as process:
        until = time.monotonic() + 30
        while node.stored("nodeslicepools").keys() != wanted.keys() and time.monotonic() < until:
            time.sleep(0.1)
        process.terminate()
    found = node.stored("nodeslicepools").items()
    return {name: {key: each[key] for key in ("spec", "status")} for name, each in found}


if __name__ == "__main__":
    main(*sys.argv[1:])
