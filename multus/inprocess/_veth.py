"""A veth pair: one end on the host, the other one in the container."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api.errors import KernelRefused
from multus.inprocess._job import take_back
from multus.netlink import Refused, create, links

if TYPE_CHECKING:
    from multus.inprocess._job import Job

_ATTEMPTS = 10


class Pair(NamedTuple):
    """The host's end, called ``name``, is ``near``, the container's ``far``: index and MAC."""

    name: str
    near: int
    far: int
    near_mac: str
    far_mac: str


def make_pair(
    job: Job[Any], *, mtu: int = 0, mac: str = "", master: int = 0, up: bool = False
) -> Pair:
    """Create the pair, its host's end a port of the bridge *master* (an index) if one is given.

    With *up* the host's end is up.  Else set it up after the container's end: an end that is up
    without a carrier makes the kernel wait for a grace period.

    *mac* is for the container's end.  MACs are always set explicitly, because udev may replace one
    that the kernel chose.  A later failure deletes the pair.  Raises ``KernelRefused`` when the
    container has an interface of that name.
    """
    ends = job.ends
    for _attempt in range(_ATTEMPTS):
        random = os.urandom(16)
        near_mac, far_mac = links.local_mac(random[:6]), mac or links.local_mac(random[6:12])
        # NetworkManager ignores links whose names start with "veth".
        name = f"veth{random[12:].hex()}"
        made = create.veth(
            name,
            job.ifname,
            peer_namespace=ends.pod,
            mtu=mtu,
            mac=near_mac,
            peer_mac=far_mac,
            master=master,
            up=up,
        )
        with ExitStack() as mine:
            gone = [links.delete(name, missing_ok=True)]
            mine.callback(take_back, job.invocation, ends.host.request, gone)
            try:
                replies = ends.host.request([made, links.get(name)])
            except Refused as error:
                if error.message is not made or error.errno != errno.EEXIST:
                    raise
                mine.pop_all()  # this ADD created nothing
                job.refuse_taken()
                continue
            job.undo.push(mine.pop_all())
            return Pair(name, *links.read_indexes(replies[1]), near_mac, far_mac)
    raise KernelRefused(f"no free name for a veth in {_ATTEMPTS} attempts", fix="try again")
