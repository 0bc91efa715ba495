"""Plugins that are installed by hand: a module, and the metadata that pip would write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

#: What every distribution of a plugin requires.
RANGE = "multus>=0.1,<0.2"


def installed(
    folder: Path, name: str, text: str, keys: Iterable[str] = (), requires: str = ""
) -> str:
    """Install plugin *name*, whose module has *text*; returns what goes into PYTHONPATH.

    *keys* are the configuration keys that it owns, *requires* is what its distribution needs.
    """
    module = f"multus_{name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(text)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    metadata = ["Metadata-Version: 2.1", f"Name: multus-{name}", "Version: 1.0"]
    metadata += [f"Requires-Dist: {requires}"] if requires else []
    (info / "METADATA").write_text("\n".join([*metadata, ""]))
    groups = ["[multus]", f"{name} = {module}", "[multus.keys]"]
    groups += [f"{key} = {module}" for key in keys]
    (info / "entry_points.txt").write_text("\n".join([*groups, ""]))
    return str(folder)
