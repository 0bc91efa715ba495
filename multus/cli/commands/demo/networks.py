"""The sets of networks for the demo, as data; the demo uses the first one that can run here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api.errors import MissingPlugin

if TYPE_CHECKING:
    from multus.testing.netns import Node


@frozen
class Networks:
    """Three networks: their configurations, and their prerequisites.

    ``@IPAM@`` in a configuration is the folder for allocated addresses. ``prepare`` creates what
    the networks need on a node, stores files in a folder, and returns environment variables for the
    program.
    """

    binaries: tuple[str, ...]
    plugins: tuple[str, ...]
    configurations: tuple[Mapping[str, Any], ...]
    prepare: Callable[[Node, str], dict[str, str]]

    def delegates(self, ipam_dir: str) -> list[dict[str, Any]]:
        """The configurations; allocated addresses are stored under *ipam_dir*."""
        return [_placed(each, ipam_dir) for each in self.configurations]


def choose() -> Networks:
    """The first set that can run here; raises ``MissingPlugin`` with what to install."""
    from multus.registry.index import discover
    from multus.testing.delegates import real_plugin

    installed = {entry.name for entry in discover()}
    for each in SETS:
        if installed.issuperset(each.plugins) and all(map(real_plugin, each.binaries)):
            return each
    raise MissingPlugin(
        "the demo needs the reference plugins and multus-source-conffile,"
        " multus-invoker-exec, multus-merger-primary",
        fix="apt-get install containernetworking-plugins, and pip install these",
    )


def _placed(value: Any, ipam_dir: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _placed(each, ipam_dir) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_placed(each, ipam_dir) for each in value]
    return ipam_dir if value == "@IPAM@" else value


def _host_local(subnet: str) -> dict[str, Any]:
    return {"type": "host-local", "dataDir": "@IPAM@", "subnet": subnet}


def _with_bridge(node: Node, folder: str) -> dict[str, str]:
    # Created before the snapshot: the bridge plugin never removes its bridge, by design.
    node.bridge("demo0", "10.1.0.1/24")
    return {}


def _with_card(node: Node, folder: str) -> dict[str, str]:
    """Make a stand-in for an SR-IOV card, installed for the program as a plugin."""
    from multus.testing.sriov import Card

    card = Card.build(f"{folder}/sysfs", node, pf="card")
    card.install_plugin(f"{folder}/site")
    return {"PYTHONPATH": f"{folder}/site"}


_CORE = ("source-conffile", "merger-primary")

#: A ptp link, a macvlan on the node's card, and a bridge, which is the primary.
REFERENCE = Networks(
    binaries=("macvlan", "ptp", "bridge", "static", "host-local"),
    plugins=(*_CORE, "invoker-exec"),
    configurations=(
        {
            "name": "storage",
            "type": "macvlan",
            "master": "uplink",
            "mtu": 1400,
            "ipam": {"type": "static", "addresses": ({"address": "192.0.2.10/24"},)},
        },
        {"name": "control", "type": "ptp", "ipam": _host_local("10.2.0.0/24")},
        {
            "name": "pods",
            "type": "bridge",
            "bridge": "demo0",
            "isDefaultGateway": True,
            "masterplugin": True,
            "ipam": _host_local("10.1.0.0/24"),
        },
    ),
    prepare=_with_bridge,
)

#: A virtual function and two ptp links, all in-process: no CNI binary is needed.
IN_PROCESS = Networks(
    binaries=(),
    plugins=(*_CORE, "invoker-ptp", "invoker-sriov"),
    configurations=(
        {"name": "storage", "type": "sriov", "if0": "card", "ipam": _host_local("192.0.2.0/24")},
        {"name": "control", "type": "ptp", "ipam": _host_local("10.2.0.0/24")},
        {
            "name": "pods",
            "type": "ptp",
            "masterplugin": True,
            "ipam": {**_host_local("10.1.0.0/24"), "routes": ({"dst": "0.0.0.0/0"},)},
        },
    ),
    prepare=_with_card,
)

SETS = (REFERENCE, IN_PROCESS)
