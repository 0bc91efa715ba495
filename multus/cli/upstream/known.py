"""Every configuration key of the Go Multus, and what becomes of it.

The facts are those of its release 4.3: the configuration of its program (``NetConf``), the daemon's
``daemon-config.json``, and what its entrypoints write.  Its decoder takes a key in any letter case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

#: It becomes the same key of Multus' configuration, of the daemon's settings, or of both.
CONF, DAEMON, BOTH = "conf", "daemon", "both"
#: ``multus install`` acts on it, when it makes the configuration.
INSTALLER = "installer"
#: Something else here has its effect: ``text`` says what.
INSTEAD = "instead"
#: The Go Multus itself does not act on it.
INERT = "inert"
#: It cannot be carried over: ``text`` says why.
REFUSED = "refused"

#: The types of plugin that are Multus: the program, and the thick plugin's shim.
THIN, THICK = "multus", "multus-shim"


class Known(NamedTuple):
    """A key: what becomes of it, why, and whether its value is a path."""

    fate: str
    text: str = ""
    path: bool = False


KEYS: Mapping[str, Known] = {
    # CNI's own.
    "cniVersion": Known(CONF),
    "cniVersions": Known(CONF),
    "name": Known(CONF),
    "type": Known(INSTEAD),
    "capabilities": Known(CONF),
    "disableCheck": Known(CONF),
    "disableGC": Known(CONF),
    "ipam": Known(INERT),
    "dns": Known(INERT),
    "args": Known(INERT),
    # Given by the runtime with each call.
    "prevResult": Known(INSTEAD),
    "runtimeConfig": Known(INSTEAD),
    # Networks.
    "delegates": Known(CONF),
    "clusterNetwork": Known(CONF, path=True),
    "defaultNetworks": Known(CONF, path=True),
    "systemNamespaces": Known(CONF),
    "multusNamespace": Known(CONF),
    "namespaceIsolation": Known(CONF),
    "globalNamespaces": Known(CONF),
    "auxiliaryCNIChainName": Known(CONF),
    "retryDeleteOnError": Known(CONF),
    "readinessindicatorfile": Known(CONF, path=True),
    "kubeconfig": Known(INSTEAD, "--kubeconfig, or the pod's service account", path=True),
    # Folders.
    "confDir": Known(CONF, path=True),
    "cniDir": Known(BOTH, path=True),
    "binDir": Known(CONF),
    # The log.
    "logFile": Known(BOTH, path=True),
    "logLevel": Known(BOTH),
    "logToStderr": Known(BOTH),
    "logOptions": Known(BOTH),
    # Of daemon-config.json: the daemon.
    "chrootDir": Known(INSTEAD, "the DaemonSet has the root of the node at /host"),
    "perNodeCertificate": Known(DAEMON, path=True),
    "connectionLimit": Known(DAEMON),
    "metricsPort": Known(DAEMON),
    "enablePprof": Known(
        REFUSED, "this daemon has no pprof pages; 'multus-shim workers' says more"
    ),
    "socketDir": Known(DAEMON, path=True),
    "daemonSocketDir": Known(INSTEAD, "'socketLinkDir' of the daemon's settings", path=True),
    # Of daemon-config.json: how the daemon makes the shim's configuration.
    "multusConfigFile": Known(INSTEAD, "'auto' is what install does, --conf takes a file"),
    "multusMasterCNI": Known(INSTEAD, "--primary"),
    "multusAutoconfigDir": Known(INSTEAD, "--primary", path=True),
    "cniConfigDir": Known(INSTEAD, "--net-d", path=True),
    "overrideNetworkName": Known(INSTALLER),
    "forceCNIVersion": Known(CONF),
    # Written by the thin entrypoint, and read by nothing.
    "cniConf": Known(INERT),
}

#: Keys that only daemon-config.json has.
OF_DAEMON = frozenset(
    {
        "chrootDir",
        "perNodeCertificate",
        "connectionLimit",
        "metricsPort",
        "enablePprof",
        "socketDir",
        "multusConfigFile",
        "multusMasterCNI",
        "multusAutoconfigDir",
        "cniConfigDir",
        "forceCNIVersion",
    }
)

_CANONICAL = {name.lower(): name for name in KEYS}


def canonical(raw: Mapping[str, Any]) -> dict[str, Any]:
    """*raw* with the usual spelling of each known key; the last of two spellings wins."""
    return {_CANONICAL.get(str(name).lower(), name): value for name, value in raw.items()}


def of_daemon(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What the daemon's settings take over of *raw*, with the usual spelling of each key."""
    return {
        name: value
        for name, value in canonical(raw).items()
        if name in KEYS and KEYS[name].fate in (DAEMON, BOTH)
    }


def has_effect(value: Any) -> bool:
    """Whether the Go Multus tells a key with this value from one that is absent."""
    return value not in (None, False, "", 0, [], {})
