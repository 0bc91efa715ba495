"""The spelling of every key of Multus' own configuration, those of the plugins included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from multus.api.keys import NETWORK_SPELLING, OF_NETWORKS, OWN, OWN_SPELLING
from multus.api.spelling import Spelling
from multus.registry.known import SELECTING

if TYPE_CHECKING:
    from multus.registry.entry import Entry

#: What the runtime requests, with the objects that hold more keys.
_RUNTIME_CONFIG = Spelling(
    ("ips", "mac", "infinibandGUID", "deviceID", "CNIDeviceInfoFile"),
    {
        "portMappings": Spelling(("hostPort", "containerPort", "protocol", "hostIP")),
        "bandwidth": Spelling(("ingressRate", "ingressBurst", "egressRate", "egressBurst")),
    },
)


def spelling_with(entries: Iterable[Entry]) -> Spelling:
    """The spelling of a configuration for a node with the plugins of *entries*."""
    names = {key for entry in entries for key in entry.reads}
    listed = (*(key.top for key in (*OWN, *OF_NETWORKS)), *SELECTING, *names)
    within = {**NETWORK_SPELLING.within, **OWN_SPELLING.within}
    return Spelling(
        listed, {**within, "delegates": NETWORK_SPELLING, "runtimeConfig": _RUNTIME_CONFIG}
    )
