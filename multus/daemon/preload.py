"""Modules that a call imports when it needs them, imported before workers are forked.

A process for one call imports as little as it can.  Workers are forked from one process that has
imported everything: it is then in memory once, and no call waits for it.
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
)
#: Started as a program of its own: the compression of rotated logs.
_LEFT_OUT = "multus.log._files"


def preload(plugins: Iterable[ModuleType]) -> None:
    """Import what a call may import, of the core and of the *plugins*' packages."""
    packages = [import_module(name) for name in _CORE]
    for package in (*packages, *plugins):
        for found in pkgutil.iter_modules(getattr(package, "__path__", ())):
            name = f"{package.__name__}.{found.name}"
            if found.ispkg or found.name == "__main__" or name == _LEFT_OUT:
                continue
            # It may need what is not installed, or be a program that ends its process.
            with contextlib.suppress(BaseException):
                import_module(name)
