"""An installed distribution's metadata about a plugin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Entry(NamedTuple):
    """One entry point: a plugin's name, its module, and the distribution that it came with.

    ``location`` is the metadata file that names it.  The plugin owns the configuration keys
    ``keys`` and shares ``shared_keys`` with other plugins.  With ``only_with``, it takes part only
    in requests whose configuration has one of these keys.  ``problem`` is why it cannot be
    imported.  ``named_object`` follows the module in ``module:object``.  ``stray_keys`` are lines
    of the distribution's key groups whose module is not a plugin's.
    """

    name: str
    module: str
    distribution: str
    version: str
    location: str = ""
    keys: tuple[str, ...] = ()
    problem: str = ""
    shared_keys: tuple[str, ...] = ()
    only_with: tuple[str, ...] = ()
    named_object: str = ""
    stray_keys: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The names by which ``blockedPlugins`` may block it."""
        return frozenset((normalised(self.name), normalised(self.distribution)))

    @property
    def reads(self) -> tuple[str, ...]:
        """Every configuration key that it reads."""
        return self.keys + self.shared_keys

    def takes_part(self, keys: frozenset[str]) -> bool:
        """Whether it takes part in requests whose configuration has these *keys*."""
        return not self.only_with or not keys.isdisjoint(self.only_with)

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.distribution} {self.version}"


def normalised(name: str) -> str:
    """A name normalised as by package indexes: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def registered_names(entries: Sequence[Entry]) -> list[str]:
    """The name under which each of *entries* is registered: its own, unless another has it too."""
    names = [entry.name for entry in entries]
    if len(set(names)) == len(names):
        return names
    return [
        f"{each.name} of {each.distribution}" if names.count(each.name) > 1 else each.name
        for each in entries
    ]
