"""The configurations of delegated plugins, in the reference plugin's files.

``<dataDir>/<container>`` holds the configuration that the delegated plugin got at ADD.  The
reference plugin keeps one for a container, so a second flannel network of a container has
``<container>_<interface>`` here, which the reference plugin does not look for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api import regular
from multus.api.jsontext import encode
from multus.inprocess import folder_of, forget, keep

if TYPE_CHECKING:
    from multus.api.network import Invocation

#: Where they are, unless ``dataDir`` says it.
FOLDER = "/var/lib/cni/flannel"

_LARGEST = 1 << 20
#: Our key in the file: whose configuration it is.  Plugins in Go ignore keys that they do not know.
_IFNAME = "multus.ifname"


class Kept(NamedTuple):
    """One file: the container's ID, the interface ("" when unknown), and the configuration."""

    path: str
    container_id: str
    ifname: str
    config: Mapping[str, Any]


def save(invocation: Invocation, config: Mapping[str, Any]) -> None:
    """Keep *config* for the DEL.  Without fsync: the journal has what it was made of."""
    folder, name = folder_of(invocation, FOLDER), invocation.request.container_id
    path = f"{folder}/{name}"
    data = encode({**config, _IFNAME: invocation.ifname})
    if os.path.lexists(path):
        taken = _read(path, name)
        if taken is None or (taken.config and not _is_of(taken, invocation)):
            path = f"{path}_{invocation.ifname}"
    keep(path, data)


def load(invocation: Invocation) -> Kept | None:
    """What ADD kept for this attachment; its configuration is empty when the file is damaged."""
    for path in _paths(invocation):
        kept = _read(path, invocation.request.container_id)
        if kept is not None and (not kept.config or _is_of(kept, invocation)):
            return kept
    return None


def forget_unfinished(invocation: Invocation) -> None:
    """Remove what a killed ``save`` left."""
    for path in _paths(invocation):
        if not os.path.lexists(path):
            forget(path)


def of_network(invocation: Invocation) -> Iterator[Kept]:
    """All that is kept for the network of *invocation*."""
    folder = folder_of(invocation, FOLDER)
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        kept = _read(f"{folder}/{name}", name)
        if kept is not None and kept.config.get("name") == invocation.config["name"]:
            yield kept


def _paths(invocation: Invocation) -> tuple[str, str]:
    alone = f"{folder_of(invocation, FOLDER)}/{invocation.request.container_id}"
    return f"{alone}_{invocation.ifname}", alone


def _is_of(kept: Kept, invocation: Invocation) -> bool:
    same = kept.config.get("name") == invocation.config["name"]
    return same and kept.ifname in ("", invocation.ifname)


def _read(path: str, name: str) -> Kept | None:
    try:
        found = json.loads(regular.read(path, _LARGEST))
    except OSError:
        return None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return Kept(path, name, "", {})
    ifname = found.pop(_IFNAME, "")
    container_id = name.removesuffix(f"_{ifname}") if ifname else name
    return Kept(path, container_id, str(ifname), found)
