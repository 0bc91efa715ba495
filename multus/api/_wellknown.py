"""Names of plugins, for the error about one that is nowhere.

Source: CNI, the reference plugins of containernetworking/plugins 1.9, and plugins of other projects
that pods name often.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

TYPES = frozenset(
    {"bandwidth", "bridge", "calico", "calico-ipam", "cilium-cni", "dhcp", "dummy", "firewall"}
    | {"flannel", "host-device", "host-local", "ib-sriov", "ipvlan", "loopback", "macvlan"}
    | {"ovs", "portmap", "ptp", "sbr", "sriov", "static", "tap", "tuning", "vlan", "vrf"}
    | {"whereabouts"}
)
#: A name that is less alike is another one.
_ALIKE = 0.75


def meant(kind: str, folders: Iterable[str] = ()) -> str:
    """The name that is probably meant by *kind*, also of a program in *folders*; "" for none."""
    if kind in TYPES:
        return ""
    # For an error alone: a process for one call does not need it.
    import difflib

    there: set[str] = set()
    for folder in folders:
        try:
            there.update(os.listdir(folder))
        except OSError:
            continue
    near = difflib.get_close_matches(kind, sorted(TYPES | there), n=1, cutoff=_ALIKE)
    return near[0] if near else ""
