"""The configuration keys of this source."""

from __future__ import annotations

from multus.api.keys import OBJECTS, PATH, TEXT, TEXTS, Key

KEYS = (
    # The journal has each delegate's configuration as it was carried out.
    Key(
        "delegates",
        OBJECTS,
        "The networks, each a plugin's configuration or a chain of them.",
        kept=False,
        selects=True,
    ),
    Key(
        "clusterNetwork",
        TEXT,
        "The default network, in place of `delegates`: the name of a configuration in `confDir`, of"
        " a folder there, whose first file is taken, or an absolute path. With a Kubernetes source"
        " the name of a definition comes first.",
        selects=True,
    ),
    Key(
        "defaultNetworks",
        TEXTS,
        "Further networks for every container, named like that.",
        selects=True,
    ),
    Key(
        "systemNamespaces",
        TEXTS,
        "Pods of these get `clusterNetwork` alone.",
        ("kube-system",),
    ),
    Key("confDir", PATH, "Where named networks are looked for.", "/etc/cni/multus/net.d"),
    Key(
        "readinessindicatorfile",
        PATH,
        "A file that the default network writes when it is ready: an ADD waits up to 45 s for it,"
        " STATUS, `multus explain` and `multus validate` say at once that it is missing.",
    ),
)
