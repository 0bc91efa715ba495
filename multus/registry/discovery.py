"""Which plugins are installed: found once, remembered, never stale.

Asking ``importlib.metadata`` costs 30 ms, more than all else that a call does, so what it says is
frozen into an index beside the byte code of this package (whoever may write there already decides
what this program runs).  The index holds the modification time of every folder that a distribution
could be installed into and of every plugin's metadata; when one differs, it is made anew.  There is
one for each ``sys.path``: the program, ``python -m multus`` and a daemon do not have the same.

A plugin that says which keys it reads (``multus.keys``) sleeps while a configuration has none of
them: a process that is started per call does not import what has nothing to do.
"""

from __future__ import annotations

import json
import os
import re
import sys
from binascii import crc32
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy

from multus import __version__
from multus.api import hookspecs
from multus.api.errors import PASSING, described
from multus.registry.hooks import Hooks

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from multus.api.conf import Conf

GROUP = "multus"

#: Entry points of this group say which configuration keys a plugin owns: ``key = module``.
KEYS_GROUP = "multus.keys"

_FORMAT = 2
_MOST_INDEXES = 16


class Entry(NamedTuple):
    """One entry point: a plugin's name, its module, and the distribution that it came with.

    ``location`` is the file that says so, ``keys`` are the configuration keys that the plugin
    reads, ``problem`` is why it cannot even be imported.
    """

    name: str
    module: str
    distribution: str
    version: str
    location: str = ""
    keys: tuple[str, ...] = ()
    problem: str = ""

    @property
    def names(self) -> frozenset[str]:
        """What ``blockedPlugins`` may call it."""
        return frozenset((normalised(self.name), normalised(self.distribution)))


class Broken(NamedTuple):
    """A plugin that is installed and cannot be used, and why."""

    entry: Entry
    reason: str

    def __str__(self) -> str:
        entry = self.entry
        return f"plugin {entry.name!r} of {entry.distribution} {entry.version}: {self.reason}"


class Installed(NamedTuple):
    """The plugins at work: their hooks, and those that could not be loaded.

    ``asleep`` are those that were left out since the configuration has none of their keys.
    ``found_valid`` holds, by their ``id``, configurations that they all found right: a daemon gets
    the same one for pod after pod.
    """

    hooks: Hooks
    loaded: tuple[Entry, ...]
    broken: tuple[Broken, ...] = ()
    blocked: tuple[Entry, ...] = ()
    asleep: tuple[Entry, ...] = ()
    modules: Mapping[str, ModuleType] = MappingProxyType({})
    found_valid: dict[int, Conf] | None = None

    def needed_but_broken(self, keys: Iterable[str]) -> Broken | None:
        """The first broken plugin that owns one of a configuration's *keys*."""
        present = set(keys)
        return next((each for each in self.broken if present.intersection(each.entry.keys)), None)

    @property
    def every(self) -> tuple[Entry, ...]:
        """All that is installed, whether it is at work or not."""
        broken = tuple(each.entry for each in self.broken)
        return (*self.loaded, *broken, *self.blocked, *self.asleep)

    def unmatched(self, blocked: Iterable[str]) -> list[str]:
        """Those names of ``blockedPlugins`` that no installed plugin has."""
        names = frozenset().union(*(entry.names for entry in self.every))
        return sorted(name for name in blocked if normalised(name) not in names)


def load(
    entries: Sequence[Entry],
    blocked: frozenset[str] = frozenset(),
    keys: Iterable[str] | None = None,
) -> Installed:
    """Import the plugins of *entries* but those named in *blocked*, and register their hooks.

    A name is a plugin's or its distribution's (``source-nad``, ``multus-source-nad``), compared as
    package indexes compare names: case and the kind of separator do not matter.
    With *keys*, a configuration's, a plugin that reads keys and none of these sleeps.  One that
    fails to import, or whose hooks do not fit the specification, is reported in the answer and does
    not take the others down.
    """
    manager = pluggy.PluginManager("multus")
    manager.add_hookspecs(hookspecs)
    loaded, broken, modules = [], [], {}
    asleep = tuple(entry for entry in entries if keys is not None and _sleeps(entry, keys))
    names = {normalised(name) for name in blocked}
    left_out = tuple(entry for entry in entries if names and not names.isdisjoint(entry.names))
    for entry in entries:
        if entry in left_out or entry in asleep:
            continue
        try:
            modules[entry.name] = _register(manager, entry)
        except PASSING:
            raise
        except BaseException as error:  # noqa: BLE001  a foreign module may raise anything
            broken.append(Broken(entry, described(error)))
        else:
            loaded.append(entry)
    return Installed(
        hooks=Hooks(manager),
        loaded=tuple(loaded),
        broken=tuple(broken),
        blocked=left_out,
        asleep=asleep,
        modules=modules,
        found_valid={},
    )


def normalised(name: str) -> str:
    """A name as package indexes compare it: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _sleeps(entry: Entry, keys: Iterable[str]) -> bool:
    return bool(entry.keys) and not set(entry.keys).intersection(keys)


def _register(manager: pluggy.PluginManager, entry: Entry) -> ModuleType:
    if entry.problem:
        raise ImportError(entry.problem)
    __import__(entry.module)
    module = sys.modules[entry.module]
    api = getattr(module, "HOOK_API", hookspecs.HOOK_API)
    if api != hookspecs.HOOK_API:
        raise TypeError(
            f"it is written for HOOK_API {api}, multus {__version__} has {hookspecs.HOOK_API}:"
            " install the version that belongs to this one"
        )
    for name, value in vars(module).items():
        options = getattr(value, "multus_impl", None)
        if options is None:
            continue
        if not hasattr(hookspecs, name):
            raise TypeError(f"{name!r} is no hook: see multus.api.hookspecs for those there are")
        if options["wrapper"] or options["hookwrapper"]:
            raise TypeError(f"{name!r} wraps other plugins' answers: no hook may be a wrapper")
    try:
        manager.register(module, name=entry.name)
    except pluggy.PluginValidationError:
        if manager.has_plugin(entry.name):
            manager.unregister(name=entry.name)
        raise
    return module


# --- Discovery -----------------------------------------------------------------------------------


def discover(index: str | None = None) -> tuple[Entry, ...]:
    """The installed plugins, sorted by name: from the index at path *index*, or afresh.

    *index* is the place of the frozen index; None means the one beside this package's byte code.
    """
    path = index or _index_path()
    frozen_entries = _thaw(path)
    if frozen_entries is not None:
        return frozen_entries
    stamp = _stamp(())
    entries = tuple(sorted(scan(), key=lambda entry: entry.name))
    _freeze(path, entries, stamp)
    return entries


def scan() -> Iterator[Entry]:
    """Ask every installed distribution for its entry points, without the index."""
    from importlib.metadata import distributions

    seen: set[str] = set()
    for distribution in distributions():
        for entry in _entries(distribution):
            # As with imports, the first distribution on the path hides a later one.
            if entry.name not in seen:
                seen.add(entry.name)
                yield entry


def _entries(distribution: Distribution) -> Iterator[Entry]:
    """A distribution's plugins; itself, with a problem, when its entry points cannot be read."""
    name = str(distribution.metadata["Name"])
    location = _metadata_file(distribution)
    try:
        if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
            return
        points = list(distribution.entry_points)
    except (OSError, TypeError, ValueError) as error:
        problem = f"its entry points cannot be read: {error}: reinstall it"
        yield Entry(name, "", name, str(distribution.version), location, problem=problem)
        return
    keys = [(point.name, point.value) for point in points if point.group == KEYS_GROUP]
    for point in points:
        if point.group == GROUP:
            yield Entry(
                name=point.name,
                module=point.value.partition(":")[0].strip(),
                distribution=name,
                version=str(distribution.version),
                location=location,
                keys=tuple(key for key, module in keys if module == point.value),
            )


def _metadata_file(distribution: Distribution) -> str:
    folder = getattr(distribution, "_path", None)
    return "" if folder is None else os.path.join(os.fspath(folder), "entry_points.txt")


def _index_path() -> str:
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__pycache__")
    asked = crc32("\0".join(sys.path).encode())
    return os.path.join(folder, f"plugins.{sys.implementation.cache_tag}.{asked:08x}.json")


def _stamp(entries: Iterable[Entry]) -> list[list[Any]]:
    folders = [path or "." for path in sys.path]
    files = sorted({entry.location for entry in entries if entry.location})
    return [[path, _changed(path)] for path in (*folders, *files)]


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _thaw(path: str) -> tuple[Entry, ...] | None:
    try:
        with open(path, encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
                return None  # whoever writes here decides what runs
            raw = json.load(file)
        if raw["format"] != _FORMAT or raw["multus"] != __version__:
            return None
        entries = tuple(Entry(**{**e, "keys": tuple(e["keys"])}) for e in raw["entries"])
        return entries if raw["stamp"] == _stamp(entries) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _freeze(path: str, entries: Sequence[Entry], before: list[list[Any]]) -> None:
    stamp = _stamp(entries)
    if stamp[: len(before)] != before:
        return  # something was installed while we looked: the next call looks again
    raw = {
        "format": _FORMAT,
        "multus": __version__,
        "stamp": stamp,
        "entries": [entry._asdict() for entry in entries],
    }
    from multus.api import atomic

    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        # Without fsync: an index that a power cut damaged is written anew.
        atomic.write(path, json.dumps(raw).encode(), 0o644, fsync=False)
        _prune(os.path.dirname(path))
    except OSError:
        return  # a read-only installation is asked every time


def _prune(folder: str) -> None:
    """Keep the newest indexes: paths of tests and of one-off environments come and go."""
    found = [each for each in os.scandir(folder) if each.name.startswith("plugins.")]
    found = [each for each in found if each.name.endswith(".json")]
    for old in sorted(found, key=lambda each: each.stat().st_mtime_ns)[:-_MOST_INDEXES]:
        os.unlink(old.path)
