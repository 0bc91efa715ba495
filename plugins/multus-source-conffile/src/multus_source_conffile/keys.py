"""The configuration keys of this source."""

from __future__ import annotations

from multus.api.keys import BOOLEAN, OBJECTS, PLACE, TEXT, TEXTS, Key

KEYS = (
    # The journal has the configuration of each attached delegate.
    Key(
        "delegates",
        OBJECTS,
        "The networks, each a plugin's configuration or a chain of them. Ignored beside"
        " `clusterNetwork`.",
        kept=False,
        selects=True,
    ),
    Key(
        "clusterNetwork",
        TEXT,
        "The default network, instead of `delegates`: the name of a configuration in `confDir`, of"
        " a folder there, whose first file is used, or an absolute path. With a Kubernetes source"
        " the name of a definition comes first.",
        selects=True,
    ),
    Key(
        "defaultNetworks",
        TEXTS,
        "More networks for every container, named like `clusterNetwork`.",
        selects=True,
    ),
    Key(
        "auxiliaryCNIChainName",
        TEXT,
        "The name of a folder beside the file of `clusterNetwork`, which must be a path. The"
        " plugins in its `.conf` files are a chain of their own that is carried out for every pod,"
        " after all its networks; without a file there, nothing is.",
    ),
    Key(
        "forceCNIVersion",
        BOOLEAN,
        "The file of `clusterNetwork` is used with Multus' own `cniVersion` in place of the file's;"
        " the file is not changed.",
        False,
    ),
    Key(
        "systemNamespaces",
        TEXTS,
        "Pods of these namespaces get only `clusterNetwork`.",
        ("kube-system",),
    ),
    Key("confDir", PLACE, "The folder of named networks.", "/etc/cni/multus/net.d"),
    Key(
        "readinessindicatorfile",
        PLACE,
        "A file that the default network writes when it is ready: an ADD waits up to 45 s for it;"
        " STATUS, `multus explain` and `multus validate` report at once that it is missing.",
    ),
)
