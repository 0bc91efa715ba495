"""Parse: the JSON object on stdin becomes a valid configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus import log
from multus.api.conf import Conf, Problem
from multus.api.errors import InvalidConfig, MissingPlugin

if TYPE_CHECKING:
    from multus.registry.loading import Installed

#: The wording of the Go Multus, which users search for.
DEFAULT_NEEDS_BOTH = (
    "If you have set always_use_default, you must also set the delegates & the kubeconfig, refer"
    " to the README"
)


#: Keys that select networks, and the plugins that read them.  Without such a plugin, a container
#: would silently get fewer networks than it should.
_SOURCES = {
    "delegates": "multus-source-conffile",
    "clusterNetwork": "multus-source-conffile",
    "defaultNetworks": "multus-source-conffile",
    "kubeconfig": "multus-source-nad, multus-source-crd or multus-source-tpr",
}

#: Keys that a DEL and a GC can do without, when their values are wrong.
_OPTIONAL = (
    "always_use_default",
    "binDir",
    "blockedPlugins",
    "delegateTimeout",
    "invokers",
    "merger",
    "naming",
    "prevResult",
    "runtimeConfig",
    "tenantPaths",
)


def parse(raw: Mapping[str, Any], command: str = "ADD") -> Conf:
    """Read the engine's keys of a decoded configuration.

    A wrong configuration must not keep a container from being removed: for DEL and GC, a wrong key
    is left out when it is not needed.  Raises ``InvalidConfig`` (7) and
    ``IncompatibleVersion`` (1).
    """
    try:
        return Conf.from_wire(raw)
    except InvalidConfig:
        if command not in ("DEL", "GC"):
            raise
    kept = {key: value for key, value in raw.items() if key not in _OPTIONAL}
    for key in raw.keys() & _OPTIONAL:
        try:
            kept = dict(Conf.from_wire({**kept, key: raw[key]}).raw)
        except InvalidConfig as error:
            log.Log.from_conf(raw).error(f"{command} goes on without {key!r}", error=error)
    return Conf.from_wire(kept)


def validate(conf: Conf, installed: Installed) -> None:
    """Check the keys: the engine's own, and with every plugin those that it reads.

    Raises ``InvalidConfig`` with the first problem in the message and the others in the details,
    and ``MissingPlugin`` when no loaded plugin reads a key that selects networks.  A name in
    ``blockedPlugins`` that no plugin has is logged: it may be a typing error.
    """
    refusal = installed.refusal(conf.raw)
    if refusal is not None:
        raise InvalidConfig(
            f"configuration {conf.name!r} needs a plugin that cannot be used: {refusal}:"
            f" {refusal.fix}"
        )
    conf.reader.text("kubeconfig")
    conf.reader.boolean("standalone")
    for key, owners in _SOURCES.items():
        if conf.raw.get(key) and not any(key in entry.reads for entry in installed.loaded):
            raise MissingPlugin(
                f"configuration {conf.name!r}: no loaded plugin reads {key!r}: install {owners},"
                " or remove the key"
            )
    offers_default = conf.raw.get("delegates") or conf.raw.get("clusterNetwork")
    if conf.always_use_default and not (offers_default and conf.raw.get("kubeconfig")):
        raise InvalidConfig(DEFAULT_NEEDS_BOTH)
    problems = [Problem(*each) for each in log.problems(conf.raw)] + installed.hooks.validate(conf)
    if problems:
        raise InvalidConfig(
            f"configuration {conf.name!r}: {problems[0]}",
            "; ".join(map(str, problems[1:])),
        )
    for name in installed.unmatched(conf.blocked_plugins):
        reason = f"'blockedPlugins' names {name!r}, which no installed plugin is called"
        log.Log.from_conf(conf.raw).error(f"configuration {conf.name!r}: {reason}")
