"""Who says that a container lives: the runtime's cache, and the runtime itself.

Source: libcni's ``results`` (``multus.state.cached``).
"""

from __future__ import annotations

import os

from multus.healing.namespaces import would_be_seen
from multus.state import cached


def of_cache(place: str, root: str = "") -> frozenset[str]:
    """The containers of the cache *place*, without those whose namespace is known to be gone.

    *root* is where the node's file system is mounted.
    """
    return frozenset(
        each.container_id
        for each in cached.in_cache(place)
        if each.container_id and _may_live(each.netns, root)
    )


def _may_live(netns: str, root: str) -> bool:
    path = f"{root}{netns}"
    return not netns or os.path.lexists(path) or not would_be_seen(path)


def of_runtime(socket: str) -> frozenset[str]:
    """The IDs of all sandboxes of the runtime at the CRI *socket*; raises ``CNIError``."""
    from multus.healing.cri import sandboxes

    return sandboxes(socket)
