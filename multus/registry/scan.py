"""Find the installed plugins through ``importlib.metadata``.

A standalone call imports this module only when the index is stale.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from multus.registry.entry import Entry, normalised

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

#: Entry points of this group are plugins: ``name = module``.
GROUP = "multus"

#: Entry points of these groups name configuration keys: ``key = module``.  A plugin owns the keys
#: of the first group, and shares those of the second with other plugins.  With keys in the third,
#: it is called only for configurations that have one of them.
KEYS, SHARED_KEYS, ONLY_WITH = "multus.keys", "multus.shared_keys", "multus.only_with"


def scan() -> Iterator[Entry]:
    """Every plugin of every installed distribution.

    A distribution that is installed twice counts once: as with imports, the first on ``sys.path``
    hides the others.
    """
    from importlib import metadata

    seen: set[str] = set()
    for distribution in metadata.distributions():
        name = normalised(str(distribution.metadata["Name"]))
        if name not in seen:
            seen.add(name)
            yield from dict.fromkeys(_entries(distribution))


def _entries(distribution: Distribution) -> Iterator[Entry]:
    """A distribution's plugins; one entry with a problem when its entry points are unreadable."""
    name, version = str(distribution.metadata["Name"]), str(distribution.version)
    location = _metadata_file(distribution)
    try:
        if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
            return
        points = list(distribution.entry_points)
    except (OSError, TypeError, ValueError) as error:
        problem = f"its entry points cannot be read: {error}: reinstall it"
        yield Entry(name, "", name, version, location, problem=problem)
        return
    plugins = [point for point in points if point.group == GROUP]
    modules = {_module(point) for point in plugins}
    strays = [
        f"{point.name} = {point.value}"
        for point in points
        if point.group in (KEYS, SHARED_KEYS, ONLY_WITH) and _module(point) not in modules
    ]
    for point in plugins:
        yield Entry(
            name=point.name,
            module=_module(point),
            distribution=name,
            version=version,
            location=location,
            keys=_keys(points, KEYS, point),
            shared_keys=_keys(points, SHARED_KEYS, point),
            only_with=_keys(points, ONLY_WITH, point),
            named_object=point.value.partition(":")[2].strip(),
            stray_keys=tuple(strays),
        )


def _module(point: EntryPoint) -> str:
    return point.value.partition(":")[0].strip()


def _keys(points: Sequence[EntryPoint], group: str, plugin: EntryPoint) -> tuple[str, ...]:
    """The keys of *group* that name the module of *plugin*."""
    own = _module(plugin)
    return tuple(each.name for each in points if each.group == group and _module(each) == own)


def _metadata_file(distribution: Distribution) -> str:
    folder = getattr(distribution, "_path", None)
    return "" if folder is None else os.path.join(os.fspath(folder), "entry_points.txt")
