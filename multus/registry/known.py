"""Plugins known by name, for errors that say what to install.

Nothing here is imported or started: a plugin that is installed says itself what it reads
(``multus_keys``, entry points of the group ``multus.keys``).
"""

from __future__ import annotations

from collections.abc import Mapping

#: Keys of Multus' configuration that select networks, and the distributions whose plugins read
#: them.  Without such a plugin, a container would get fewer networks than its configuration says.
SELECTING: Mapping[str, tuple[str, ...]] = {
    "delegates": ("multus-source-conffile",),
    "clusterNetwork": ("multus-source-conffile",),
    "defaultNetworks": ("multus-source-conffile",),
    "kubeconfig": ("multus-source-nad", "multus-source-crd", "multus-source-tpr"),
}

#: What serves a node that has nothing installed.
FIRST_SOURCE = "multus-source-conffile"

#: The keys of these that offer networks to every container; with the others, pods choose.
OFFERING = tuple(key for key, names in SELECTING.items() if FIRST_SOURCE in names)
