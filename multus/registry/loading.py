"""Load the plugins that take part in a request.

A plugin that names keys in ``multus.only_with`` takes part only in requests whose configuration has
one of them.  For other requests, a standalone call does not import it, and the daemon, which has
imported it, does not call it.  So both give the same answer.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, NamedTuple

import pluggy

from multus import __version__
from multus.api import hookspecs
from multus.api.errors import PASSING, described
from multus.api.progress import Task, step
from multus.registry.entry import Entry, normalised, registered_names
from multus.registry.hooks import Hooks

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.log import Log
    from multus.registry.clashes import Clash

_OF_ALL = ("DEL", "GC", "CHECK")


class Broken(NamedTuple):
    """An installed plugin that cannot be used, and why.

    ``error`` is the exception of its module, with the traceback.
    """

    entry: Entry
    reason: str
    error: BaseException | None = None

    @property
    def fix(self) -> str:
        """What to do."""
        return f"reinstall {self.entry.distribution}, or name it in 'blockedPlugins'"

    @property
    def needed_by(self) -> tuple[str, ...]:
        """The configuration keys that need it."""
        return self.entry.reads

    def __str__(self) -> str:
        return f"{self.entry}: {self.reason}"


class Installed(NamedTuple):
    """The plugins that take part in a request: their hooks, and those that could not be loaded.

    ``blocked`` are those that ``blockedPlugins`` names.  ``not_loaded`` do not take part because
    the configuration has none of the keys that they need.  ``modules`` has the module of each
    loaded plugin, by its registered name.
    """

    hooks: Hooks
    loaded: tuple[Entry, ...]
    broken: tuple[Broken, ...] = ()
    blocked: tuple[Entry, ...] = ()
    not_loaded: tuple[Entry, ...] = ()
    modules: Mapping[str, ModuleType] = MappingProxyType({})
    clashes: tuple[Clash, ...] = ()

    def taking_part(self, conf: Conf) -> Installed:
        """Those of these plugins that take part in an ADD with *conf*."""
        entries = sorted(self.every, key=lambda entry: (entry.name, entry.distribution))
        return load(entries, conf.blocked_plugins, conf.raw)

    def refusal(self, keys: Iterable[str]) -> Broken | Clash | None:
        """Why an ADD with a configuration of these *keys* must be refused; None when it may run.

        The reasons: a plugin that owns or shares one of the keys cannot be loaded, two plugins own
        one of the keys, or two plugins have the same name.
        """
        if not self.broken and not self.clashes:
            return None
        present = frozenset(keys)
        for broken in self.broken:
            if not present.isdisjoint(broken.needed_by):
                return broken
        for clash in self.clashes:
            if clash.needed_by_all or not present.isdisjoint(clash.needed_by):
                return clash
        return None

    @property
    def every(self) -> tuple[Entry, ...]:
        """All installed plugins, whether they take part or not."""
        broken = tuple(each.entry for each in self.broken)
        return (*self.loaded, *broken, *self.blocked, *self.not_loaded)

    def unmatched(self, blocked: Iterable[str]) -> list[str]:
        """The names of ``blockedPlugins`` that match no installed plugin."""
        names = frozenset().union(*(entry.names for entry in self.every))
        return sorted(name for name in blocked if normalised(name) not in names)


def load(
    entries: Sequence[Entry],
    blocked: Collection[str] = (),
    keys: Iterable[str] | None = None,
) -> Installed:
    """Import the plugins of *entries* except those in *blocked*, and register their hooks.

    A name in *blocked* is a plugin's or its distribution's (``source-nad``, ``multus-source-nad``),
    normalised as by package indexes: case and the kind of separator do not matter.
    With *keys*, those of a configuration, plugins that take no part in its requests are not loaded.
    A plugin that fails to import, or whose hooks do not match the specification, is reported in the
    return value, and the others are loaded.
    """
    manager = pluggy.PluginManager("multus")
    manager.add_hookspecs(hookspecs)
    loaded: list[Entry] = []
    broken: list[Broken] = []
    modules: dict[str, ModuleType] = {}
    names = {normalised(name) for name in blocked}
    left_out = tuple(entry for entry in entries if names and not names.isdisjoint(entry.names))
    rest = [entry for entry in entries if entry not in left_out]
    present = None if keys is None else frozenset(keys)
    asked = [entry for entry in rest if present is None or entry.takes_part(present)]
    for entry, name in zip(asked, registered_names(asked), strict=True):
        try:
            with step(f"the import of plugin {name!r}", task=Task(name, "import")):
                modules[name] = _register(manager, entry, name)
        except PASSING:
            raise
        except BaseException as error:  # noqa: BLE001  a foreign module may raise anything
            broken.append(Broken(entry, described(error), error))
        else:
            loaded.append(entry)
    return Installed(
        hooks=Hooks(manager),
        loaded=tuple(loaded),
        broken=tuple(broken),
        blocked=left_out,
        not_loaded=tuple(entry for entry in rest if entry not in asked),
        modules=modules,
        clashes=_clashes(asked, modules),
    )


def relevant_keys(command: str, conf: Conf) -> frozenset[str] | None:
    """The keys that decide which plugins take part in *command*; None for all plugins.

    DEL, CHECK and GC need all: the network may have been attached under another configuration.
    """
    return None if command in _OF_ALL else frozenset(conf.raw)


def log_faults(installed: Installed, log: Log) -> None:
    """Log the plugins that cannot be loaded, with the traceback, and those that clash."""
    from multus.log import traceback_of

    for broken in installed.broken:
        raised = {} if broken.error is None else {"traceback": traceback_of(broken.error)}
        log.error(f"not loaded: {broken}: {broken.fix}", **raised)
    for clash in installed.clashes:
        log.error(f"{clash}: {clash.fix}")


def _may_clash(entries: Sequence[Entry]) -> bool:
    owned = [key for entry in entries for key in entry.keys]
    shared = {key for entry in entries for key in entry.shared_keys}
    several = len({entry.name for entry in entries}) < len(entries)
    return several or len(set(owned)) < len(owned) or not shared.isdisjoint(owned)


def _clashes(entries: Sequence[Entry], modules: Mapping[str, ModuleType]) -> tuple[Clash, ...]:
    if not _may_clash(entries):
        return ()
    from multus.registry.clashes import clashes_of

    return tuple(clashes_of(entries, modules))


def _register(manager: pluggy.PluginManager, entry: Entry, name: str) -> ModuleType:
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
    for hook, value in vars(module).items():
        options = getattr(value, "multus_impl", None)
        if options is None:
            continue
        if not hasattr(hookspecs, hook):
            raise TypeError(f"there is no hook {hook!r}: see multus.api.hookspecs for the hooks")
        if options["wrapper"] or options["hookwrapper"]:
            raise TypeError(f"{hook!r} wraps other plugins' answers: no hook may be a wrapper")
    try:
        manager.register(module, name=name)
    except pluggy.PluginValidationError:
        if manager.has_plugin(name):
            manager.unregister(name=name)
        raise
    if entry.reads and not manager.get_hookcallers(module):
        manager.unregister(name=name)
        raise TypeError(
            "it has configuration keys and no hook, so these keys would be ignored: mark its hooks"
            " with multus.hookimpl, and name the module in the entry point, not an object"
        )
    return module
