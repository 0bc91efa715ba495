"""Every configuration key: its type, its default, what it is for, and who reads it.

One table for people (``docs/configuration.md``) and for ``multus validate``.  The core's own keys
are here; a plugin tells its own in ``multus_keys``.
"""

from __future__ import annotations

from attrs import frozen

#: Where a key stands: in Multus' own configuration, or in that of a network.
MULTUS, NETWORK = "multus", "network"

#: The types, as the tables name them.
TEXT, PATH, BOOLEAN, INTEGER, NUMBER, OBJECT, TEXTS, OBJECTS = (
    "string",
    "absolute path",
    "boolean",
    "integer",
    "number",
    "object",
    "list of strings",
    "list of objects",
)


@frozen
class Key:
    """A configuration key.

    ``name`` is its path from the top of a configuration ("logOptions.maxSize"); ``default`` is how
    its default is written in JSON, empty when the key has to be given or has none.  ``of`` is
    ``MULTUS`` for a key of Multus' own configuration, ``NETWORK`` for one of any delegate's, or the
    ``type`` of the plugin whose configuration has it.  ``selects`` says that it selects networks,
    or lets containers choose theirs.
    """

    name: str
    kind: str
    text: str
    default: str = ""
    of: str = MULTUS
    required: bool = False
    selects: bool = False


CORE: tuple[Key, ...] = (
    Key("name", TEXT, "The name of Multus' own network.", required=True),
    Key("type", TEXT, 'The program that the runtime starts: `"multus"`.', required=True),
    Key("cniVersion", TEXT, "The CNI version that the runtime speaks.", '"0.1.0"'),
    Key("cniVersions", TEXTS, "Further ones; the newest that both sides know is spoken."),
    Key("binDir", PATH, "Where plugins' binaries are, before `CNI_PATH`.", '"/opt/cni/bin"'),
    Key("cniDir", PATH, "Where it is recorded what is attached.", '"/var/lib/cni/multus"'),
    Key(
        "always_use_default",
        BOOLEAN,
        "A pod that chooses networks in place of the defaults gets the defaults too. Needs"
        " `kubeconfig` and `delegates` or `clusterNetwork`.",
        "false",
    ),
    Key(
        "merger",
        TEXT,
        "Who makes one answer out of all results: `primary`, `all`, or another installed merger.",
        '"primary"',
    ),
    Key(
        "naming",
        TEXT,
        "How interfaces are named: `seed` (`net0`, `net1`, … by one counter) or `npwg` (`net1`,"
        " `net2`, … by place); without it, as the source of the networks does.",
    ),
    Key("invokers", OBJECT, "Which invoker carries out which plugin type, by type."),
    Key(
        "blockedPlugins",
        TEXTS,
        "Multus plugins not to be loaded, by their own names or their distributions'.",
    ),
    Key("delegateTimeout", NUMBER, "Seconds that one call of a plugin may take.", "60"),
    Key(
        "tenantPaths",
        OBJECT,
        "Where an API object's configuration may point when it is carried out in-process. What"
        " points elsewhere is left to the plugin's binary. See [security](security.md).",
    ),
    Key(
        "tenantPaths.dataDir",
        TEXTS,
        "Folders for `dataDir` of `host-local`, each with everything beneath it.",
        '["/var/lib/cni/networks"]',
    ),
    Key(
        "tenantPaths.resolvConf",
        TEXTS,
        "Files, and folders with everything beneath them, for `resolvConf` of `host-local`.",
        '["/etc/resolv.conf", "/run/systemd/resolve"]',
    ),
    Key(
        "standalone",
        BOOLEAN,
        "Whether the program carries calls out itself while there is no daemon; without it, it does"
        " on a node that has none.",
    ),
    Key("runtimeConfig", OBJECT, "What the runtime asks of the default network."),
    Key("capabilities", OBJECT, "What the runtime may ask for in `runtimeConfig`."),
    Key("prevResult", OBJECT, "The result so far, given by the runtime."),
    Key("cni.dev/valid-attachments", OBJECTS, "What GC keeps, given by the runtime."),
    Key("cni.dev/attachments", OBJECTS, "The same, as some runtimes write it."),
    Key("disableCheck", BOOLEAN, "The runtime does not call CHECK.", "false"),
    Key("disableGC", BOOLEAN, "The runtime does not call GC.", "false"),
    Key("logToStderr", BOOLEAN, "Log to standard error.", "true"),
    Key("logFile", PATH, "Log to this file too."),
    Key("logLevel", TEXT, "`panic`, `error`, `verbose` or `debug`.", '"error"'),
    Key("logOptions", OBJECT, "How the file is rotated."),
    Key("logOptions.maxSize", INTEGER, "Megabytes at which a new file is begun.", "100"),
    Key("logOptions.maxAge", INTEGER, "Days after which an old file is removed.", "5"),
    Key("logOptions.maxBackups", INTEGER, "How many old files are kept.", "5"),
    Key("logOptions.compress", BOOLEAN, "Compress old files.", "true"),
    Key("type", TEXT, "The plugin: the bare name of a binary.", of=NETWORK, required=True),
    Key("name", TEXT, "The network's name; Multus' own where it has none.", of=NETWORK),
    Key("cniVersion", TEXT, "The version that its plugins speak; Multus' own.", of=NETWORK),
    Key("cniVersions", TEXTS, "Further ones.", of=NETWORK),
    Key("plugins", OBJECTS, "The plugins of a chain, in place of `type`.", of=NETWORK),
    Key(
        "masterplugin",
        BOOLEAN,
        "This network is the primary: its interface is the runtime's, its result is reported.",
        "false",
        of=NETWORK,
    ),
    Key("invoker", TEXT, "Who carries this plugin out, whatever `invokers` says.", of=NETWORK),
    Key(
        "capabilities",
        OBJECT,
        "Capabilities that the plugin serves: it gets what is asked for as `runtimeConfig`.",
        of=NETWORK,
    ),
    Key("disableCheck", BOOLEAN, "CHECK leaves this network out.", "false", of=NETWORK),
    Key("disableGC", BOOLEAN, "GC leaves this network out.", "false", of=NETWORK),
    Key(
        "loadOnlyInlinedPlugins",
        BOOLEAN,
        "In a file: the folder beside it with the network's name adds no plugins to the chain.",
        "false",
        of=NETWORK,
    ),
)
