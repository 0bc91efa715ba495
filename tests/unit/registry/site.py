"""Distributions made by hand: no installer, no real site-packages."""

from __future__ import annotations

import importlib
import shutil
import textwrap
from pathlib import Path

from attrs import frozen

from multus.registry.entry import Entry
from multus.registry.index import discover
from multus.registry.loading import Installed, load

GOOD = """
from multus import hookimpl

@hookimpl
def multus_health(conf):
    return None
"""


@frozen
class Site:
    """A folder on ``sys.path`` for distributions, and the path of the index."""

    folder: Path
    index: Path

    def install(
        self,
        name: str,
        source: str | None = GOOD,
        *,
        version: str = "1.0",
        plugin: str = "",
        keys: tuple[str, ...] = (),
        shared_keys: tuple[str, ...] = (),
        only_with: tuple[str, ...] = (),
        points: str | None = None,
    ) -> None:
        """Install a distribution ``multus-NAME`` with a plugin, NAME too, in module ``its_NAME``.

        *points* is the text of its entry points in place of that.
        """
        module = f"its_{name.replace('-', '_')}"
        text = f"[multus]\n{plugin or name} = {module}\n"
        groups = {"keys": keys, "shared_keys": shared_keys, "only_with": only_with}
        for group, members in groups.items():
            text += f"\n[multus.{group}]\n" + "".join(f"{key} = {module}\n" for key in members)
        metadata = self.folder / f"multus_{name}-{version}.dist-info"
        metadata.mkdir()
        heads = f"Metadata-Version: 2.1\nName: multus-{name}\nVersion: {version}\n"
        (metadata / "METADATA").write_text(heads)
        (metadata / "entry_points.txt").write_text(text if points is None else points)
        if source is not None:
            (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
            importlib.invalidate_caches()

    def uninstall(self, name: str) -> None:
        for path in self.folder.glob(f"multus_{name}-*.dist-info"):
            shutil.rmtree(path)
        (self.folder / f"its_{name.replace('-', '_')}.py").unlink()

    def discover(self) -> tuple[Entry, ...]:
        """The plugins found here, without the installed plugins of the project."""
        return tuple(each for each in discover(str(self.index)) if self._mine(each))

    def loaded(self, *blocked: str) -> Installed:
        return load(self.discover(), frozenset(blocked))

    def _mine(self, entry: Entry) -> bool:
        return entry.location.startswith(str(self.folder))


def names(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.name for entry in entries]
