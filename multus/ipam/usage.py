"""How many addresses of a host-local configuration's ranges are in use: for commands.

Source: host-local's store, see `multus.ipam`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from multus.ipam._hostlocal import DATA_DIR, range_sets
from multus.ipam.settings import reader_in
from multus.ipam.store import Store


class Usage(NamedTuple):
    """A range set of a network: its spans as text, how many addresses it has and are in use.

    ``directory`` is the store's, as this process sees it.
    """

    network: str
    spans: str
    used: int
    size: int
    directory: str

    @property
    def share(self) -> float:
        """From 0.0 to 1.0."""
        return min(1.0, self.used / self.size) if self.size > 0 else 1.0


def of(config: Mapping[str, Any], root: str = "") -> list[Usage]:
    """Each range set of a plugin's configuration with the IPAM host-local; else nothing.

    *root* is where the node's file system is mounted.  Raises ``InvalidConfig`` for ranges that an
    ADD refuses, ``IOFailure`` for a store that cannot be read.
    """
    reader = reader_in(config)
    network = config.get("name")
    if reader.text("type") != "host-local" or not isinstance(network, str):
        return []
    directory = f"{root}{(reader.text('dataDir') or DATA_DIR).rstrip('/')}/{network}"
    held = Store(directory).names()
    found = []
    for pool in range_sets(config, reader, needed=False):
        used = sum(map(pool.spans.holds, held))
        found.append(Usage(network, str(pool), used, pool.size, directory))
    return found
