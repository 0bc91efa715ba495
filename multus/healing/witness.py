"""Who says that a container lives: the runtime's cache, and the runtime itself.

Source: libcni's ``results`` (``multus.state.cached``).
"""

from __future__ import annotations

import os

from multus.healing.namespaces import would_be_seen
from multus.state import cached


def of_cache(place: str, root: str = "") -> frozenset[str]:
    """The containers of the cache *place* whose namespace exists, is not named, or is not seen.

    *root* is where the node's file system is mounted.
    """
    return frozenset(
        each.container_id
        for each in cached.in_cache(place)
        if not each.netns
        or os.path.lexists(f"{root}{each.netns}")
        or not would_be_seen(f"{root}{each.netns}")
    )


def of_runtime(socket: str) -> frozenset[str]:
    """The IDs of all sandboxes of the runtime at the CRI *socket*; raises ``CNIError``."""
    from multus.healing.cri import sandboxes

    return sandboxes(socket)
