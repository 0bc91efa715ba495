"""Multus: one CNI plugin that attaches a container to many networks, by plugins of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multus.api.hookspecs import hookimpl

__version__ = "0.1.0"

__all__ = ["__version__", "hookimpl"]


def __getattr__(name: str) -> Any:
    # pluggy costs as much as the interpreter's own start, and a process that only answers VERSION
    # or hands its call to the daemon has no use for it.
    if name == "hookimpl":
        from multus.api.hookspecs import hookimpl

        return hookimpl
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
