"""Runs all checks of a node, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator

from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.spelling import spelled
from multus.api.versions import NEWEST
from multus.cli import telling
from multus.cli.commands.doctor import (
    api,
    configuration,
    leaks,
    pools,
    programs,
    spooled,
    state,
)
from multus.cli.commands.doctor.places import Node, Places
from multus.cli.findings import AS_ROOT, UNCHECKED, Finding, Place, of_error
from multus.cli.node import NotConfigured, find_conf, load_conf
from multus.registry.index import discover
from multus.registry.loading import load
from multus.registry.spelling import spelling_with

#: Ordered: later checks are of little use when an earlier one fails.
EXAMINATIONS = {
    "Configuration": configuration.look,
    "Programs": programs.look,
    "API server": api.look,
    "State": state.look,
    "Kept DELs": spooled.look,
    "Leaks": leaks.look,
    "Pools": pools.look,
}


def node_at(places: Places, conf_file: str = "") -> Node:
    """The node in *places*, with the configuration in *conf_file*, or the runtime's own."""
    plain = Conf("multus", NEWEST, {"name": "multus", "cniVersion": NEWEST})
    path = conf_file
    try:
        found = load_conf(conf_file) if conf_file else find_conf(places.at(places.net_d))
        path = found.path if conf_file else found.path.removeprefix(places.root)
        conf = Conf.from_wire(spelled(found.config, spelling_with(discover())))
    except NotConfigured as error:
        unread = of_error(error, "configuration", place=Place(path)) if conf_file else None
        return Node(places, load(discover()), plain, path, unread)
    except CNIError as error:
        place = Place(path) if path else None
        unread = of_error(error, "configuration", place=place)
        return Node(places, load(discover()), plain, path, unread)
    return Node(places, load(discover(), conf.blocked_plugins, conf.raw), conf, path)


def examine(node: Node) -> Iterator[tuple[str, list[Finding]]]:
    """The title and the findings of each check."""
    if os.geteuid() != 0:
        reason = "not running as root: what only root can read is not checked"
        yield "You", [Finding(UNCHECKED, "user", reason, AS_ROOT)]
    for title, look in EXAMINATIONS.items():
        telling.doing(f"looking at: {title}")
        yield title, list(look(node))


def name_of(places: Places) -> str:
    """The node's name: the host's."""
    try:
        with open(places.at("/etc/hostname"), encoding="utf-8", errors="replace") as file:
            written = file.read(256).strip()
    except OSError:
        written = ""
    return written if places.root and written else os.uname().nodename
