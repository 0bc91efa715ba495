"""The step with which the engine decides about an attachment's default routes.

A plugin puts it at the end of a delegate's chain (``multus_chain``); the engine carries it out,
sets the routes in the container's namespace, and reports them in the attachment's result.  So the
journal, CHECK and the answer agree with the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

from multus.api.network import STEP, Plugin

#: The step's type, which no configuration of a network may have.
TYPE = STEP


def step(families: Sequence[int], gateways: Sequence[str] | None) -> Plugin:
    """Default routes of *families* (4 and 6) through *gateways*, and no others.

    Empty *gateways* stand for those of the network's plugins, None for no default route.
    """
    config = {"type": TYPE, "families": list(families)}
    return Plugin(config if gateways is None else {**config, "gateways": list(gateways)})


def yielding() -> Plugin:
    """No default route of a family in which an earlier attachment of the container has one."""
    return Plugin({"type": TYPE, "families": [4, 6], "yields": True})
