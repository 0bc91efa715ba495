"""Ask the interpreter which plugins are installed, and write the index that spares asking again.

A process for one call imports this module only when the index is out of date.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from multus import __version__
from multus.registry.discovery import FORMAT, Entry, normalised, stamp

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

#: Entry points of this group are plugins: ``name = module``.
GROUP = "multus"

#: Entry points of these groups name configuration keys: ``key = module``.  A plugin owns the keys
#: of the first group, shares those of the second with other plugins, and is only asked about
#: configurations that have one of the third.
KEYS, SHARED_KEYS, ONLY_WITH = "multus.keys", "multus.shared_keys", "multus.only_with"

_MOST_INDEXES = 16


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
    """A distribution's plugins; when its entry points cannot be read, itself with a problem."""
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


# --- The index -----------------------------------------------------------------------------------


def freeze(path: str, entries: Sequence[Entry], before: list[list[Any]]) -> None:
    """Write the index to *path*; *before* is the stamp from before the entries were looked for."""
    after = stamp(entries)
    if after[: len(before)] != before:
        return  # something was installed meanwhile: the next call looks again
    raw = {
        "format": FORMAT,
        "multus": __version__,
        "stamp": after,
        "entries": [entry._asdict() for entry in entries],
    }
    from multus.api import atomic

    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        # Without fsync: an index that a power cut damaged is written anew.
        atomic.write(path, json.dumps(raw).encode(), 0o644, fsync=False)
        _prune(os.path.dirname(path))
    except OSError:
        return  # the installation is read-only: every call asks


def _prune(folder: str) -> None:
    """Keep the newest indexes: the ``sys.path`` of a test or a build is used once."""
    found = [each for each in os.scandir(folder) if each.name.startswith("plugins.")]
    found = [each for each in found if each.name.endswith(".json")]
    for old in sorted(found, key=lambda each: each.stat().st_mtime_ns)[:-_MOST_INDEXES]:
        os.unlink(old.path)
