"""Checks that the networks which a Multus configuration names are not Multus itself.

They are looked up in the given objects and in this machine's files.  What is not found here may be
there on the node: nothing is said about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.network import Element, Provenance
from multus.api.request import Request
from multus.api.session import Session
from multus.api.where import Path, Where
from multus.engine.permit import require_permitted
from multus.log import Log
from multus.registry.known import OFFERING

if TYPE_CHECKING:
    from multus.cli.documents import Document
    from multus.cli.findings import Finding
    from multus.cli.node import NodeConf
    from multus.cli.objects import Objects
    from multus.registry.loading import Installed


def check_offered(
    document: Document, found: NodeConf, installed: Installed, objects: Objects
) -> Iterator[Finding]:
    """Errors about the names of *found*, Multus' configuration in *document*."""
    try:
        conf = Conf.from_wire(found.config)
    except CNIError:
        return  # the configuration's own check reports it
    hooks = installed.taking_part(conf).hooks
    with Session(Log.from_conf({"logLevel": "panic"}), api=objects) as session:
        for path, name in _names(conf):
            element = Element(name, Where("", path), provenance=Provenance.NODE)
            try:
                delegate = hooks.resolve(element, Request("STATUS", dry_run=True), conf, session)
            except CNIError:
                continue
            if delegate is None:
                continue
            try:
                require_permitted(delegate, Where(f"key {path[0]!r}", path))
            except CNIError as error:
                yield document.told(error, found.key, whole=True)


def _names(conf: Conf) -> Iterator[tuple[Path, str]]:
    """The names of networks in the configuration, each with its key."""
    for key in OFFERING:
        value = conf.raw.get(key)
        if isinstance(value, str) and value:
            yield (key,), value
        for index, each in enumerate(value if isinstance(value, list) else ()):
            if isinstance(each, str) and each:
                yield (key, index), each
