"""Imports, before workers are forked, the modules that a call would import when it needs them.

A process for one call imports as little as possible.  Workers are forked from a process that has
imported everything: they share that memory, and no call waits for an import.
"""

from __future__ import annotations

import contextlib
import pkgutil
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

#: Packages of the core whose modules a call may import.
_CORE = (
    "multus",
    "multus.api",
    "multus.api.kubernetes",
    "multus.cni",
    "multus.engine",
    "multus.engine.invoke",
    "multus.state",
    "multus.registry",
    "multus.log",
    "multus.netlink",
    "multus.netlink.masquerade",
    "multus.ipam",
    "multus.inprocess",
)
#: Runs as its own program: the compression of rotated logs.
_LEFT_OUT = "multus.log._files"


def preload(plugins: Iterable[ModuleType]) -> None:
    """Import the modules that a call may need, from the core and the *plugins*' packages."""
    packages = [import_module(name) for name in _CORE]
    for package in (*packages, *plugins):
        for found in pkgutil.iter_modules(getattr(package, "__path__", ())):
            name = f"{package.__name__}.{found.name}"
            if found.ispkg or found.name == "__main__" or name == _LEFT_OUT:
                continue
            # The module may need a missing package, or be a program that ends its process.
            with contextlib.suppress(BaseException):
                import_module(name)
