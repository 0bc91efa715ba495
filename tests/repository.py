"""This repository: where it is, and which distributions it holds."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def distributions() -> set[str]:
    """Every distribution under ``plugins``, libraries included."""
    return {path.parent.name for path in ROOT.glob("plugins/*/setup.cfg")}


def plugins() -> set[str]:
    """Those with an entry point; the others are libraries that plugins share."""
    metadata = {each: ROOT / "plugins" / each / "setup.cfg" for each in distributions()}
    return {each for each, path in metadata.items() if "\nmultus =\n" in path.read_text()}
