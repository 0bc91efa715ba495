"""The networks of the demo, as data, and the CNI programs that they need on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus.api.errors import MissingPlugin

if TYPE_CHECKING:
    from multus.testing.delegates import BinDir
    from multus.testing.netns import Node

#: By type of network: the plugin of Multus that attaches it in-process.
_IN_PROCESS = {"bridge": "invoker-bridge", "macvlan": "invoker-vlans", "ptp": "invoker-ptp"}

#: ``@IPAM@`` in a configuration is the folder for allocated addresses.
_HOST_LOCAL = {"type": "host-local", "dataDir": "@IPAM@"}

#: A macvlan on the node's card, a ptp link, and a bridge, which is the primary.
_NETWORKS: tuple[Mapping[str, Any], ...] = (
    {
        "name": "storage",
        "type": "macvlan",
        "master": "uplink",
        "ipam": {"type": "static", "addresses": ({"address": "192.0.2.10/24"},)},
    },
    {"name": "control", "type": "ptp", "ipam": {**_HOST_LOCAL, "subnet": "10.2.0.0/24"}},
    {
        "name": "pods",
        "type": "bridge",
        "bridge": "demo0",
        "isDefaultGateway": True,
        "masterplugin": True,
        "ipam": {**_HOST_LOCAL, "subnet": "10.1.0.0/24"},
    },
)


def delegates(ipam_dir: str) -> list[dict[str, Any]]:
    """The configurations; allocated addresses are stored under *ipam_dir*."""
    return [_placed(each, ipam_dir) for each in _NETWORKS]


def prepare(node: Node, programs: BinDir) -> list[str]:
    """Create what the networks need on *node*, and add the CNI programs that are needed.

    Returns the names of the programs: none when all networks are attached in-process.  Raises
    ``MissingPlugin`` with what to install.
    """
    from multus.testing.delegates import real_plugin

    names = _programs()
    lacking = [name for name in names if real_plugin(name) is None]
    if lacking:
        raise _missing(f"not among this machine's CNI programs: {', '.join(lacking)}")
    if names:  # all that there are, unless some are named
        programs.real(*names)
    # Created before the snapshot: the bridge plugin never removes its bridge, by design.
    node.bridge("demo0", "10.1.0.1/24")
    return names


def _programs() -> list[str]:
    from multus.registry.index import discover

    installed = {entry.name for entry in discover()}
    names = {each["type"] for each in _NETWORKS if _IN_PROCESS[each["type"]] not in installed}
    needed = {"source-conffile", "merger-primary", *(["invoker-exec"] if names else ())}
    if not installed.issuperset(needed):
        lacking = ", ".join(f"multus-{each}" for each in sorted(needed - installed))
        raise _missing(f"not installed: {lacking}")
    if names:
        names.update(each["ipam"]["type"] for each in _NETWORKS)
    return sorted(names)


def _missing(reason: str) -> MissingPlugin:
    return MissingPlugin(
        f"the demo cannot run: {reason}",
        fix="pip install 'multus[cli]', or apt-get install containernetworking-plugins",
    )


def _placed(value: Any, ipam_dir: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _placed(each, ipam_dir) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_placed(each, ipam_dir) for each in value]
    return ipam_dir if value == "@IPAM@" else value
