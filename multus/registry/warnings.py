"""Probable mistakes in an installed plugin, found without calling it.

They do not prevent loading, but each means that a part of the plugin is never used.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import NamedTuple

from multus.api import hookspecs
from multus.registry.entry import Entry, registered_names
from multus.registry.loading import Installed

_PREFIX = "multus_"
_HOOKS = tuple(name for name in vars(hookspecs) if name.startswith(_PREFIX))


class Warned(NamedTuple):
    """A probable mistake in a plugin, and its fix."""

    entry: Entry
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.entry}: {self.reason}"


def warnings_of(installed: Installed) -> list[Warned]:
    """The probable mistakes of all plugins that are installed and not blocked."""
    found = [each for entry in installed.loaded for each in _of_metadata(entry)]
    for entry, name in zip(installed.loaded, registered_names(installed.loaded), strict=True):
        found += _of_module(entry, installed.modules[name])
    return found


def _of_metadata(entry: Entry) -> Iterator[Warned]:
    if entry.named_object:
        yield Warned(
            entry,
            f"its entry point names the object {entry.module}:{entry.named_object}, and only the"
            f" module {entry.module} is used",
            f"write '{entry.name} = {entry.module}'",
        )
    for line in entry.stray_keys:
        yield Warned(
            entry,
            f"the entry point '{line}' names a configuration key, and no plugin of"
            f" {entry.distribution} has that module",
            f"name the plugin's module, as in '{line.partition(' = ')[0]} = {entry.module}'",
        )


def _of_module(entry: Entry, module: ModuleType) -> Iterator[Warned]:
    marked = {name for name, value in vars(module).items() if hasattr(value, "multus_impl")}
    for name, value in vars(module).items():
        if not name.startswith(_PREFIX) or name in marked or not isinstance(value, FunctionType):
            continue
        if name in _HOOKS:
            reason = f"its function {name} is not marked as a hook, and is never called"
            yield Warned(entry, reason, f"write @hookimpl above it in {entry.module}")
            continue
        near = difflib.get_close_matches(name.removeprefix(_PREFIX), _WORDS, n=1)
        if near:
            reason = f"there is no hook {name}: this function is never called"
            fix = f"did you mean {_PREFIX}{near[0]}, with @hookimpl above it?"
            yield Warned(entry, reason, fix)
    if not marked:
        reason = f"its module {entry.module} implements no hook"
        yield Warned(entry, reason, "write @hookimpl above the functions named multus_…")


_WORDS = tuple(name.removeprefix(_PREFIX) for name in _HOOKS)
