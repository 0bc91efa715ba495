"""Every configuration key: its type, default, limits and meaning, and who reads it.

One table serves reading (:meth:`Key.read`), validation (:func:`problems`) and the page
``docs/configuration.md``.  The core's keys are here; a plugin declares its own in ``multus_keys``.
"""

from __future__ import annotations

from multus.api._key import (
    BOOLEAN,
    DAEMON,
    INTEGER,
    MULTUS,
    NETWORK,
    NUMBER,
    OBJECT,
    OBJECTS,
    PATH,
    PLACE,
    TEXT,
    TEXTS,
    WORD,
    Key,
    Kind,
    kept,
    problems,
    spelling_of,
)
from multus.api.spelling import Spelling

__all__ = [
    "ALWAYS_USE_DEFAULT",
    "BIN_DIR",
    "BLOCKED_PLUGINS",
    "BOOLEAN",
    "CAPABILITIES",
    "CNI_DIR",
    "CNI_VERSION",
    "CNI_VERSIONS",
    "CORE",
    "DEFAULT_ROUTE",
    "DAEMON",
    "DELEGATE_TIMEOUT",
    "DISABLE_CHECK",
    "DISABLE_GC",
    "ENGINE_KEYS",
    "INLINED_ONLY",
    "INTEGER",
    "INVOKER",
    "INVOKERS",
    "Key",
    "Kind",
    "LOG",
    "LOG_COMPRESS",
    "LOG_FILE",
    "LOG_LEVEL",
    "LOG_MAX_AGE",
    "LOG_MAX_BACKUPS",
    "LOG_MAX_SIZE",
    "LOG_OPTIONS",
    "LOG_TO_STDERR",
    "MASTERPLUGIN",
    "MERGER",
    "MULTUS",
    "NAME",
    "NAMING",
    "NETWORK",
    "NETWORK_SPELLING",
    "NUMBER",
    "OBJECT",
    "OBJECTS",
    "OF_NETWORKS",
    "OWN",
    "OWN_SPELLING",
    "PATH",
    "PLACE",
    "PREV_RESULT",
    "RUNTIME_CONFIG",
    "STANDALONE",
    "WARM_SECONDS",
    "TENANT_DATA_DIR",
    "TENANT_PATHS",
    "TENANT_RESOLV_CONF",
    "TEXT",
    "TEXTS",
    "TYPE",
    "VALID_ATTACHMENTS",
    "WORD",
    "kept",
    "problems",
    "spelling_of",
]

# --- Multus' own configuration --------------------------------------------------------------------

NAME = Key("name", TEXT, "The name of Multus' own network.", required=True)
TYPE = Key("type", TEXT, 'The program that the runtime starts: `"multus"`.', required=True)
CNI_VERSION = Key("cniVersion", TEXT, "The CNI version that the runtime speaks.", "0.1.0")
CNI_VERSIONS = Key("cniVersions", TEXTS, "More versions; the newest that both support is used.")
BIN_DIR = Key(
    "binDir",
    PLACE,
    "The folder of plugins' binaries, searched before `CNI_PATH`.",
    "/opt/cni/bin",
    spared=True,
)
CNI_DIR = Key("cniDir", PATH, "The folder of the attachments' records.", "/var/lib/cni/multus")
ALWAYS_USE_DEFAULT = Key(
    "always_use_default",
    BOOLEAN,
    "A pod whose own networks replace the defaults gets the defaults too. Needs"
    " `kubeconfig` and `delegates` or `clusterNetwork`.",
    False,
    spared=True,
)
MERGER = Key(
    "merger",
    TEXT,
    "The plugin that merges all results into one answer: `primary`, `all`, or another installed"
    " merger. Without it, `primary`.",
    spared=True,
)
NAMING = Key(
    "naming",
    TEXT,
    "How interfaces are named: `seed` (`net0`, `net1`, … from one counter) or `npwg` (`net1`,"
    " `net2`, … by position); without it, the source of the networks decides.",
    choices=("seed", "npwg"),
    spared=True,
)
DEFAULT_ROUTE = Key(
    "defaultRoute",
    TEXT,
    "Which network's default route a container uses when several bring one: that of the `primary`,"
    " or of the `last` that is attached. Without it, `primary` where networks come from `delegates`"
    " or Network objects, `last` where a pod's come from NetworkAttachmentDefinitions. A pod's"
    " `default-route` goes before it.",
    choices=("primary", "last"),
    spared=True,
)
INVOKERS = Key(
    "invokers", OBJECT, "By plugin type: the name of the invoker that executes it.", spared=True
)
BLOCKED_PLUGINS = Key(
    "blockedPlugins",
    TEXTS,
    "Multus plugins that must not be loaded: names of plugins or of their distributions.",
    spared=True,
)
DELEGATE_TIMEOUT = Key(
    "delegateTimeout",
    NUMBER,
    "Seconds that one call of a plugin may take, at most 3600.",
    60,
    above=0,
    most=3600,
    spared=True,
)
TENANT_PATHS = Key(
    "tenantPaths",
    OBJECT,
    "The paths that an API object's configuration may name when it is served in-process. With"
    " another path, the plugin's binary is run. See [security](security.md).",
    spared=True,
)
TENANT_DATA_DIR = Key(
    "tenantPaths.dataDir",
    TEXTS,
    "Folders for `dataDir` of `host-local`, each with everything beneath it.",
    ("/var/lib/cni/networks",),
    spared=True,
)
TENANT_RESOLV_CONF = Key(
    "tenantPaths.resolvConf",
    TEXTS,
    "Files, and folders with everything beneath them, for `resolvConf` of `host-local`.",
    ("/etc/resolv.conf", "/run/systemd/resolve"),
    spared=True,
)
RETRY_DELETE = Key(
    "retryDeleteOnError",
    BOOLEAN,
    "Whether a DEL that failed can be repeated: it always can, since the record stays until all is"
    " removed. `false` changes nothing; the key is known for configurations of the Go Multus.",
    True,
    spared=True,
)
UNSERVED_REQUESTS = Key(
    "unservedRequests",
    WORD,
    "When a network lacks what a pod requests of it, such as a MAC or an address: `warn` by an"
    " event and in the log, or `refuse` the pod.",
    "warn",
    choices=("warn", "refuse"),
    spared=True,
)
STANDALONE = Key(
    "standalone",
    BOOLEAN,
    "Whether calls are carried out without a daemon when none answers; without it, where the"
    " engine's program is beside the shim.",
)
WARM_SECONDS = Key(
    "warmSeconds",
    INTEGER,
    "On a node without a daemon: seconds (at most 3600) that the engine which a call leaves behind"
    " stays without another call; 0 for none.",
    60,
    least=0,
    most=3600,
    spared=True,
    kept=False,
)
RUNTIME_CONFIG = Key(
    "runtimeConfig",
    OBJECT,
    "The runtime's requests for the default network.",
    spared=True,
    kept=False,
)
PREV_RESULT = Key(
    "prevResult", OBJECT, "The result so far, given by the runtime.", spared=True, kept=False
)
#: Runtimes of today write the first spelling, libcni 1.1.0 to 1.1.2 the second.
VALID_ATTACHMENTS = (
    Key(
        "cni.dev/valid-attachments",
        OBJECTS,
        "The attachments that GC keeps, given by the runtime.",
        kept=False,
    ),
    Key("cni.dev/attachments", OBJECTS, "The same, as some runtimes write it.", kept=False),
)

LOG_TO_STDERR = Key("logToStderr", BOOLEAN, "Log to standard error.", True)
#: Levels of other programs, and the nearest one here.  Warnings are logged as errors.
_NEAREST_LEVELS = {
    "fatal": "panic",
    "critical": "panic",
    "info": "verbose",
    "notice": "verbose",
    "trace": "debug",
}


def _nearest_level(level: str) -> str:
    return _NEAREST_LEVELS.get(level, "error")


def _not_negative(number: int) -> int:
    return max(0, number)


LOG_FILE = Key("logFile", PLACE, "Log to this file too.")
LOG_LEVEL = Key(
    "logLevel",
    WORD,
    "`panic`, `error`, `verbose` or `debug`. Of other names the nearest is taken: `fatal` is"
    " `panic`, `info` is `verbose`, `trace` is `debug`; the others are `error`.",
    "error",
    choices=("panic", "error", "verbose", "debug"),
    nearest=_nearest_level,
)
LOG_OPTIONS = Key("logOptions", OBJECT, "How the file is rotated.")
LOG_MAX_SIZE = Key(
    "logOptions.maxSize",
    INTEGER,
    "Size in megabytes at which the file is rotated.",
    100,
    least=0,
    nearest=_not_negative,
)
LOG_MAX_AGE = Key(
    "logOptions.maxAge",
    INTEGER,
    "Age in days at which an old file is removed; 0 for never.",
    5,
    least=0,
    nearest=_not_negative,
)
LOG_MAX_BACKUPS = Key(
    "logOptions.maxBackups",
    INTEGER,
    "How many old files are kept; 0 for all.",
    5,
    least=0,
    nearest=_not_negative,
)
LOG_COMPRESS = Key("logOptions.compress", BOOLEAN, "Compress old files.", True)

#: The log's keys; the daemon's file has them too.
LOG = (
    LOG_TO_STDERR,
    LOG_FILE,
    LOG_LEVEL,
    LOG_OPTIONS,
    LOG_MAX_SIZE,
    LOG_MAX_AGE,
    LOG_MAX_BACKUPS,
    LOG_COMPRESS,
)

OWN: tuple[Key, ...] = (
    NAME,
    TYPE,
    CNI_VERSION,
    CNI_VERSIONS,
    BIN_DIR,
    CNI_DIR,
    ALWAYS_USE_DEFAULT,
    MERGER,
    NAMING,
    DEFAULT_ROUTE,
    INVOKERS,
    BLOCKED_PLUGINS,
    DELEGATE_TIMEOUT,
    TENANT_PATHS,
    TENANT_DATA_DIR,
    TENANT_RESOLV_CONF,
    RETRY_DELETE,
    UNSERVED_REQUESTS,
    STANDALONE,
    WARM_SECONDS,
    RUNTIME_CONFIG,
    Key("capabilities", OBJECT, "The capabilities that the runtime may use in `runtimeConfig`."),
    PREV_RESULT,
    *VALID_ATTACHMENTS,
    Key("disableCheck", BOOLEAN, "The runtime does not call CHECK.", False),
    Key("disableGC", BOOLEAN, "The runtime does not call GC.", False),
    *LOG,
)

# --- The configuration of any network -------------------------------------------------------------

MASTERPLUGIN = Key(
    "masterplugin",
    BOOLEAN,
    "This network is the primary: its interface is the runtime's, its result is reported.",
    False,
    of=NETWORK,
)
INVOKER = Key(
    "invoker", TEXT, "The invoker that executes this plugin; overrides `invokers`.", of=NETWORK
)
CAPABILITIES = Key(
    "capabilities",
    OBJECT,
    "Capabilities of the plugin: it gets their requested values as `runtimeConfig`.",
    of=NETWORK,
)
DISABLE_CHECK = Key("disableCheck", BOOLEAN, "CHECK skips this network.", False, of=NETWORK)
DISABLE_GC = Key("disableGC", BOOLEAN, "GC skips this network.", False, of=NETWORK)
INLINED_ONLY = Key(
    "loadOnlyInlinedPlugins",
    BOOLEAN,
    "In a file: ignore the folder beside it that adds plugins to the chain.",
    False,
    of=NETWORK,
)

OF_NETWORKS: tuple[Key, ...] = (
    Key("type", TEXT, "The plugin: the bare name of a binary.", of=NETWORK, required=True),
    Key("name", TEXT, "The network's name; without it, Multus' own.", of=NETWORK),
    Key("cniVersion", TEXT, "The version of its plugins; without it, Multus' own.", of=NETWORK),
    Key("cniVersions", TEXTS, "Further ones.", of=NETWORK),
    Key("plugins", OBJECTS, "The plugins of a chain, instead of `type`.", of=NETWORK),
    MASTERPLUGIN,
    INVOKER,
    CAPABILITIES,
    DISABLE_CHECK,
    DISABLE_GC,
    INLINED_ONLY,
)

#: All keys that the core reads.
CORE: tuple[Key, ...] = (*OWN, *OF_NETWORKS)

#: Keys of a plugin's configuration that belong to CNI or to the engine, not to the plugin.
#: ``args`` is CNI's; ``prevResult`` and ``runtimeConfig`` come from the caller.
ENGINE_KEYS = frozenset(
    {key.name for key in OF_NETWORKS} | {"args", PREV_RESULT.name, RUNTIME_CONFIG.name}
)

_OF_PLUGINS = Spelling(
    sorted(ENGINE_KEYS),
    {
        "dns": Spelling(("nameservers", "domain", "search", "options")),
        "ipam": Spelling(("type",)),
    },
)

#: The keys of any network's configuration.  The other keys belong to its plugins.
NETWORK_SPELLING = Spelling(_OF_PLUGINS.names, {**_OF_PLUGINS.within, "plugins": _OF_PLUGINS})

#: The core's keys in Multus' own configuration.
OWN_SPELLING = spelling_of(OWN)
