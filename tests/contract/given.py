"""Plugins made for one test, registered as the installed ones are."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from multus import hookimpl
from multus.plugins import Entry, Installed, load


def plugin(name: str, *functions: Callable[..., Any], **marks: Any) -> Entry:
    """A plugin of these functions, each named as its hook; *marks* go to ``hookimpl``."""
    module = _module(name)
    for function in functions:
        setattr(module, function.__name__, hookimpl(**marks)(function))
    return _entry(name, module)


def plugin_of(name: str, source: str, keys: Iterable[str] = ()) -> Entry:
    """A plugin whose module has this text."""
    module = _module(name)
    exec(compile(textwrap.dedent(source), f"<{name}>", "exec"), vars(module))
    return _entry(name, module, keys)


def at_work(*entries: Entry) -> Installed:
    """The plugins loaded; the test ends when one does not load."""
    installed = load(entries)
    assert installed.broken == ()
    return installed


def _module(name: str) -> ModuleType:
    module = ModuleType(f"given_{name.replace('-', '_')}")
    sys.modules[module.__name__] = module
    return module


def _entry(name: str, module: ModuleType, keys: Iterable[str] = ()) -> Entry:
    return Entry(name, module.__name__, f"multus-{name}", "1.0", keys=tuple(keys))
