"""The engine of a process for one call: with the plugins that take part in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import load, log_faults, relevant_keys

if TYPE_CHECKING:
    from multus.api.conf import Conf


def engine_for(conf: Conf, deadline: float | None = None) -> Engine:
    """The engine with the plugins that take part in this call."""
    log = Log.from_conf(conf.raw)
    keys = relevant_keys(os.environ.get("CNI_COMMAND", ""), conf)
    installed = load(discover(), conf.blocked_plugins, keys)
    log_faults(installed, log)
    return Engine(installed, log, deadline=deadline)
