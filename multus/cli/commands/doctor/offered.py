"""The networks that a node's configuration names for every container."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from multus.api.errors import CNIError
from multus.api.network import Delegate, Plugin, Provenance
from multus.api.request import Request
from multus.api.session import Session
from multus.cli.commands.doctor.places import Node
from multus.engine import resolve
from multus.log import Log
from multus.registry.known import OFFERING


def delegates(node: Node) -> list[Delegate]:
    """The node's default networks; raises ``CNIError``.  A node is asked about once."""
    found = _resolved(node)
    if isinstance(found, CNIError):
        raise found
    return list(found)


def plugins(node: Node) -> Iterator[Mapping[str, Any]]:
    """The configurations of their plugins, each with its network's name.

    Without those in files and objects, if the networks cannot be resolved.
    """
    try:
        for each in delegates(node):
            for plugin in each.plugins:
                yield {**plugin.config, "name": each.name}
    except CNIError:
        yield from node.delegates()


@lru_cache(maxsize=1)
def _resolved(node: Node) -> tuple[Delegate, ...] | CNIError:
    conf = node.conf
    if node.places.root:
        # Sources would read the files here, not those of the node.
        return tuple(
            Delegate(
                str(each.get("name") or conf.name),
                (Plugin(each),),
                conf.cni_version,
                provenance=Provenance.NODE,
            )
            for each in node.delegates()
            if isinstance(each.get("type"), str)
        )
    if not any(conf.raw.get(key) for key in OFFERING):
        return ()
    request = Request("STATUS", path=(node.places.bin_dir,))
    try:
        with Session(Log.from_conf({"logLevel": "panic"})) as session:
            return tuple(resolve.resolve(node.installed, request, conf, session).delegates)
    except CNIError as error:
        return error
