"""The engine of a process for one call: with the plugins that take part in it."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import load, log_faults, relevant_keys
from multus.registry.spelling import spelling_with

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.spelling import Spelling
    from multus.registry.entry import Entry


def _entries() -> tuple[Entry, ...]:
    return _found_along(tuple(sys.path))


@lru_cache(maxsize=1)
def _found_along(_path: tuple[str, ...]) -> tuple[Entry, ...]:
    """The installed plugins; one call asks twice, and a path that is another has others."""
    return discover()


def spelling() -> Spelling:
    """The spelling of the configuration, with the keys of the installed plugins."""
    return spelling_with(_entries())


def engine_for(conf: Conf, deadline: float | None = None) -> Engine:
    """The engine with the plugins that take part in this call."""
    log = Log.from_conf(conf.raw)
    keys = relevant_keys(os.environ.get("CNI_COMMAND", ""), conf)
    installed = load(_entries(), conf.blocked_plugins, keys)
    log_faults(installed, log)
    return Engine(installed, log, deadline=deadline)
