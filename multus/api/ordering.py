"""Putting delegates into an order, and naming their interfaces: for ``multus_order``.

Two conventions name the interfaces.  Both give the primary the runtime's own (``eth0``):

* ``seed``: the others are ``net0``, ``net1``, … from one counter;
* ``npwg``: the others are ``net1``, ``net2``, … by their place.

A network that asks for a name gets it, and is counted too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

if TYPE_CHECKING:
    from multus.api.network import Delegate


def primary_first(delegates: Sequence[Delegate]) -> tuple[Delegate, ...]:
    """Stable but for the primary, which comes first."""
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
