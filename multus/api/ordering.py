"""Order delegates and name their interfaces: for ``multus_order``.

There are two conventions for names.  Both give the primary the runtime's interface (``eth0``):

* ``seed``: the others are ``net0``, ``net1``, … from one counter;
* ``npwg``: the others are ``net1``, ``net2``, … by their position.

A network that requests a name gets it, and is still counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

if TYPE_CHECKING:
    from multus.api.network import Delegate


def primary_first(delegates: Sequence[Delegate]) -> tuple[Delegate, ...]:
    """The same order, except that the primary comes first."""
    return tuple(sorted(delegates, key=lambda delegate: not delegate.primary))


def named(delegates: Sequence[Delegate], naming: str, primary: str) -> tuple[Delegate, ...]:
    """Give each delegate its interface name; *primary* is the runtime's ``CNI_IFNAME``."""
    first = 0 if naming == "seed" else 1
    return tuple(
        evolve(
            each,
            ifname=primary if index == 0 else each.requested_ifname or f"net{first + index - 1}",
        )
        for index, each in enumerate(delegates)
    )
