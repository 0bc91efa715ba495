"""The first thing that a newcomer sees."""

from __future__ import annotations

from tools.screenshots.studio import Studio


def take(studio: Studio) -> None:
    """Take the demo, as `./dev demo` shows it; its environment is there already."""
    studio.terminal("demo", "./dev demo", argv=["multus", "demo"], lines=11)
