"""Checks how full address ranges are, and finds addresses outside of them.

Source: host-local's store, see `multus.ipam`; the ranges are those of the node's configuration.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError
from multus.cli import ranges
from multus.cli.commands.doctor import offered
from multus.cli.commands.doctor.places import Node
from multus.cli.findings import NOT_APPLICABLE, NOTE, UNCHECKED, Finding, Place
from multus.cli.looking import Look
from multus.cli.pools import handed_out
from multus.state.journal import Journal

if TYPE_CHECKING:
    from netaddr import IPSet

    from multus.state.record import Record


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
    used, findings = ranges.in_use(
        offered.plugins(node), _records(node), "pools", node.places.root, node.places.addresses
    )
    if unknown is None and not used:
        reason = f"no network of {node.file} or of a record has a range of host-local"
        unknown = Finding(NOT_APPLICABLE, "pools", reason)
    if unknown is not None:
        yield unknown
        return
    sight = Look("pools")
    findings += ranges.full(used, "pools")
    for name, (folder, addresses) in pools.items():
        held = IPSet(_held(sight.listed(folder)))
        findings += _compared(name, folder, addresses, held)
    names = ", ".join(dict.fromkeys(each.network for each in used))
    yield from sight.concluded(findings, f"no range of these networks is nearly full: {names}")


def _records(node: Node) -> Iterator[Record]:
    """The valid records; the journal's own check says what is wrong with others."""
    with suppress(CNIError):
        for each in Journal(node.places.at(node.conf.cni_dir)).records():
            if not isinstance(each, CNIError):
                yield each


def _pools(node: Node) -> dict[str, tuple[str, IPSet]]:
    """For each network, the folder of its store, and the addresses of its pool."""
    found: dict[str, tuple[str, IPSet]] = {}
    for config in offered.plugins(node):
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
    outside = held - addresses
    if outside:
        some = ", ".join(str(block) for block in list(outside.iter_cidrs())[:3])
        reason = f"network {name!r}: {outside.size} address(es) outside its ranges: {some}"
        fix = "the DEL of their containers frees them; ignore this if you changed the ranges"
        yield Finding(NOTE, "pools", reason, fix, Place(folder))
