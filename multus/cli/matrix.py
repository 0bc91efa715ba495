"""A cluster as lines of text: addresses, nodes × networks, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from multus.cli.layout import Line, table
from multus.picture.cluster.model import rows

if TYPE_CHECKING:
    from multus.picture.cluster.model import Cluster, Holder

#: Columns that a network needs in the table of counts, and the node's name.
_LEAST, _NAME = 8, 16


def tables(cluster: Cluster, width: int) -> list[Line]:
    """Who has which address, and nodes × networks, in *width* columns; 0 for any width."""
    return [*_addresses(cluster, width), *_counts(cluster, width)]


def problems(cluster: Cluster) -> list[Line]:
    """What is wrong, a line for each; a line may be long."""
    found: list[Line] = []
    for each in cluster.duplicates:
        said = f"{each.address} in network {each.network}: {_named(each.holders)}"
        found.append([("duplicate: ", "red"), said])
    for wait in cluster.waiting:
        said = f"{_named([wait.holder])} asked for {wait.asked}, and has no status"
        found.append([("no status: ", "yellow"), said])
    return found + [[("not read: ", "yellow"), each] for each in cluster.notes]


def _addresses(cluster: Cluster, width: int) -> Iterator[Line]:
    twice = {(each.network, each.address) for each in cluster.duplicates}
    found = [
        (
            each.network,
            f"{address} !" if (each.network, address) in twice else address,
            each.holder.pod,
            each.holder.interface or "-",
            each.holder.node or "-",
        )
        for address, each in rows(cluster.attached)
    ]
    if found:
        yield from table(("NETWORK", "ADDRESS", "POD", "INTERFACE", "NODE"), found, width)
        yield []


def _counts(cluster: Cluster, width: int) -> Iterator[Line]:
    """As many networks as there is room for; the others are summed up."""
    names = cluster.networks
    room = max(1, (width - _NAME) // (_LEAST + 2)) if width else len(names)
    shown = names if len(names) <= room else names[: max(1, room - 1)]
    rest = names[len(shown) :]
    found = []
    for node in cluster.nodes:
        counts = cluster.counts[node]
        cells = [str(counts.get(each, "") or "-") for each in shown]
        cells += [str(sum(counts.get(each, 0) for each in rest) or "-")] if rest else []
        found.append((node, *cells))
    if found:
        yield from table(("NODE", *shown, *([f"{len(rest)} MORE"] if rest else [])), found, width)
        yield []


def _named(holders: Sequence[Holder]) -> str:
    return ", ".join(f"{each.pod} on {each.node}" if each.node else each.pod for each in holders)
