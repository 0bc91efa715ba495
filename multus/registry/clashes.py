"""Plugins that conflict: they have the same name, or own the same configuration key.

Multus cannot know which one is meant, and each may select networks.  So requests that need either
are refused, with a fix in the error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import NamedTuple

from multus.registry.entry import Entry, normalised, registered_names
from multus.registry.hooks import OBSERVING


class Clash(NamedTuple):
    """Several plugins of one name, or several that own one configuration key.

    ``key`` is that key, empty when they have one name.  ``decides`` is false when all of them are
    observers only: then no request is refused.
    """

    entries: tuple[Entry, ...]
    key: str = ""
    decides: bool = True

    @property
    def fix(self) -> str:
        """The fix; it names only distributions that can be blocked without the others."""
        names = [each.distribution for each in self.entries if self._is_nameable(each)]
        fix = "uninstall all but one of them"
        if names:
            fix = f"{fix}, or name {' or '.join(names)} in 'blockedPlugins'"
        if self.key:
            fix = f"{fix}; plugins that share a key on purpose list it in 'multus.shared_keys'"
        return fix

    @property
    def needed_by(self) -> tuple[str, ...]:
        """The configuration keys whose requests are refused."""
        return (self.key,) if self.key else ()

    @property
    def needed_by_all(self) -> bool:
        """Whether every request is refused."""
        return not self.key and self.decides

    def _is_nameable(self, entry: Entry) -> bool:
        name = normalised(entry.distribution)
        return not any(name in each.names for each in self.entries if each is not entry)

    def __str__(self) -> str:
        several = " and ".join(map(str, self.entries))
        if self.key:
            return f"{several} own the same configuration key {self.key!r}"
        return f"{several} have the same name"


def clashes_of(entries: Sequence[Entry], modules: Mapping[str, ModuleType]) -> Iterator[Clash]:
    """The clashes among *entries*; *modules* are the loaded ones, by registered name."""
    by_name: dict[str, list[Entry]] = {}
    owners: dict[str, list[Entry]] = {}
    deciding: set[str] = set()
    for entry, registered in zip(entries, registered_names(entries), strict=True):
        by_name.setdefault(entry.name, []).append(entry)
        if not _only_observes(modules.get(registered)):
            deciding.add(entry.name)
        for key in entry.keys:
            owners.setdefault(key, []).append(entry)
    for name, same in by_name.items():
        if len(same) > 1:
            yield Clash(tuple(same), decides=name in deciding)
    for key, found in owners.items():
        sharing = [each for each in entries if key in each.shared_keys and each not in found]
        if len(found) + len(sharing) > 1:
            yield Clash((*found, *sharing), key)


def _only_observes(module: ModuleType | None) -> bool:
    """Whether a module has only observers' hooks; False for one that could not be loaded."""
    if module is None:
        return False
    hooks = {name for name, value in vars(module).items() if hasattr(value, "multus_impl")}
    return hooks <= OBSERVING
