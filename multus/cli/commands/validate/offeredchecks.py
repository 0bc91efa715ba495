"""Checks the networks that a Multus configuration names: that they exist, and are not Multus.

They are looked up in the given objects and in this machine's files.  What is not found on another
machine than the node may be there: it is not checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.conf import Conf
from multus.api.errors import CNIError, NoSuchNetwork
from multus.api.network import Element, Provenance
from multus.api.request import Request
from multus.api.session import Session
from multus.api.where import Path, Where
from multus.cli.commands.validate.nodechecks import OfNode
from multus.cli.findings import ERROR, NOTE, UNCHECKED, Finding
from multus.cli.objects import NotGiven
from multus.cli.routes import expected
from multus.engine import order, resolve
from multus.engine.permit import require_permitted
from multus.log import Log
from multus.registry.known import OFFERING

if TYPE_CHECKING:
    from multus.cli.documents import Document
    from multus.cli.node import NodeConf
    from multus.cli.objects import Objects
    from multus.registry.loading import Installed


def check_offered(
    document: Document, found: NodeConf, objects: Objects, of_node: OfNode
) -> Iterator[Finding]:
    """Errors about the names of *found*, Multus' configuration in *document*.

    On the node, what is not found is an error.
    """
    installed, here = of_node.installed, of_node.here
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
            except NotGiven:
                delegate = None
            except CNIError as error:
                severity = ERROR if here else UNCHECKED
                key = (*found.key, *path)
                told = document.finding(severity, key, error.said, error.fix, error.number)
                yield evolve(told, of_node=not here)
                continue
            if delegate is None:
                yield _missing(document, (*found.key, *path), name, here=here)
                continue
            try:
                require_permitted(delegate, Where(f"key {path[0]!r}", path))
            except CNIError as error:
                yield document.told(error, found.key, whole=True)
                continue
            yield from of_node.with_conf(conf).check(document, (*found.key, *path), delegate)


def _missing(document: Document, path: Path, name: str, *, here: bool) -> Finding:
    reason = f"network {name!r} is in none of the given files"
    if not here:
        fix = "pass the file that defines it (-f)"
        return evolve(document.finding(UNCHECKED, path, reason, fix), of_node=True)
    fix = "correct the name, create it, or pass the file that defines it (-f)"
    return document.finding(ERROR, path, f"{reason}, nor on this node", fix, NoSuchNetwork.code)


def who_wins(document: Document, found: NodeConf, installed: Installed) -> Iterator[Finding]:
    """Whose default route a container uses when several of the ``delegates`` bring one."""
    try:
        conf = Conf.from_wire(found.config)
        taking_part = installed.taking_part(conf)
        request = Request("ADD", ifname="eth0", dry_run=True)
        with Session(Log.from_conf({"logLevel": "panic"})) as session:
            resolved = resolve.resolve(taking_part, request, conf, session)
            delegates = order.order(taking_part.hooks, resolved, request, conf, session)
    except CNIError:
        return  # the configuration's own check reports it
    names = {each.ifname: each.label for each in delegates}
    for said in expected(delegates).winners():
        of = ", ".join(f"{ifname} is {label}" for ifname, label in names.items())
        reason = f"{said} ({of}): 'defaultRoute' is {resolved.default_route!r}"
        yield document.finding(NOTE, document.known((*found.key, "delegates")), reason, "")


def _names(conf: Conf) -> Iterator[tuple[Path, str]]:
    """The names of networks in the configuration, each with its key."""
    for key in OFFERING:
        value = conf.raw.get(key)
        if isinstance(value, str) and value:
            yield (key,), value
        for index, each in enumerate(value if isinstance(value, list) else ()):
            if isinstance(each, str) and each:
                yield (key, index), each
