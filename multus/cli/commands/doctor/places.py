"""The paths and the state of the node that is checked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api.conf import Conf
from multus.cli.attachments import CNI_DIR
from multus.cli.findings import NOT_APPLICABLE, UNCHECKED, Finding
from multus.cli.node import BIN_DIR, NET_D

if TYPE_CHECKING:
    from multus.registry.loading import Installed


@frozen
class Places:
    """A node's folders, with their paths on the node itself.

    ``root`` is where the node's file system is mounted here: empty on the node, ``/host`` in a
    container that mounts it there.
    """

    root: str = ""
    net_d: str = NET_D
    bin_dir: str = BIN_DIR
    socket: str = "/run/multus/multus.sock"
    addresses: str = "/var/lib/cni/networks"
    results: str = "/var/lib/cni/results"
    sriov: str = "/var/lib/cni/sriov"
    settings: str = "/etc/cni/multus/daemon.json"
    cni_dir: str = CNI_DIR

    def at(self, path: str) -> str:
        """The path here of the node's *path*."""
        return f"{self.root}{path}" if path.startswith("/") else path

    def exists(self, path: str) -> bool:
        return bool(path) and os.path.lexists(self.at(path))


@frozen(eq=False)
class Node:
    """The node that is checked: its paths, Multus' configuration, and the installed plugins.

    ``file`` is the configuration's file, empty when there is none; ``conf`` is its content, or the
    defaults.  ``unread`` is why the configuration is not known although there is one, or may be.
    """

    places: Places
    installed: Installed
    conf: Conf
    file: str = ""
    unread: Finding | None = None

    def without_conf(self, subject: str) -> Finding | None:
        """The finding of a check that needs the configuration; None when it is known."""
        if self.unread is not None:
            where = self.file or self.places.net_d
            reason = f"not looked at: the configuration in {where} could not be read"
            return Finding(UNCHECKED, subject, reason)
        if not self.file:
            reason = f"no file in {self.places.net_d} configures Multus"
            return Finding(NOT_APPLICABLE, subject, reason)
        return None

    def delegates(self) -> Iterator[Mapping[str, Any]]:
        """The plugins' configurations in the conf file itself, each with its network's name."""
        ignored = self.conf.raw.get("clusterNetwork")
        listed = None if ignored else self.conf.raw.get("delegates")
        for each in listed if isinstance(listed, list) else []:
            if isinstance(each, dict):
                plugins = each.get("plugins")
                nested = plugins if isinstance(plugins, list) else [each]
                name = each.get("name", self.conf.name)
                yield from ({**one, "name": name} for one in nested if isinstance(one, dict))
