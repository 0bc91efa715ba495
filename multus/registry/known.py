"""Names of plugins, for errors that say what to install.

Only error messages use this.  An installed plugin declares its keys itself (``multus_keys``, entry
points of the group ``multus.keys``).
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

#: What to install on a node that has no plugins.
FIRST_SOURCE = "multus-source-conffile"

#: The keys of these that select networks for every container; with the others, pods choose.
OFFERING = tuple(key for key, names in SELECTING.items() if FIRST_SOURCE in names)
