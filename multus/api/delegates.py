"""Make a delegate from a network configuration.

All sources use it: a single plugin's configuration or a list of plugins becomes one ``Delegate``.
Missing ``name`` and ``cniVersion`` are inserted, and every other key is kept as it is.

Source: CNI specification 1.1.0, section 1 "Network configuration format".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus.api import keys
from multus.api.conf import negotiated_version
from multus.api.errors import InvalidConfig
from multus.api.frozen import frozen_mapping
from multus.api.names import is_identifier
from multus.api.network import Delegate, Plugin, Provenance
from multus.api.reader import Reader, describe
from multus.api.spelling import spelled
from multus.api.where import path_of, within

if TYPE_CHECKING:
    from multus.api.conf import Conf

__all__ = ["delegate_from", "is_list", "is_primary", "with_cni_args"]


def delegate_from(
    config: Mapping[str, Any],
    conf: Conf,
    where: str,
    *,
    name: str = "",
    label: str = "",
    provenance: Provenance = Provenance.TENANT,
) -> Delegate:
    """Make a delegate of *config*, a plugin's configuration or a list of them.

    *where* names the configuration in errors.  *name* is the network's name when the configuration
    has none (when both are missing, the name is Multus' own).  *label* is the network's name for
    people; *provenance* is who wrote the configuration.  Raises ``InvalidConfig`` and
    ``IncompatibleVersion``.
    """
    config = spelled(config, keys.NETWORK_SPELLING)
    reader = Reader(config, where)
    network = reader.text("name") or name or conf.name
    if not is_identifier(network):
        raise reader.error(
            "name", f"is {network!r}: invalid network name", "use letters, digits, '_', '.', '-'"
        )
    own = reader.text("cniVersion") or reader.texts("cniVersions")
    version = negotiated_version(reader) if own else conf.cni_version
    plugins = reader.mappings("plugins") if is_list(config) else [config]
    if not plugins:
        raise reader.error("plugins", "is empty", "list at least one plugin")
    return Delegate(
        name=network,
        plugins=tuple(
            _plugin(plugin, conf, _place(where, config, index))
            for index, plugin in enumerate(plugins)
        ),
        cni_version=version,
        label=label or network,
        primary=is_primary(config, where),
        disable_check=keys.DISABLE_CHECK.read(reader),
        disable_gc=keys.DISABLE_GC.read(reader),
        provenance=provenance,
        origin=str(where),
    )


def is_list(config: Mapping[str, Any]) -> bool:
    """Whether *config* is a list of plugins; as on the Go Multus, one with a ``type`` is not."""
    return "plugins" in config and not config.get("type")


def with_cni_args(
    config: Mapping[str, Any], added: Mapping[str, Any], where: str
) -> Mapping[str, Any]:
    """*config* with *added* in ``args.cni`` of each of its plugins, key by key.

    *where* names the configuration in errors.  Raises ``InvalidConfig``.

    Source: CNI ``CONVENTIONS.md``, "args in network config".
    """
    if not added:
        return config
    config = spelled(config, keys.NETWORK_SPELLING)
    if not is_list(config) or not isinstance(config["plugins"], list):
        return _with_args(config, added, where)
    plugins = [
        _with_args(each, added, _place(where, config, index))
        for index, each in enumerate(config["plugins"])
    ]
    return {**config, "plugins": plugins}


def _with_args(config: Any, added: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    if not isinstance(config, dict):
        raise InvalidConfig(
            f"{where} must be an object, not {describe(config)}",
            path=path_of(where),
            fix="correct it",
        )
    args = Reader(config, where).inner("args")
    return {**config, "args": {**args.raw, "cni": {**args.mapping("cni"), **added}}}


def _place(where: str, config: Mapping[str, Any], index: int) -> str:
    if not is_list(config):
        return where
    return within(where, f", plugins[{index}]", "plugins", index)


def _plugin(config: Mapping[str, Any], conf: Conf, where: str) -> Plugin:
    kind = config.get("type")
    reader = Reader(config, where)
    if kind is None or kind == "":
        raise reader.error(
            "type", "is missing: delegate must have the field 'type'", "name a plugin"
        )
    if not isinstance(kind, str):
        raise reader.error("type", f"is {describe(kind)}: delegate field 'type' must be a string")
    if "/" in kind or "\0" in kind or kind in (".", ".."):
        raise reader.error(
            "type",
            f"is {kind!r}",
            "use a plugin's bare name; Multus looks for it in 'binDir' and CNI_PATH",
        )
    keys.CAPABILITIES.read(reader)
    return Plugin(config, invoker=keys.INVOKER.read(reader) or conf.invokers.get(kind, ""))


def is_primary(config: Mapping[str, Any], where: str) -> bool:
    """Whether a configuration, or a plugin of it, has ``masterplugin``."""
    listed = config.get("plugins")
    nested = enumerate(listed if isinstance(listed, list) else ())
    parts = [(config, where), *((each, _place(where, config, index)) for index, each in nested)]
    return any(_is_marked(each, place) for each, place in parts if isinstance(each, dict))


def _is_marked(config: Mapping[str, Any], where: str) -> bool:
    reader, key = Reader(config, where), keys.MASTERPLUGIN
    try:
        return bool(key.read(reader))
    except InvalidConfig as error:
        is_wrong = f"is {describe(config[key.name])}: delegate field 'masterplugin' must be a bool"
        raise reader.error(key.name, is_wrong, "write true or false") from error


def handed_on(delegate: Delegate, plugin: Plugin, conf: Conf) -> Mapping[str, Any]:
    """The configuration that *plugin* gets, complete except for ``prevResult``.

    ``name`` and ``cniVersion`` are the network's; ``capabilities`` is replaced by the part of the
    requested ``runtimeConfig`` that it declares; every other key is unchanged.
    """
    config = {
        key: value
        for key, value in plugin.config.items()
        if key not in ("capabilities", "prevResult")
    }
    config["name"] = delegate.name
    config["cniVersion"] = delegate.cni_version
    # NPWG 1.3, 7.5: the runtime's requests are for the default network, the one that it knows.
    inherited = conf.runtime_config if delegate.primary else {}
    requested = {**inherited, **delegate.runtime_config}
    served = plugin.capabilities
    runtime_config = {key: value for key, value in requested.items() if key in served}
    if runtime_config:
        config["runtimeConfig"] = runtime_config
    return frozen_mapping(config)
