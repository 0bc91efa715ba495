"""Addresses that are unique in a cluster: IPAM of type ``whereabouts`` without starting a process.

It works on the objects of the group whereabouts.cni.cncf.io, as the binary of that name does, so
either can run on the nodes of one cluster, and free what the other reserved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from multus import hookimpl

if TYPE_CHECKING:
    from multus.api.allocations import AddressRange
    from multus.api.conf import Conf
    from multus.api.invoker import Declined
    from multus.api.ipam import Ipam
    from multus.api.keys import Key
    from multus.api.kubernetes import ApiUse
    from multus.api.network import Invocation
    from multus.api.session import Session

TYPE = "whereabouts"


@hookimpl
def multus_keys() -> Sequence[Key]:
    """The keys that it shares with the sources: the API server, and the time for it."""
    from multus.api.kubernetes import SHARED_KEYS

    return [key for key in SHARED_KEYS if key.name in ("kubeconfig", "apiTimeout")]


@hookimpl
def multus_kubernetes() -> Sequence[ApiUse]:
    """What it reads and writes; the daemon watches the pools, so an ADD reads nothing."""
    from multus_ipam_whereabouts.objects import uses

    return uses()


@hookimpl
def multus_allocations(conf: Conf, session: Session) -> Sequence[AddressRange]:
    """List all pools of the API server, with what is allocated of each."""
    from multus_ipam_whereabouts.listing import ranges

    return ranges(conf, session)


@hookimpl
def multus_ipam(kind: str, invocation: Invocation) -> Ipam | Declined | None:
    """Offer to serve type ``whereabouts`` when every key of the ``ipam`` object is known."""
    if kind != TYPE:
        return None
    from multus_ipam_whereabouts.conf import has_blocks, refusal
    from multus_ipam_whereabouts.whereabouts import Whereabouts

    refused = refusal(invocation)
    if refused is None or not has_blocks(invocation):
        return refused or Whereabouts(invocation)
    from multus_ipam_whereabouts.unserved import Unserved

    return Unserved(invocation, refused)


@hookimpl
def multus_upkeep(conf: Conf, session: Session, grace: float) -> None:
    """Return blocks of addresses that this node does not need; stop using those that it lost."""
    from multus_ipam_whereabouts.blockreturning import upkeep

    upkeep(conf, session, grace)
