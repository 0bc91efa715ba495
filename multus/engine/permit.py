"""What a configuration may name, by who wrote it.

Every delegate passes here once, whichever source it comes from and whoever carries it out
(``multus.engine.resolve``), and once more what each of its plugins is handed
(``multus.engine.invoke``).

A tenant's configuration names plugins and their keys, as CNI has it.  It does not start Multus once
more, with a configuration of its own; it is no larger than such configurations are; and keys that
an in-process invoker leaves to the owner of the node do not reach that invoker.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api.errors import InvalidConfig
from multus.api.jsontext import encode
from multus.api.network import Provenance
from multus.api.where import Path, Where, path_of

if TYPE_CHECKING:
    from multus.api.network import Delegate, Plugin

#: The programs of this project: a node's configuration that names one would call itself.
_OWN = ("multus", "multus-shim")

#: The same for a tenant's, with every other program of such a name.
_OWN_PREFIX = "multus"

#: The largest configuration of a tenant, in bytes of JSON.  Those of real networks have some
#: hundred; one of this size is parsed in a few milliseconds.
LARGEST = 256 * 1024

#: The longest chain of a tenant.  Each plugin of it is a process and a line in the journal.
MOST_PLUGINS = 32


def require_permitted(delegate: Delegate, where: str) -> None:
    """Raise ``InvalidConfig`` when *delegate* names what its writer may not.

    *where* says who chose it.
    """
    place = Where(f"{delegate} ({where})", path_of(where))
    if delegate.provenance is Provenance.NODE:
        for number, plugin in enumerate(delegate.plugins):
            if plugin.type not in _OWN:
                continue
            raise InvalidConfig(
                f"is {plugin.type!r}: Multus would call itself",
                where=place,
                key=(*_prefix(delegate, number), "type"),
                fix="name the plugin that attaches the network",
            )
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
    named = _named_own(configs)
    if named is not None:
        (index, *inner), own = named
        raise InvalidConfig(
            f"is {own!r}: an object of the API may not start Multus itself",
            where=place,
            key=(*_prefix(delegate, int(index)), *inner),
            fix="name the plugin that attaches the network",
        )


def _prefix(delegate: Delegate, index: int) -> Path:
    """The path of a plugin of a chain; one that is alone is the network's configuration itself."""
    return ("plugins", index) if len(delegate.plugins) > 1 else ()


def _named_own(configs: list[dict[str, Any]]) -> tuple[Path, str] | None:
    """The first program of ours that a ``type`` at any depth names, and that key's path.

    Plugins run others: for IPAM, as bridge does, or for the network, as flannel does.  Those in Go
    read keys whatever their case.
    """
    left: list[tuple[Path, Any]] = [((), configs)]
    while left:
        path, each = left.pop()
        items = each.items() if isinstance(each, dict) else enumerate(each)
        for key, item in items:
            if isinstance(item, dict | list):
                left.append(((*path, key), item))
            elif (
                isinstance(item, str)
                and item.startswith(_OWN_PREFIX)
                and str(key).lower() == "type"
            ):
                return (*path, key), item
    return None


def without(plugin: Plugin, keys: Collection[str]) -> Plugin:
    """*plugin* without *keys* of its configuration."""
    if not keys:
        return plugin
    kept = {key: value for key, value in plugin.config.items() if key not in keys}
    return evolve(plugin, config=kept)


def withheld(plugin: Plugin, delegate: Delegate, node_keys: frozenset[str]) -> list[str]:
    """The keys of *plugin* that are the node owner's, and that a tenant wrote; sorted."""
    if delegate.provenance is Provenance.NODE or not node_keys:
        return []
    return sorted(node_keys.intersection(plugin.config))
