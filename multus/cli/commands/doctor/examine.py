"""All examinations of a node, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator

from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.versions import NEWEST
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
from multus.cli.findings import WARNING, Finding
from multus.cli.node import find_conf, load_conf
from multus.registry.index import discover
from multus.registry.loading import load

#: In this order: what comes first keeps the rest from being of use.
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
    """The node in *places*, with the configuration in *conf_file* or the one that counts there."""
    plain = Conf("multus", NEWEST, {"name": "multus", "cniVersion": NEWEST})
    path = ""
    try:
        found = load_conf(conf_file) if conf_file else find_conf(places.at(places.net_d))
        path = found.path if conf_file else found.path.removeprefix(places.root)
        conf = Conf.from_wire(found.config)
    except CNIError:
        # The examination of the configuration says what is wrong with it.
        return Node(places, load(discover()), plain, path)
    return Node(places, load(discover(), conf.blocked_plugins, conf.raw), conf, path)


def examine(node: Node) -> Iterator[tuple[str, list[Finding]]]:
    """The findings of each examination, under its title."""
    if os.geteuid() != 0:
        reason = "this is not root: what cannot be read is not looked at"
        yield "You", [Finding(WARNING, "user", reason, "run it with sudo")]
    for title, look in EXAMINATIONS.items():
        yield title, list(look(node))
