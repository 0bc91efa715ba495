"""Multus: one CNI plugin that attaches a container to many networks, by plugins of its own."""

from __future__ import annotations

import pluggy

__version__ = "0.1.0"

#: Marks a function of a plugin module as the implementation of the hook that it is named after.
hookimpl = pluggy.HookimplMarker("multus")

__all__ = ["__version__", "hookimpl"]
