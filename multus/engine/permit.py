"""What a configuration may contain, which depends on who wrote it: the node's owner or a tenant.

Every delegate is checked here once, whatever its source (``multus.engine.resolve``).  The
configuration of each plugin is checked once more before an invoker gets it
(``multus.engine.invoke.choice``).

A tenant's configuration names plugins and their keys, as CNI has it.  It may not start Multus with
a configuration of its own, and its size is limited.  Keys that an in-process invoker reserves for
the owner of the node do not reach that invoker.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api.errors import InvalidConfig
from multus.api.jsontext import encode
from multus.api.network import Provenance
from multus.api.where import Path, Where, path_of

if TYPE_CHECKING:
    from multus.api.network import Delegate, Plugin

#: The programs of this project and of the Go Multus: a node's configuration that names one would
#: call itself.
_OWN = frozenset(("multus", "multus-shim", "multus-standalone"))

#: The same for a tenant's, with every other program of such a name.
_OWN_PREFIX = "multus"

#: The largest configuration of a tenant, in bytes of JSON.  Real ones have some hundred bytes; one
#: of this size is parsed in a few milliseconds.
LARGEST = 256 * 1024

#: ``multus.api.deviceinfo.CAPABILITY``, in lower case.
_INFO_FILE = "cnideviceinfofile"

#: The longest chain of a tenant.  Each plugin of it is a process and a line in the journal.
MOST_PLUGINS = 32


def require_permitted(delegate: Delegate, where: str) -> None:
    """Raise ``InvalidConfig`` when *delegate* contains what its writer may not write.

    *where* names the object and the key that selected it.
    """
    found = "" if delegate.origin in ("", str(where)) else f", {delegate.origin}"
    place = Where(f"{delegate} ({where}{found})", path_of(where))
    if delegate.provenance is Provenance.NODE:
        _refuse_itself(delegate, place)
        return
    count = len(delegate.plugins)
    if count > MOST_PLUGINS:
        raise InvalidConfig(
            f"has {count} entries, at most {MOST_PLUGINS} are carried out for an object of the API",
            where=place,
            key="plugins",
            fix="shorten the chain",
        )
    configs = [dict(each.config) for each in delegate.plugins]
    size = len(encode(configs))
    if size > LARGEST:
        raise InvalidConfig(
            f"the configuration has {size} bytes, at most {LARGEST} are taken from an object of the"
            " API",
            where=place,
            fix="make it smaller, or let the owner of the node put it into a file in 'confDir'",
        )
    named = _named_own(configs, lambda kind: kind.startswith(_OWN_PREFIX))
    if named is not None:
        (index, *inner), own = named
        raise InvalidConfig(
            f"is {own!r}: an object of the API may not start Multus itself",
            where=place,
            key=(*_prefix(delegate, int(index)), *inner),
            fix="name the plugin that attaches the network",
        )


def _refuse_itself(delegate: Delegate, place: Where) -> None:
    named = _named_own([each.config for each in delegate.plugins], _OWN.__contains__)
    if named is None:
        return
    (index, *inner), own = named
    raise InvalidConfig(
        f"is {own!r}: Multus would call itself",
        where=place,
        key=(*_prefix(delegate, int(index)), *inner),
        fix="name the plugin that attaches the network",
    )


def _prefix(delegate: Delegate, index: int) -> Path:
    """The path of a plugin of a chain; one that is alone is the network's configuration itself."""
    return ("plugins", index) if len(delegate.plugins) > 1 else ()


def _named_own(
    configs: Sequence[Mapping[str, Any]], is_own: Callable[[str], bool]
) -> tuple[Path, str] | None:
    """The first of this project's programs that a ``type`` at any depth names, and its path.

    Plugins run other plugins: bridge for IPAM, flannel for the network.  Plugins in Go ignore the
    case of keys.
    """
    left: list[tuple[Path, Any]] = [((), configs)]
    while left:
        path, each = left.pop()
        items = each.items() if isinstance(each, dict) else enumerate(each)
        for key, item in items:
            if isinstance(item, dict | list):
                left.append(((*path, key), item))
            elif isinstance(item, str) and is_own(item) and str(key).lower() == "type":
                return (*path, key), item
    return None


def without(plugin: Plugin, keys: Collection[str]) -> Plugin:
    """*plugin* without *keys* of its configuration."""
    if not keys:
        return plugin
    kept = {key: value for key, value in plugin.config.items() if key not in keys}
    return evolve(plugin, config=kept)


def withheld(plugin: Plugin, delegate: Delegate, node_keys: frozenset[str]) -> list[str]:
    """The keys that a tenant wrote and that are reserved for the node's owner, sorted."""
    if delegate.provenance is Provenance.NODE or not node_keys:
        return []
    return sorted(node_keys.intersection(plugin.config))


def without_info_file(plugin: Plugin, delegate: Delegate) -> Plugin:
    """*plugin* without a ``CNIDeviceInfoFile`` that a tenant wrote.

    Plugins write that file.  Its path is chosen by the engine, for plugins that declare the
    capability.  Plugins in Go ignore the case of keys.
    """
    if delegate.provenance is Provenance.NODE:
        return plugin
    changed = {
        key: {name: each for name, each in value.items() if name.lower() != _INFO_FILE}
        for key, value in plugin.config.items()
        if key.lower() == "runtimeconfig" and isinstance(value, Mapping)
    }
    return evolve(plugin, config={**plugin.config, **changed}) if changed else plugin
