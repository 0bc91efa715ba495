"""The plugin under test, and the sample that makes it show its work."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from multus.api.errors import InvalidConfig, MissingPlugin
from multus.registry.entry import Entry
from multus.registry.hooks import OBSERVING
from multus.registry.index import discover
from multus.registry.loading import Installed, load
from multus.testing.conformance.cluster import PLACES

#: Hooks by the kind of plugin that they make.
KINDS: Mapping[str, frozenset[str]] = {
    "source": frozenset({"multus_select", "multus_resolve"}),
    "devices": frozenset({"multus_devices"}),
    "invoker": frozenset({"multus_invoker"}),
    "merger": frozenset({"multus_merge"}),
    "observer": OBSERVING,
}


@frozen
class Sample:
    """How a plugin shows its work; see the module."""

    conf: Mapping[str, Any] = field(factory=dict)
    away: Mapping[str, Any] | None = None
    objects: Sequence[Mapping[str, Any]] | None = None
    plugin: Mapping[str, Any] | None = None
    card: str = ""
    chain: Sequence[Mapping[str, Any]] = ()
    takes_all: bool = False
    leaves_shared: bool = False
    files: Mapping[str, str] = field(factory=dict)

    @classmethod
    def load(cls, path: str | None, folder: str) -> Sample:
        """Read the file at *path* (None: an empty sample); *folder* takes the place of @TMP@."""
        if path is None:
            return cls()
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("@TMP@", folder)
        for word, place in PLACES.items():
            text = text.replace(word, os.path.join(folder, place))
        raw = json.loads(text)
        return cls(
            conf=raw.get("conf", {}),
            away=raw.get("away"),
            objects=raw.get("objects"),
            plugin=raw.get("plugin"),
            card=raw.get("card", ""),
            chain=raw.get("chain", ()),
            takes_all=bool(raw.get("takesAll")),
            leaves_shared=bool(raw.get("leavesShared")),
            files=raw.get("files", {}),
        )


@frozen
class Subject:
    """The plugin under test: loaded alone, and together with all others."""

    entry: Entry
    alone: Installed
    together: Installed

    @classmethod
    def find(cls, name: str) -> Subject:
        """The installed plugin *name*; raises ``MissingPlugin``, and ``InvalidConfig`` for two."""
        entries = discover()
        known = [each for each in entries if each.name == name]
        if not known:
            names = ", ".join(each.name for each in entries)
            raise MissingPlugin(f"no plugin {name!r} is installed: there are {names}")
        if len(known) > 1:
            several = " and ".join(map(str, known))
            raise InvalidConfig(f"{several} have the same name: uninstall all but one of them")
        return cls(known[0], load(known), load(entries))

    @property
    def hooks(self) -> frozenset[str]:
        """The names of the hooks that it implements."""
        module = self.alone.modules.get(self.entry.name)
        found = vars(module).items() if module else ()
        return frozenset(name for name, value in found if hasattr(value, "multus_impl"))

    @property
    def kinds(self) -> frozenset[str]:
        """What it is: one or several of ``KINDS``."""
        return frozenset(kind for kind, hooks in KINDS.items() if hooks & self.hooks)
