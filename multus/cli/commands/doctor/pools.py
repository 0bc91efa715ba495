"""Checks how full address pools are, and finds addresses outside of their ranges.

Source: host-local's store, see `multus.ipam`; the ranges are those of the node's configuration.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from multus.cli.commands.doctor.places import Node
from multus.cli.findings import NOT_APPLICABLE, NOTE, UNCHECKED, WARNING, Finding, Place
from multus.cli.looking import Look
from multus.cli.pools import handed_out

if TYPE_CHECKING:
    from netaddr import IPSet

#: The share of used addresses at which a pool is nearly full.
_NEARLY = 0.9


def look(node: Node) -> Iterator[Finding]:
    """Compare each network's ranges with the addresses in its store."""
    try:
        from netaddr import IPSet
    except ImportError:
        reason = "pools are not checked: netaddr is not installed"
        yield Finding(UNCHECKED, "pools", reason, "pip install 'multus[cli]'")
        return
    unknown = node.without_conf("pools")
    pools = _pools(node)
    if unknown is None and not pools:
        reason = f"{node.file} itself has no range of host-local"
        unknown = Finding(NOT_APPLICABLE, "pools", reason)
    if unknown is not None:
        yield unknown
        return
    sight = Look("pools")
    findings: list[Finding] = []
    for name, (folder, addresses) in pools.items():
        held = IPSet(_held(sight.listed(folder)))
        findings += _compared(name, folder, addresses, held)
    names = ", ".join(pools)
    yield from sight.concluded(findings, f"no range of these networks is nearly full: {names}")


def _pools(node: Node) -> dict[str, tuple[str, IPSet]]:
    """For each network, the folder of its store, and the addresses of its pool."""
    found: dict[str, tuple[str, IPSet]] = {}
    for config in node.delegates():
        options, name = config.get("ipam"), config.get("name")
        if not isinstance(options, dict) or options.get("type") != "host-local":
            continue
        addresses = handed_out(options)
        if isinstance(name, str) and addresses and not _chosen_by_runtime(config):
            data = options.get("dataDir")
            where = data if isinstance(data, str) and data else node.places.addresses
            found[name] = (os.path.join(node.places.at(where), name), addresses)
    return found


def _chosen_by_runtime(config: Mapping[str, Any]) -> bool:
    capabilities = config.get("capabilities")
    return isinstance(capabilities, dict) and bool(capabilities.get("ipRanges"))


def _held(names: Iterable[str]) -> list[str]:
    """The addresses in a store: each allocated address is the name of a file."""
    from netaddr import valid_ipv4, valid_ipv6

    return [name for name in names if valid_ipv4(name) or valid_ipv6(name)]


def _compared(name: str, folder: str, addresses: IPSet, held: IPSet) -> Iterator[Finding]:
    inside, outside = held & addresses, held - addresses
    if inside.size >= _NEARLY * addresses.size:
        reason = f"network {name!r}: {inside.size} of {addresses.size} addresses are in use"
        fix = "enlarge its ranges, or run 'multus gc' if containers are gone"
        yield Finding(WARNING, "pools", reason, fix, Place(folder))
    if outside:
        some = ", ".join(str(block) for block in list(outside.iter_cidrs())[:3])
        reason = f"network {name!r}: {outside.size} address(es) outside its ranges: {some}"
        fix = "the DEL of their containers frees them; ignore this if you changed the ranges"
        yield Finding(NOTE, "pools", reason, fix, Place(folder))
