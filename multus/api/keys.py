"""Every configuration key: its type, default, limits and meaning, and who reads it.

One table serves reading (:meth:`Key.read`), validation (:func:`problems`) and the page
``docs/configuration.md``.  The core's keys are here; a plugin declares its own in ``multus_keys``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from multus.api.errors import InvalidConfig, either
from multus.api.problem import Problem
from multus.api.reader import Reader

#: Where a key is set: Multus' own configuration, a network's configuration, the daemon's file.
MULTUS, NETWORK, DAEMON = "multus", "network", "daemon"


# Named tuples: an attrs class takes six times as long to create, in every standalone call.


class Kind(NamedTuple):
    """A type: its name in tables, its reader, and the factory of an empty value."""

    name: str
    read: Callable[[Reader, str], Any]
    empty: Callable[[], Any]

    def __str__(self) -> str:
        return self.name


def _texts(reader: Reader, key: str) -> tuple[str, ...]:
    return tuple(reader.texts(key))


def _word(reader: Reader, key: str) -> str:
    return reader.text(key).lower()


TEXT = Kind("string", Reader.text, str)
#: A case-insensitive string; it is read in lower case.
WORD = Kind("string", _word, str)
PATH = Kind("absolute path", Reader.path, str)
BOOLEAN = Kind("boolean", Reader.boolean, bool)
INTEGER = Kind("integer", Reader.integer, int)
NUMBER = Kind("number", Reader.number, float)
OBJECT = Kind("object", Reader.mapping, dict)
TEXTS = Kind("list of strings", _texts, tuple)
OBJECTS = Kind("list of objects", Reader.mappings, list)


class Key(NamedTuple):
    """A configuration key.

    ``name`` is its path from the top of a configuration ("logOptions.maxSize"); ``text`` is a
    sentence for the table.  ``default`` is the value of an absent key, None when the key is
    required or has no default.  ``of`` is ``MULTUS`` for a key of Multus' own configuration,
    ``NETWORK`` for one of any delegate's, ``DAEMON`` for one of the daemon's file, or the ``type``
    of the plugin whose configuration has it.

    A value must be one of ``choices``, at least ``least``, more than ``above`` and at most
    ``most``; a limit that is not set is not checked.

    ``spared``: DEL and GC ignore the key when its value is invalid.  ``kept``: the journal keeps
    the key.  ``selects``: the key selects networks, or lets containers choose theirs.
    """

    name: str
    kind: Kind
    text: str
    default: Any = None
    of: str = MULTUS
    required: bool = False
    choices: tuple[str, ...] = ()
    least: float | None = None
    above: float | None = None
    most: float | None = None
    spared: bool = False
    kept: bool = True
    selects: bool = False

    @property
    def top(self) -> str:
        """The key at the top of the configuration: "logOptions" for "logOptions.maxSize"."""
        return self.name if "/" in self.name else self.name.partition(".")[0]

    def read(self, reader: Reader) -> Any:
        """The value in *reader*'s object, or the default; raises ``InvalidConfig``."""
        name = self.name
        if self.top != name:
            reader, name = reader.inner(self.top), name[len(self.top) + 1 :]
        if reader.raw.get(name) is None:
            return self.absent
        value = self.kind.read(reader, name)
        if value == "" and (self.kind is PATH or self.default is None):
            return self.absent
        if self.choices or self._bounded:
            self._require_allowed(reader, name, value)
        return value

    @property
    def absent(self) -> Any:
        """The value of an absent key."""
        return self.kind.empty() if self.default is None else self.default

    @property
    def _bounded(self) -> bool:
        return self.least is not None or self.above is not None or self.most is not None

    def _require_allowed(self, reader: Reader, name: str, value: Any) -> None:
        if self.choices:
            given = value if isinstance(value, tuple) else (value,)
            wrong = next((each for each in given if each not in self.choices), None)
            if wrong is not None:
                verb = "is" if given == (value,) else "has"
                shown = reader.raw[name] if verb == "is" else wrong
                raise reader.error(name, f"{verb} {shown!r}", f"use {either(self.choices)}")
            return
        low = self.least is not None and value < self.least
        low = low or (self.above is not None and value <= self.above)
        if low or (self.most is not None and value > self.most):
            raise reader.error(name, f"is {reader.raw[name]}", f"use {self._range()}")

    def _range(self) -> str:
        number = "a whole number" if self.kind is INTEGER else "a number"
        if self.above is not None:
            most = "" if self.most is None else f", at most {self.most}"
            return f"{number} above {self.above}{most}"
        if self.most is None:
            return f"{self.least} or more"
        return f"{number} from {self.least} to {self.most}"


def problems(reader: Reader, keys: Iterable[Key], of: str = MULTUS) -> list[Problem]:
    """The problems with the values of *keys* in *reader*'s object."""
    found: list[Problem] = []
    for key in keys:
        if key.of == of and reader.raw.get(key.top) is not None:
            try:
                key.read(reader)
            except InvalidConfig as error:
                found += error.problems
    # A value that is not an object gives the same problem for every key in it: report it once.
    return list(dict.fromkeys(found))


def kept(raw: Mapping[str, Any], keys: Iterable[Key]) -> dict[str, Any]:
    """The keys of a configuration that the journal keeps."""
    passing = {key.name for key in keys if not key.kept}
    return {key: value for key, value in raw.items() if key not in passing}


# --- Multus' own configuration --------------------------------------------------------------------

NAME = Key("name", TEXT, "The name of Multus' own network.", required=True)
TYPE = Key("type", TEXT, 'The program that the runtime starts: `"multus"`.', required=True)
CNI_VERSION = Key("cniVersion", TEXT, "The CNI version that the runtime speaks.", "0.1.0")
CNI_VERSIONS = Key("cniVersions", TEXTS, "More versions; the newest that both support is used.")
BIN_DIR = Key(
    "binDir",
    PATH,
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
    "Whether the program executes calls itself while no daemon runs; without it, only on a node"
    " without a daemon.",
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
LOG_FILE = Key("logFile", PATH, "Log to this file too.")
LOG_LEVEL = Key(
    "logLevel",
    WORD,
    "`panic`, `error`, `verbose` or `debug`.",
    "error",
    choices=("panic", "error", "verbose", "debug"),
)
LOG_OPTIONS = Key("logOptions", OBJECT, "How the file is rotated.")
LOG_MAX_SIZE = Key(
    "logOptions.maxSize", INTEGER, "Size in megabytes at which the file is rotated.", 100, least=0
)
LOG_MAX_AGE = Key(
    "logOptions.maxAge", INTEGER, "Age in days at which an old file is removed.", 5, least=0
)
LOG_MAX_BACKUPS = Key("logOptions.maxBackups", INTEGER, "How many old files are kept.", 5, least=0)
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
    INVOKERS,
    BLOCKED_PLUGINS,
    DELEGATE_TIMEOUT,
    TENANT_PATHS,
    TENANT_DATA_DIR,
    TENANT_RESOLV_CONF,
    RETRY_DELETE,
    UNSERVED_REQUESTS,
    STANDALONE,
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
