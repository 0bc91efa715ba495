"""The sets of networks that the demo can show, as data: the first that can run here is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.errors import MissingPlugin

if TYPE_CHECKING:
    from multus.testing.netns import Node


@frozen
class Networks:
    """Three networks: their configurations, what the node needs for them, and what runs them.

    ``@IPAM@`` in a configuration is the folder for addresses in use.
    """

    binaries: tuple[str, ...]
    plugins: tuple[str, ...]
    configurations: tuple[Mapping[str, Any], ...]
    prepare: Callable[[Node], None]

    def delegates(self, ipam_dir: str) -> list[dict[str, Any]]:
        """The configurations, with addresses in use kept under *ipam_dir*."""
        return [_placed(each, ipam_dir) for each in self.configurations]


def choose() -> Networks:
    """The first set that can be shown here; raises ``MissingPlugin`` naming what to install."""
    from multus.plugins import discover
    from multus.testing.delegates import real_plugin

    installed = {entry.name for entry in discover()}
    for each in SETS:
        if installed.issuperset(each.plugins) and all(map(real_plugin, each.binaries)):
            return each
    raise MissingPlugin(
        "the demo needs the reference plugins and multus-source-conffile, multus-invoker-exec,"
        " multus-merger-primary: apt-get install containernetworking-plugins, and pip install these"
    )


def _placed(value: Any, ipam_dir: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _placed(each, ipam_dir) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_placed(each, ipam_dir) for each in value]
    return ipam_dir if value == "@IPAM@" else value


def _host_local(subnet: str) -> dict[str, Any]:
    return {"type": "host-local", "dataDir": "@IPAM@", "subnet": subnet}


def _with_bridge(node: Node) -> None:
    # Made beforehand as on a node: the bridge plugin leaves its bridge behind, by design.
    node.bridge("demo0", "10.1.0.1/24")


def _as_it_is(node: Node) -> None:
    """This set needs nothing of the node."""


_CORE = ("source-conffile", "merger-primary")

#: A bridge as the primary, though it stands last; a macvlan on the node's card; a link of its own.
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

#: Links of their own, made in-process: no CNI binary is needed.
IN_PROCESS = Networks(
    binaries=(),
    plugins=(*_CORE, "invoker-ptp"),
    configurations=tuple(
        {
            "name": name,
            "type": "ptp",
            "masterplugin": name == "pods",
            "ipam": _host_local(f"10.{number}.0.0/24"),
        }
        for number, name in enumerate(("storage", "control", "pods"), start=1)
    ),
    prepare=_as_it_is,
)

SETS = (REFERENCE, IN_PROCESS)
